"""Pellucid: honest biomarker answers from whole-slide pathology images. Research use only."""

from pellucid._version import __version__

__all__ = ["__version__"]
