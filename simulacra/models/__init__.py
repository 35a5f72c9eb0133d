"""Models: one paper a file or folder. A file that ends with `Model = ...` is a model."""
