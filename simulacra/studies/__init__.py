"""Experiments: sheets, sweeps, tables with verdicts, the notebook."""
