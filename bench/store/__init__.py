"""The run directory: what was measured, and under which circumstances."""
