"""Simulacra: a laboratory for models that imagine."""

__version__ = "0.1.0"
