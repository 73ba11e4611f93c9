"""From the properties of a file to what may be known of a scan: scale, objective, device; never a patient."""

import math
from collections.abc import Mapping

_SYNTHETIC_MARK = "Pellucid synthetic"

_SCALES = (
    ("openslide.mpp-x", "openslide.mpp-y"),
    ("aperio.MPP", "aperio.MPP"),
)

_DEVICES = (
    ("aperio.ScanScope ID",),
    ("dicom.Manufacturer", "dicom.ManufacturerModelName", "dicom.DeviceSerialNumber"),
    ("hamamatsu.Product", "hamamatsu.NDP.S/N"),
    ("leica.device-model", "leica.device-version"),
    ("philips.DICOM_MANUFACTURER", "philips.DICOM_DEVICE_SERIAL_NUMBER"),
    ("ventana.ScannerModel", "ventana.UnitNumber"),
    ("mirax.GENERAL.SCANNER_HARDWARE_VERSION", "mirax.GENERAL.SCANNER_HARDWARE_ID"),
    ("tiff.Make", "tiff.Model"),
)

_MAX_DEVICE = 80


def claimed_mpp(properties: Mapping[str, str]) -> tuple[tuple[float, float], str] | None:
    """um/px in x and y, and the property they come from; None where no number is stated."""
    for name_x, name_y in _SCALES:
        x, y = number(properties.get(name_x)), number(properties.get(name_y))
        if x is not None and y is not None:
            return (x, y), name_x
    return None


def objective_power(properties: Mapping[str, str]) -> float | None:
    """Nominal magnification of the objective, None where none is stated."""
    power = number(properties.get("openslide.objective-power"))
    return power if power is not None and power > 0.0 else None


def scanner(properties: Mapping[str, str]) -> str | None:
    """Which device scanned: maker, model and serial number as far as stated, None where nothing is."""
    for names in _DEVICES:
        parts = [value for name in names if (value := properties.get(name, "").strip())]
        if parts:
            return " ".join(" ".join(parts).split())[:_MAX_DEVICE]
    return None


def stored_tiles(properties: Mapping[str, str]) -> list[tuple[int, int]]:
    """Width and height of the compressed tiles of each level, where stated."""
    sizes = []
    for level in range(int(properties.get("openslide.level-count", "0"))):
        width, height = (
            number(properties.get(f"openslide.level[{level}].tile-{edge}")) for edge in ("width", "height")
        )
        if width is not None and height is not None:
            sizes.append((int(width), int(height)))
    return sizes


def is_synthetic(properties: Mapping[str, str]) -> bool:
    """Whether Pellucid drew the scan and marked it so."""
    return any(
        _SYNTHETIC_MARK in properties.get(name, "")
        for name in ("openslide.comment", "tiff.ImageDescription", "tiff.Software")
    )


def number(text: str | None) -> float | None:
    """A finite number as files write it (some with a decimal comma), else None."""
    if text is None:
        return None
    try:
        value = float(text.strip().replace(",", "."))
    except ValueError:
        return None
    return value if math.isfinite(value) else None
