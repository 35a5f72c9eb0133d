"""Of masks, layers and plates."""
