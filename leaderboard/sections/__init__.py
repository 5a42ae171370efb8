"""What is on a page, section by section, in blocks that every output format renders."""
