"""The OpenSlide reader: every format OpenSlide knows, DICOM too."""

from pathlib import Path
from types import TracebackType
from typing import Any, Self

import cv2
import numpy as np
import openslide
from numpy.typing import NDArray

from pellucid.domain.scan import ScanInfo
from pellucid.slides import properties
from pellucid.slides.errors import FileDamaged, FileUnsupported, RegionUnreadable
from pellucid.slides.intake import check_file, check_stored_tile
from pellucid.slides.scale import choose_scale, mean_mpp
from pellucid.slides.tiff_extent import check_tiff_extent

_CACHE_BYTES = 32 << 20
_WHITE = 255


class OpenSlideReader:
    """A scan read through OpenSlide.

    An OpenSlide handle fails for ever after one error. So a failed read opens the file anew and tries once more; a
    second failure is the region's own, and the next read starts on a fresh handle.
    """

    def __init__(self, path: Path, mpp: float | None, mpp_detail: str) -> None:
        self._path = path
        self._is_closed = False
        self._cache: Any = None
        self._handle: openslide.OpenSlide | None = self._open()
        try:
            for size in properties.stored_tiles(self._handle.properties):
                check_stored_tile(*size)
            self._info = _describe(self._handle, mpp, mpp_detail)
        except BaseException:
            self.close()
            raise

    @property
    def path(self) -> Path:
        """The file that was opened."""
        return self._path

    @property
    def info(self) -> ScanInfo:
        """What the file says of itself."""
        return self._info

    def read_region(self, x: int, y: int, width: int, height: int, *, level: int = 0) -> NDArray[np.uint8]:
        """Decode a region; see `Slide.read_region`."""
        try:
            return self._decode(x, y, width, height, level)
        except openslide.OpenSlideError:
            self._discard()
        try:
            return self._decode(x, y, width, height, level)
        except openslide.OpenSlideError as error:
            self._discard()
            raise RegionUnreadable(
                f"The region {width} x {height} at ({x}, {y}) of level {level} can't be decoded: {error}"
            ) from error

    def release(self) -> None:
        """Release the handle and all decoded tiles; the next read opens the file again."""
        self._discard()
        self._cache = None

    def close(self) -> None:
        """Release the file; a read after it is an error."""
        self.release()
        self._is_closed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _decode(self, x: int, y: int, width: int, height: int, level: int) -> NDArray[np.uint8]:
        if self._is_closed:
            raise ValueError(f"{self._path} is closed")
        if self._handle is None:
            self._handle = self._open()
        return _on_white(np.asarray(self._handle.read_region((x, y), level, (width, height))))

    def _open(self) -> Any:
        check_file(self._path)
        try:
            handle = openslide.OpenSlide(str(self._path))
        except openslide.OpenSlideUnsupportedFormatError as error:
            check_tiff_extent(self._path)
            raise FileUnsupported(f"{self._path} is in no format that can be read.") from error
        except openslide.OpenSlideError as error:
            raise FileDamaged(f"{self._path} can't be opened: {error}") from error
        if self._cache is None:
            self._cache = openslide.OpenSlideCache(_CACHE_BYTES)
        handle.set_cache(self._cache)
        return handle

    def _discard(self) -> None:
        handle, self._handle = self._handle, None
        if handle is not None:
            handle.close()


def _on_white(rgba: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Straight-alpha RGBA over white, as contiguous RGB."""
    rgb = np.asarray(cv2.cvtColor(rgba, cv2.COLOR_RGBA2RGB), np.uint8)
    alpha = rgba[:, :, 3]
    if alpha.size and alpha.min() < _WHITE:
        share = alpha[:, :, None].astype(np.float32) / _WHITE
        rgb = np.rint(rgb * share + _WHITE * (1.0 - share)).astype(np.uint8)
    return rgb


def _describe(handle: Any, mpp: float | None, mpp_detail: str) -> ScanInfo:
    stated = properties.claimed_mpp(handle.properties)
    claimed, source = (None, "") if stated is None else stated
    power = properties.objective_power(handle.properties)
    width, height = handle.dimensions
    return ScanInfo(
        width=width,
        height=height,
        level_downsamples=tuple(float(downsample) for downsample in handle.level_downsamples),
        vendor=handle.properties.get("openslide.vendor", "unknown"),
        reader=f"openslide {openslide.__library_version__}",
        scale=choose_scale(claimed, source, power, mpp, mpp_detail),
        claimed_mpp=None if claimed is None else mean_mpp(*claimed),
        objective_power=power,
        scanner=properties.scanner(handle.properties),
        synthetic=properties.is_synthetic(handle.properties),
    )
