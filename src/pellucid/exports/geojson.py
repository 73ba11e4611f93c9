"""Attention as GeoJSON that QuPath opens as tile objects with measurements."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pellucid.core.files import write_text
from pellucid.exports.schema import NOTICE, SYNTHETIC_NOTICE

ATTENTION = "Attention (multiples of an even share)"
ATTENTION_SD = "Attention sd over passes (multiples of an even share)"


def write_attention_geojson(
    path: Path,
    *,
    coords: NDArray[np.int32],
    level0_px: int,
    attention: NDArray[np.float32],
    attention_sd: NDArray[np.float32],
    synthetic: bool,
) -> Path:
    """Write each tile as a locked square in level-0 pixels and return `path`.

    A collection of features (RFC 7946 in form; coordinates are pixels, as QuPath reads them). Tiles at the edge keep
    their whole square, overhang included.

    Args:
        path: the file, such as `scan.geojson`.
        coords: `(n, 2) int32`, upper left corner (x, y) of each tile in level-0 pixels.
        level0_px: a tile's edge in level-0 pixels.
        attention: `(n,) float32`, weights that sum to one.
        attention_sd: `(n,) float32`, their standard deviation over the passes.
        synthetic: whether the model is synthetic, which the file then says.

    Raises:
        ValueError: the arrays differ in length, or hold a value that is not finite.
    """
    n = len(coords)
    features = [
        _tile(int(x), int(y), level0_px, float(weight) * n, float(sd) * n)
        for (x, y), weight, sd in zip(coords, attention, attention_sd, strict=True)
    ]
    notice = f"{NOTICE} {SYNTHETIC_NOTICE}" if synthetic else NOTICE
    document = {"type": "FeatureCollection", "notice": notice, "synthetic": synthetic, "features": features}
    write_text(path, json.dumps(document, allow_nan=False, separators=(",", ":")) + "\n")
    return path


def _tile(x: int, y: int, edge: int, attention: float, sd: float) -> dict[str, Any]:
    ring = [[x, y], [x + edge, y], [x + edge, y + edge], [x, y + edge], [x, y]]
    return {
        "type": "Feature",
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "properties": {
            "objectType": "tile",
            "isLocked": True,
            "measurements": {ATTENTION: attention, ATTENTION_SD: sd},
        },
    }
