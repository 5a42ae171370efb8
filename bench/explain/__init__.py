"""Where in the image a network looks: class activation maps, and how well they lie on objects."""
