"""Of series."""
