"""What can go wrong while a page or a picture is made."""

from pellucid.core.errors import PellucidError


class PseudonymInvalid(PellucidError):
    """A pseudonym can't name a page: it might be a path, or hold what a file name can't."""

    code = "PEL-REPORT-001"
    remedy = "Use letters, digits, '.', '_' and '-', at most 64, beginning with a letter or digit."


class PicturePathInvalid(PellucidError):
    """A picture of a page lies outside the folder of the run."""

    code = "PEL-REPORT-002"
    remedy = "Write the picture below the run's folder and give its path relative to that folder."


class HeatmapInvalid(PellucidError):
    """Attention values or tile coordinates can't be drawn as they are."""

    code = "PEL-REPORT-003"
    remedy = "Delete the scan's stored attention so that it is computed again; if it comes back, report it as a defect."
