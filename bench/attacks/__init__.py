"""Attacks: each finds, per image, the smallest perturbation that fools a network."""
