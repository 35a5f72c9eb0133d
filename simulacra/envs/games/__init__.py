"""Games, a file each, which ends with `GAME = Game(...)`; CarRacing has a folder of its own."""
