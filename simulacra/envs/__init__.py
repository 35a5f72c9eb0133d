"""Simulated worlds, a folder each."""

# by name: what it is
WORLDS = {"racing": "CarRacing of gymnasium: a car on a random track"}
