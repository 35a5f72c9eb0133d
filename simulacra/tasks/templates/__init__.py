"""What `simulacra new` writes: text files in which NAME stands for the name."""
