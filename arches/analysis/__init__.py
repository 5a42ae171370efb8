"""What a network consists of, costs, and sees of an image."""
