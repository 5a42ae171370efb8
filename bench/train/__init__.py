"""Training: plain PyTorch on data that lives on the device."""
