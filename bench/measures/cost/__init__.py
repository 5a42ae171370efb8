"""What efficiency measures: memory, speed and energy of a network in a mode, on this machine."""
