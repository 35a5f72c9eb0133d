"""Layered video: a clip and its first mask into foreground, matte and clean background."""
