"""Is this run as good as it was? Baselines, the regression gate, and what it says of each number.

Modules load numpy; import them where they are needed, not at start-up.
"""
