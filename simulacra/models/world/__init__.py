"""World Models: a memory that dreams and a controller that drives,
with what acts between them and the world."""
