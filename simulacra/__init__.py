"""Simulacra: a laboratory for models that imagine."""

from simulacra.core import threads as threads  # before torch is imported: it says how OpenMP's threads wait

__version__ = "0.1.0"
