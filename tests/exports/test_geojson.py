import json

import numpy as np
import pytest

from pellucid.exports import write_attention_geojson
from pellucid.exports.geojson import ATTENTION, ATTENTION_SD

COORDS = np.array([(0, 0), (448, 0), (0, 448)], np.int32)


def test_each_tile_is_a_closed_square_with_its_attention(tmp_path):
    path = write_attention_geojson(
        tmp_path / "scan.geojson",
        coords=COORDS,
        level0_px=448,
        attention=np.array([0.5, 0.25, 0.25], np.float32),
        attention_sd=np.array([0.125, 0.0, 0.0], np.float32),
        synthetic=True,
    )
    document = json.loads(path.read_text())
    assert document["type"] == "FeatureCollection"
    assert document["synthetic"] is True
    assert "Research use only" in document["notice"]
    assert "Synthetic model" in document["notice"]
    assert [f["properties"]["measurements"][ATTENTION] for f in document["features"]] == [1.5, 0.75, 0.75]
    assert document["features"][0]["properties"]["measurements"][ATTENTION_SD] == 0.375
    (ring,) = document["features"][1]["geometry"]["coordinates"]
    assert ring == [[448, 0], [896, 0], [896, 448], [448, 448], [448, 0]]


@pytest.mark.parametrize("attention", [np.ones(2, np.float32), np.array([1, np.nan, 0], np.float32)])
def test_what_is_no_attention_is_not_written(tmp_path, attention):
    with pytest.raises(ValueError):
        write_attention_geojson(
            tmp_path / "scan.geojson",
            coords=COORDS,
            level0_px=448,
            attention=attention,
            attention_sd=np.zeros(3, np.float32),
            synthetic=False,
        )
    assert list(tmp_path.iterdir()) == []
