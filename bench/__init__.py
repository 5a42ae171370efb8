"""The harness: suite -> plan -> executor -> measures -> store (-> the package `leaderboard`)."""

__version__ = "0.1.0"
