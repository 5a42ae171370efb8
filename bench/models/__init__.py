"""Backbones made into networks the harness can train, measure and store."""
