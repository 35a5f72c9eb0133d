"""Of futures of a picture."""
