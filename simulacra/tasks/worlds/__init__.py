"""What one does with a world: collect, encode, train in stages, score, drive, dream."""
