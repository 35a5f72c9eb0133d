"""Of pictures: distances, coverage, memorisation, and the networks whose features are compared."""
