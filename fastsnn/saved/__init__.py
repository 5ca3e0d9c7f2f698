"""Converted networks as files: what is in one, how it is written, and how it is read again."""

from fastsnn.saved.file import load, save

__all__ = ["load", "save"]
