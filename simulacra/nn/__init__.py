"""Blocks, losses and statistics that belong to no single paper."""
