"""Units as types, so that a micron is never taken for a pixel."""

from typing import NewType

Microns = NewType("Microns", float)
MicronsPerPixel = NewType("MicronsPerPixel", float)
SquareMillimetres = NewType("SquareMillimetres", float)
SlidePixels = NewType("SlidePixels", int)
"""A length in pixels of level 0, the scan's full resolution."""
TilePixels = NewType("TilePixels", int)
"""A length in pixels of a tile as the encoder sees it."""
Seconds = NewType("Seconds", float)
