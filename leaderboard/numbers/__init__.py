"""What the cells of a run come to: means, intervals, curves, comparisons; no figure, no page."""
