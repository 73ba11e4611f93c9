"""Floor 6: pages that a person reads, made from views that the records fill. No torch, no database."""

from pellucid.reports.errors import HeatmapInvalid, PicturePathInvalid, PseudonymInvalid
from pellucid.reports.heatmap import HeatmapImage, render_attention_sd, render_heatmap, render_icon, write_png
from pellucid.reports.pages import specimen_page, write_index, write_monitoring_page, write_specimen_page
from pellucid.reports.redaction import without_paths
from pellucid.reports.views import (
    DecisionVersion,
    FailureLine,
    FailureView,
    HeatmapLegend,
    ResultFile,
    RunFacts,
    RunView,
    ScanImages,
    ScanView,
    SpecimenLine,
    SpecimenView,
    TilePicture,
)

__all__ = [
    "DecisionVersion",
    "FailureLine",
    "FailureView",
    "HeatmapImage",
    "HeatmapInvalid",
    "HeatmapLegend",
    "PicturePathInvalid",
    "PseudonymInvalid",
    "ResultFile",
    "RunFacts",
    "RunView",
    "ScanImages",
    "ScanView",
    "SpecimenLine",
    "SpecimenView",
    "TilePicture",
    "render_attention_sd",
    "render_heatmap",
    "render_icon",
    "specimen_page",
    "without_paths",
    "write_index",
    "write_monitoring_page",
    "write_png",
    "write_specimen_page",
]
