"""Open a scan with the reader that suits it."""

from pathlib import Path

from pellucid.domain.scan import ScanInfo
from pellucid.slides.errors import ScaleTooCoarse
from pellucid.slides.fast_reader import fastest_reader
from pellucid.slides.identity import size_of
from pellucid.slides.intake import check_extent
from pellucid.slides.protocol import Slide
from pellucid.slides.reader import OpenSlideReader
from pellucid.slides.scale import require_scale
from pellucid.slides.tiff_extent import check_tiff_extent

_OWN_OFFSETS = {"hamamatsu"}
"""NDPI files over 4 GB keep the upper halves of their offsets where no TIFF reader looks for them."""


def open_slide(path: Path | str, *, mpp: float | None = None, mpp_detail: str = "override", fast: bool = True) -> Slide:
    """Open a scan.

    Level 0 of SVS and generic TIFF in JPEG tiles is read by the fast reader, if that decodes a few tiles to the very
    pixels that OpenSlide has; all else is read by OpenSlide. `info.reader` says which.

    A file without a usable scale opens too, so that it can be described: `require_scale` says what is wrong with it.

    Args:
        path: a slide file; of a DICOM series any instance.
        mpp: the scan's um/px as a person states it, in place of the file's.
        mpp_detail: where the person stated it.
        fast: whether the fast reader may be used; without it all is read by OpenSlide.

    Returns:
        The open slide; use it in a `with` block.

    Raises:
        FileMissing, FileForbidden, FileIsFolder, FileEmpty: the path can't be a scan.
        FileUnsupported: no reader knows the format.
        FileDamaged: the file is truncated or inconsistent.
        DimensionsImplausible: it claims far more pixels than its bytes can hold.
        ScaleAbsurd, ScaleContradicted: the override can't be true.
    """
    plain = OpenSlideReader(Path(path), mpp, mpp_detail)
    try:
        check_extent(plain.info.width, plain.info.height, size_of(plain.path))
        if plain.info.vendor not in _OWN_OFFSETS:
            check_tiff_extent(plain.path)
        if mpp is not None:
            _check_statement(plain.info)
        return fastest_reader(plain) if fast else plain
    except BaseException:
        plain.close()
        raise


def _check_statement(info: ScanInfo) -> None:
    """Refuse an override that can't be true; a scan that is too coarse with any override may still be described."""
    try:
        require_scale(info)
    except ScaleTooCoarse:
        return
