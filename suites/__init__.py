"""The suites that come with the package (YAML files beside this one)."""
