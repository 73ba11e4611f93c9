"""Floor 1: open a scan, identify and describe it, find its tissue, judge its quality, read its tiles.

Label and macro images, which show a patient's name, never leave this room.
"""

from pellucid.slides.errors import (
    DimensionsImplausible,
    FileDamaged,
    FileEmpty,
    FileForbidden,
    FileIsFolder,
    FileMissing,
    FileUnsupported,
    RegionUnreadable,
    ScaleAbsurd,
    ScaleContradicted,
    ScaleMissing,
    ScaleTooCoarse,
)
from pellucid.slides.grid import lay_grid
from pellucid.slides.identity import files_of, identify
from pellucid.slides.pictures import draw_tiles, draw_tissue, render_thumbnail
from pellucid.slides.protocol import Slide
from pellucid.slides.quality import QualityLimits, QualityReport, assess_quality, unreadable_measure
from pellucid.slides.reader import open_slide
from pellucid.slides.scale import check_resolution, require_scale
from pellucid.slides.tiles import TileBatch, read_tiles
from pellucid.slides.tissue import TileJudgement, TissueMap, TissueParams, find_tissue, judge_image

__all__ = [
    "DimensionsImplausible",
    "FileDamaged",
    "FileEmpty",
    "FileForbidden",
    "FileIsFolder",
    "FileMissing",
    "FileUnsupported",
    "QualityLimits",
    "QualityReport",
    "RegionUnreadable",
    "ScaleAbsurd",
    "ScaleContradicted",
    "ScaleMissing",
    "ScaleTooCoarse",
    "Slide",
    "TileBatch",
    "TileJudgement",
    "TissueMap",
    "TissueParams",
    "assess_quality",
    "check_resolution",
    "draw_tiles",
    "draw_tissue",
    "files_of",
    "find_tissue",
    "identify",
    "judge_image",
    "lay_grid",
    "open_slide",
    "read_tiles",
    "render_thumbnail",
    "require_scale",
    "unreadable_measure",
]
