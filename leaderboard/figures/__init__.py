"""How numbers are drawn, with Matplotlib, without pyplot and its global state."""
