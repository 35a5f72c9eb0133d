"""Data sets, one a file; the folder is the list of them,
files that begin with an underscore excepted."""
