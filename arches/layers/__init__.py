"""What the networks of the paper are built from."""
