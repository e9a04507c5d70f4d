"""Named assemblies, and how models are saved and loaded."""

from gaussflow.recipes.io import load, read_notes, save

__all__ = ["load", "read_notes", "save"]
