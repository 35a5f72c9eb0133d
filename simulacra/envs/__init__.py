"""Simulated worlds, a folder each."""

# by name: what it is
WORLDS = {"racing": "CarRacing of gymnasium: drive a random track, seen from above"}
