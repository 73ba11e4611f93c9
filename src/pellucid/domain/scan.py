"""A scan: its identity, its scale and what its file says of itself."""

from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanIdentity:
    """Which bytes a scan is.

    `digest` is the SHA-256 of the file's bytes; for a scan of several files, of the canonical list of (name, digest).
    """

    digest: str
    size_bytes: int
    n_files: int = 1


class ScaleSource(StrEnum):
    """Where a scale came from."""

    FILE = "file"
    OVERRIDE = "override"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """Physical size of a level-0 pixel, in um/px, and where that is known from.

    `detail` names the property of the file or the person's statement, such as `openslide.mpp-x` or `cohort table`.
    """

    mpp_x: float
    mpp_y: float
    source: ScaleSource
    detail: str

    @property
    def mpp(self) -> float:
        """The geometric mean of both directions, um/px."""
        return float((self.mpp_x * self.mpp_y) ** 0.5)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanInfo:
    """What a scan's file says of itself; nothing in it can identify a patient.

    `width` and `height` are level-0 pixels. `claimed_mpp` is what the file claims, used or not; `scale` is None where
    no usable scale is known. `synthetic` is True for a scan that Pellucid generated and marked.
    """

    width: int
    height: int
    level_downsamples: tuple[float, ...]
    vendor: str
    reader: str
    scale: Scale | None
    claimed_mpp: float | None
    objective_power: float | None
    scanner: str | None
    synthetic: bool

    @property
    def magnification(self) -> float | None:
        """Nominal magnification that the scale amounts to (10 / um per px), None without a scale."""
        return None if self.scale is None else 10.0 / self.scale.mpp
