"""Over what a number would differ: intervals, and versions of metrics."""
