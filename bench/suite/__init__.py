"""Suites: the YAML a user writes, read with locations and validated with all mistakes at once."""
