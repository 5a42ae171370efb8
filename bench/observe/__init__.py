"""What a run leaves for people to look at beside its results: logs, and curves for other tools."""
