"""Plans: a suite multiplied out into cells, each with a readable name and a versioned identity."""
