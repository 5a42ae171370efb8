"""Measures: what is found out about a trained network. One module each; `base` has the contract."""
