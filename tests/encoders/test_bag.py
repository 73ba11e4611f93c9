"""A bag file is read back bit by bit, or refused with a coded error."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from safetensors.numpy import load_file, save_file

from pellucid.domain.grid import TileGrid
from pellucid.domain.scan import Scale, ScaleSource
from pellucid.encoders import (
    SMALL_SPEC,
    Bag,
    BagUnfit,
    BagUnreadable,
    BagVersionUnknown,
    NonFiniteFeatures,
    bag_provenance,
    half_features,
    read_bag,
    write_bag,
)


@st.composite
def bags(draw):
    n, dim = draw(st.integers(1, 20)), draw(st.integers(1, 12))
    finite = st.floats(allow_nan=False, allow_infinity=False, width=16)
    return Bag(
        features=draw(hnp.arrays(np.float16, (n, dim), elements=finite)),
        coords=draw(hnp.arrays(np.int32, (n, 2))),
        provenance=draw(st.dictionaries(st.text(max_size=8), st.text(max_size=20), max_size=4)),
    )


@pytest.fixture
def bag():
    features = np.linspace(-3, 3, 40, dtype=np.float16).reshape(10, 4)
    return Bag(features=features, coords=np.arange(20, dtype=np.int32).reshape(10, 2), provenance={"scan": "ab" * 32})


@pytest.fixture
def path(tmp_path, bag):
    path = tmp_path / "scan.bag.safetensors"
    write_bag(path, bag)
    return path


@settings(max_examples=60, deadline=None)
@given(bag=bags())
def test_round_trip_keeps_every_bit(tmp_path_factory, bag):
    path = tmp_path_factory.mktemp("bag") / "one.bag.safetensors"
    write_bag(path, bag)
    again = read_bag(path)
    assert again.features.tobytes() == bag.features.tobytes()
    assert again.features.shape == bag.features.shape
    np.testing.assert_array_equal(again.coords, bag.coords)
    assert again.provenance == bag.provenance


def test_same_bag_gives_the_same_bytes_every_time(path, tmp_path, bag):
    for number in range(8):
        other = tmp_path / f"{number}.bag.safetensors"
        write_bag(other, bag)
        assert other.read_bytes() == path.read_bytes()


@settings(max_examples=40, deadline=None)
@given(share=st.floats(0, 1, exclude_max=True))
def test_every_truncation_is_refused(tmp_path_factory, share):
    path = tmp_path_factory.mktemp("bag") / "one.bag.safetensors"
    write_bag(path, Bag(features=np.ones((9, 5), np.float16), coords=np.ones((9, 2), np.int32), provenance={}))
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(BagUnreadable):
        read_bag(path)


def test_every_flipped_byte_is_refused(path):
    data = path.read_bytes()
    for place in range(0, len(data), 7):
        path.write_bytes(data[:place] + bytes([data[place] ^ 0x01]) + data[place + 1 :])
        with pytest.raises((BagUnreadable, BagUnfit, BagVersionUnknown, NonFiniteFeatures)):
            read_bag(path)


def test_altered_provenance_is_refused(path):
    data = path.read_bytes()
    path.write_bytes(data.replace(b"abab", b"acab", 1))
    with pytest.raises(BagUnreadable, match="digest"):
        read_bag(path)


def test_missing_file_is_a_coded_error(tmp_path):
    with pytest.raises(BagUnreadable, match=r"none\.bag\.safetensors can't be read"):
        read_bag(tmp_path / "none.bag.safetensors")


def test_safetensors_file_that_is_no_bag_is_refused(tmp_path):
    path = tmp_path / "weights.safetensors"
    save_file({"weight": np.zeros(3, np.float32)}, path)
    with pytest.raises(BagUnreadable, match="no bag"):
        read_bag(path)


def test_other_format_version_is_named(path):
    save_file(load_file(path), path, metadata={"pellucid_bag": '{"format": "2"}'})
    with pytest.raises(BagVersionUnknown, match="format '2'"):
        read_bag(path)


def test_other_types_in_the_file_are_refused(path):
    save_file(
        {"features": np.zeros((2, 3), np.float32), "coords": np.zeros((2, 2), np.int32)},
        path,
        metadata={"pellucid_bag": '{"format": "1", "provenance": {}}'},
    )
    with pytest.raises(BagUnfit, match="float32"):
        read_bag(path)


@pytest.mark.parametrize(
    ("features", "coords"),
    [
        (np.zeros((3, 4), np.float32), np.zeros((3, 2), np.int32)),
        (np.zeros((3, 4), np.float16), np.zeros((3, 2), np.int64)),
        (np.zeros((3, 4), np.float16), np.zeros((2, 2), np.int32)),
        (np.zeros((3, 4), np.float16), np.zeros((3, 3), np.int32)),
        (np.zeros((0, 4), np.float16), np.zeros((0, 2), np.int32)),
        (np.zeros(4, np.float16), np.zeros((4, 2), np.int32)),
    ],
)
def test_bag_of_wrong_arrays_cannot_be_made(features, coords):
    with pytest.raises(BagUnfit):
        Bag(features=features, coords=coords, provenance={})


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_bag_of_features_that_are_not_finite_cannot_be_made(value):
    features = np.zeros((3, 4), np.float16)
    features[1, 1] = value
    with pytest.raises(NonFiniteFeatures):
        Bag(features=features, coords=np.zeros((3, 2), np.int32), provenance={})


def test_half_features_rounds_to_nearest_and_refuses_overflow():
    np.testing.assert_array_equal(half_features(np.array([[0.1, 1e-9]], np.float32)), np.array([[0.1, 0]], np.float16))
    with pytest.raises(NonFiniteFeatures):
        half_features(np.array([[70000.0]], np.float32))
    with pytest.raises(NonFiniteFeatures):
        half_features(np.array([[np.nan]], np.float32))


def test_provenance_tells_grids_and_scales_apart():
    def provenance(x, mpp):
        grid = TileGrid(
            coords=np.array([[x, 0]], np.int32),
            tissue_fraction=np.ones(1, np.float32),
            level0_px=448,
            tile_px=224,
            mpp=0.5,
            columns=4,
            rows=4,
        )
        scale = Scale(mpp_x=mpp, mpp_y=mpp, source=ScaleSource.FILE, detail="openslide.mpp-x")
        return bag_provenance(scan="ab" * 32, spec=SMALL_SPEC, grid=grid, scale=scale)

    base = provenance(0, 0.25)
    assert set(base) == {"scan", "spec", "grid", "scale", "software"}
    assert base["spec"] == SMALL_SPEC.digest
    assert provenance(448, 0.25)["grid"] != base["grid"]
    assert provenance(0, 0.26)["scale"] != base["scale"]


def test_reading_bags_does_not_import_torch():
    code = "import sys, pellucid.encoders, pellucid.encoders.bag; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
