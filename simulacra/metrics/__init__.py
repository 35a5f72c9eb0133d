"""Pure functions of tensors that judge what a room imagines: distances, scores, coverage, memorisation and the named
feature extractors that they look through. `report.report` computes all that apply."""
