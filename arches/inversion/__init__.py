"""Inversion of any backbone: read its stages, take out strides, run them coarse to fine."""
