"""Floor 1: open a scan, identify and describe it, find its tissue, judge its quality, read its tiles.

Label and macro images, which show a patient's name, never leave this room.
"""

from pellucid.slides.blocks import superblocks
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
    ScaledDecodingUnfit,
    ScaleMissing,
    ScaleTooCoarse,
)
from pellucid.slides.grid import lay_grid
from pellucid.slides.identity import files_of, identify
from pellucid.slides.opening import open_slide
from pellucid.slides.pictures import draw_tiles, draw_tissue, render_thumbnail
from pellucid.slides.protocol import Slide
from pellucid.slides.quality import QualityLimits, QualityReport, assess_quality, unreadable_measure
from pellucid.slides.scale import check_resolution, require_scale
from pellucid.slides.tiles import TileBatch, check_decoding, read_tiles, read_tiles_into
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
    "ScaledDecodingUnfit",
    "Slide",
    "TileBatch",
    "TileJudgement",
    "TissueMap",
    "TissueParams",
    "assess_quality",
    "check_decoding",
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
    "read_tiles_into",
    "render_thumbnail",
    "require_scale",
    "superblocks",
    "unreadable_measure",
]
