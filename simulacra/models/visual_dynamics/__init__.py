"""Visual Dynamics: many futures of one picture."""
