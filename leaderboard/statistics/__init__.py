"""What can be said of a difference: tests, intervals, and verdicts that may be "inconclusive".

Modules load numpy and scipy; import them where they are needed, not at start-up.
"""
