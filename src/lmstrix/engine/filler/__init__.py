"""Filler: endless text of several kinds, the same for the same seed. Pure."""

from lmstrix.engine.filler.text import Document, Filler

__all__ = ["Document", "Filler"]
