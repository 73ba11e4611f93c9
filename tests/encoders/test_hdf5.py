"""Feature files of TRIDENT, CLAM and STAMP become bags with the right units, and bags become files those tools read."""

import contextlib
import json
import multiprocessing
import os
import signal
import subprocess
import sys

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pellucid.core.digests import digest_file
from pellucid.domain.grid import TileGrid
from pellucid.domain.scan import Scale, ScaleSource
from pellucid.encoders import SMALL_SPEC, Bag, bag_provenance, read_bag, write_bag
from pellucid.encoders.hdf5 import (
    NOTHING_STATED,
    StatedFacts,
    feature_file_bytes,
    read_feature_file,
    write_feature_file,
)
from pellucid.encoders.hdf5_child import FeatureFileReader
from pellucid.encoders.hdf5_conversion import export_bags, import_bags
from pellucid.encoders.hdf5_errors import (
    BagScaleUnknown,
    BagsMixed,
    ConversionIncomplete,
    FeatureFileForeign,
    FeatureFileNonFinite,
    FeatureFileUnfit,
    FeatureFileUnreadable,
    NothingToConvert,
)
from pellucid.encoders.hdf5_layouts import FeatureTool

N, DIM = 7, 12
CORNERS = np.array([[512 * (i % 3), 512 * (i // 3)] for i in range(N)])
FEATURES = np.random.default_rng(0).normal(size=(N, DIM)).astype(np.float32)


def by_rows(file, name, values):
    """As TRIDENT and CLAM write: resizable, in chunks of one row."""
    chunks = (1, *values.shape[1:])
    dataset = file.create_dataset(
        name, shape=values.shape, maxshape=(None, *values.shape[1:]), chunks=chunks, dtype=values.dtype
    )
    dataset[:] = values
    return dataset


def trident_file(path, features=FEATURES, corners=CORNERS, **changes):
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        by_rows(file, "features", features).attrs.update({"name": path.stem, "savetodir": "/data/features"})
        geometry = {
            "patch_size": 256,
            "patch_size_level0": 512,
            "level0_magnification": 40,
            "target_magnification": 20,
            "overlap": 0,
            "name": path.stem,
            "savetodir": "/data",
        }
        by_rows(file, "coords", corners.astype(np.int64)).attrs.update({**geometry, **changes})
    return path


def clam_file(path, features=FEATURES, corners=CORNERS):
    with h5py.File(path, "w") as file:
        by_rows(file, "features", features)
        by_rows(file, "coords", corners.astype(np.int32))
    return path


def stamp_file(path, um=None, features=FEATURES, **changes):
    """STAMP 2.1 and later; an attribute changed to None is left out."""
    attributes = {
        "stamp_version": "2.3.0",
        "extractor": "uni2",
        "unit": "um",
        "tile_size_um": 256.0,
        "tile_size_px": 224,
        "code_hash": "abcdef12",
        "feat_type": "tile",
        **changes,
    }
    with h5py.File(path, "w") as file:
        file["coords"] = (CORNERS * 0.25 if um is None else um).astype(np.float32)
        file["feats"] = features.astype(np.float16)
        file.attrs.update({name: value for name, value in attributes.items() if value is not None})
    return path


def own_bag(mpp=(0.25, 0.251)):
    grid = TileGrid(
        coords=CORNERS.astype(np.int32),
        tissue_fraction=np.ones(N, np.float32),
        level0_px=512,
        tile_px=256,
        mpp=0.5,
        columns=3,
        rows=3,
    )
    scale = Scale(mpp_x=mpp[0], mpp_y=mpp[1], source=ScaleSource.FILE, detail="openslide.mpp-x")
    provenance = bag_provenance(scan="ab" * 32, spec=SMALL_SPEC, grid=grid, scale=scale)
    return Bag(features=FEATURES.astype(np.float16), coords=grid.coords, provenance=provenance)


def same_tiles(bag, other):
    return np.array_equal(bag.features, other.features) and np.array_equal(bag.coords, other.coords)


def test_trident_file_becomes_a_bag(tmp_path):
    path = trident_file(tmp_path / "20x_256px_0px_overlap" / "features_uni_v1" / "slide-7.h5")
    bag = read_feature_file(path)
    assert np.array_equal(bag.features, FEATURES.astype(np.float16))
    assert np.array_equal(bag.coords, CORNERS)
    assert bag.provenance["imported_from"] == "trident"
    assert bag.provenance["extractor"] == "uni_v1"
    assert bag.provenance["extractor_said_by"] == "folder"
    assert bag.provenance["source_digest"] == digest_file(path)
    assert bag.provenance["grid"].startswith("256 px at 0.5 um/px, 7 tiles, ")
    assert bag.provenance["scale"] == "unknown"
    assert "/data" not in json.dumps(bag.provenance)


def test_trident_tile_size_follows_the_slides_own_scale_where_it_is_stated(tmp_path):
    bag = read_feature_file(trident_file(tmp_path / "s.h5"), facts=StatedFacts(mpp=0.26))
    assert bag.provenance["grid"].startswith("256 px at 0.52 um/px")
    assert bag.provenance["scale"] == "0.26 x 0.26 um/px, override: --mpp"


def test_older_trident_file_with_a_batch_of_one(tmp_path):
    path = trident_file(tmp_path / "s.h5", features=FEATURES[None])
    assert np.array_equal(read_feature_file(path).features, FEATURES.astype(np.float16))


def test_clam_file_becomes_a_bag(tmp_path):
    bag = read_feature_file(clam_file(tmp_path / "slide-7.h5"), facts=StatedFacts(encoder="resnet50_trunc"))
    assert np.array_equal(bag.coords, CORNERS)
    assert bag.provenance["imported_from"] == "clam"
    assert bag.provenance["extractor"] == "resnet50_trunc"
    assert bag.provenance["extractor_said_by"] == "person"
    assert bag.provenance["spec"] == "imported from CLAM: resnet50_trunc, 12 features"
    assert bag.provenance["grid"].startswith("tiles of unknown size")


def test_stamp_micrometres_become_level_0_pixels(tmp_path):
    bag = read_feature_file(stamp_file(tmp_path / "s.h5"), facts=StatedFacts(mpp=0.25))
    assert np.array_equal(bag.coords, CORNERS)
    assert bag.provenance["extractor"] == "uni2"
    assert bag.provenance["extractor_said_by"] == "file"
    assert bag.provenance["source_version"] == "2.3.0"
    assert bag.provenance["grid"].startswith(f"224 px at {256 / 224} um/px")


def test_stamp_corners_between_pixels_are_rounded_to_the_nearest(tmp_path):
    um = CORNERS * 0.25 + 0.1
    bag = read_feature_file(stamp_file(tmp_path / "s.h5", um=um), facts=StatedFacts(mpp=0.25))
    assert np.array_equal(bag.coords, CORNERS)


def test_stamp_2_0_says_its_unit_in_another_way(tmp_path):
    path = stamp_file(tmp_path / "s.h5", tile_size_um=None, tile_size=256.0, feat_type=None, stamp_version="2.0.1")
    bag = read_feature_file(path, facts=StatedFacts(mpp=0.25))
    assert np.array_equal(bag.coords, CORNERS)
    assert bag.provenance["grid"].startswith(f"224 px at {256 / 224} um/px")


def test_stamp_file_without_the_slides_scale_is_refused(tmp_path):
    with pytest.raises(BagScaleUnknown, match="doesn't say the slide's um/px"):
        read_feature_file(stamp_file(tmp_path / "s.h5"))


@pytest.mark.parametrize("changes", [{"unit": "px"}, {"unit": None, "tile_size_um": None}])
def test_stamp_file_of_another_or_no_unit_is_refused(tmp_path, changes):
    with pytest.raises(BagScaleUnknown, match="in the unit"):
        read_feature_file(stamp_file(tmp_path / "s.h5", **changes), facts=StatedFacts(mpp=0.25))


def test_imported_bag_never_carries_an_own_bags_spec(tmp_path):
    path = tmp_path / "s.h5"
    write_feature_file(path, own_bag(), tool=FeatureTool.STAMP)
    bag = read_feature_file(path)
    assert bag.provenance["spec"].startswith("imported from STAMP: pellucid-")
    assert bag.provenance["spec"] != SMALL_SPEC.digest
    assert bag.provenance["scan"].startswith("unknown: imported as s")


@pytest.mark.parametrize("tool", FeatureTool)
def test_own_bag_comes_back_from_every_layout(tmp_path, tool):
    path = tmp_path / "slide-7.h5"
    write_feature_file(path, own_bag(), tool=tool)
    bag = read_feature_file(path)
    assert same_tiles(bag, own_bag())
    assert bag.provenance["imported_from"] == tool.value
    assert bag.provenance["scale"].startswith("0.25 x 0.251 um/px")
    if tool is not FeatureTool.CLAM:
        assert float(bag.provenance["grid"].split()[3]) == pytest.approx(0.5, rel=2e-3)


@pytest.mark.parametrize("tool", FeatureTool)
def test_imported_bag_can_be_exported_and_imported_again(tmp_path, tool):
    first = read_feature_file(trident_file(tmp_path / "features_uni_v1" / "s.h5"), facts=StatedFacts(mpp=0.25))
    write_feature_file(tmp_path / "again.h5", first, tool=tool)
    again = read_feature_file(tmp_path / "again.h5")
    assert same_tiles(again, first)
    assert again.provenance["extractor"] == "uni_v1"


@settings(max_examples=30, deadline=None)
@given(mpp=st.floats(0.1, 1.0), x=st.integers(0, 400_000), y=st.integers(0, 400_000))
def test_stamp_round_trip_keeps_every_pixel_of_a_slide(tmp_path_factory, mpp, x, y):
    bag = own_bag(mpp=(mpp, mpp))
    bag = Bag(features=bag.features, coords=bag.coords + np.array([x, y], np.int32), provenance=bag.provenance)
    path = tmp_path_factory.mktemp("stamp") / "s.h5"
    write_feature_file(path, bag, tool=FeatureTool.STAMP)
    assert np.array_equal(read_feature_file(path).coords, bag.coords)


def test_trident_export_has_the_names_types_and_attributes_of_trident(tmp_path):
    write_feature_file(tmp_path / "s.h5", own_bag(mpp=(0.25, 0.25)), tool=FeatureTool.TRIDENT)
    with h5py.File(tmp_path / "s.h5") as file:
        assert set(file) == {"features", "coords"}
        assert (file["features"].dtype, file["coords"].dtype) == (np.float32, np.int64)
        assert np.array_equal(file["coords"][:], CORNERS)
        attributes = dict(file["coords"].attrs)
        chunks = (file["features"].chunks, file["coords"].chunks)
    assert {"patch_size": 256, "patch_size_level0": 512, "overlap": 0, "name": "s"}.items() <= attributes.items()
    assert (attributes["level0_magnification"], attributes["target_magnification"]) == (40, 20)
    assert chunks == (None, None)


def test_clam_export_has_the_names_and_types_of_clam(tmp_path):
    write_feature_file(tmp_path / "s.h5", own_bag(), tool=FeatureTool.CLAM)
    with h5py.File(tmp_path / "s.h5") as file:
        assert set(file) == {"features", "coords"}
        assert (file["features"].dtype, file["coords"].dtype) == (np.float32, np.int32)
        assert file["features"].chunks is None


def test_stamp_export_is_read_as_stamp_reads_it(tmp_path):
    write_feature_file(tmp_path / "s.h5", own_bag(mpp=(0.25, 0.25)), tool=FeatureTool.STAMP)
    with h5py.File(tmp_path / "s.h5") as file:
        assert (file["feats"].dtype, file["coords"].dtype) == (np.float16, np.float32)
        assert file.attrs["unit"] == "um"
        assert float(file.attrs["tile_size_um"]) == 128.0
        assert int(file.attrs["tile_size_px"]) == 256
        assert file.attrs["feat_type"] == "tile"
        assert {"stamp_version", "extractor", "code_hash"} <= set(file.attrs)
        assert np.array_equal(file["coords"][:], (CORNERS * 0.25).astype(np.float32))
        assert file["feats"].chunks is None


@pytest.mark.parametrize("tool", FeatureTool)
def test_same_bag_gives_the_same_bytes(tool):
    assert feature_file_bytes(own_bag(), tool=tool, name="s") == feature_file_bytes(own_bag(), tool=tool, name="s")


@pytest.mark.parametrize("tool", [FeatureTool.TRIDENT, FeatureTool.STAMP])
def test_export_that_needs_an_unknown_size_is_refused(tmp_path, tool):
    bag = read_feature_file(clam_file(tmp_path / "s.h5"))
    with pytest.raises(BagScaleUnknown, match="um/px"):
        write_feature_file(tmp_path / "out.h5", bag, tool=tool)
    with pytest.raises(BagScaleUnknown, match="tiles' size"):
        write_feature_file(tmp_path / "out.h5", bag, tool=tool, mpp=0.25)
    assert not (tmp_path / "out.h5").exists()


@pytest.mark.parametrize("mpp", [0.0, -0.25, 1000.0, float("nan")])
def test_absurd_scale_is_refused(mpp):
    with pytest.raises(BagScaleUnknown, match="no slide's"):
        StatedFacts(mpp=mpp)


def test_statements_that_contradict_the_file_are_refused(tmp_path):
    write_feature_file(tmp_path / "s.h5", own_bag(), tool=FeatureTool.STAMP)
    with pytest.raises(BagScaleUnknown, match="but the file says"):
        read_feature_file(tmp_path / "s.h5", facts=StatedFacts(mpp=0.5))
    with pytest.raises(BagsMixed, match="says 'uni2'"):
        read_feature_file(stamp_file(tmp_path / "t.h5"), facts=StatedFacts(mpp=0.25, encoder="gigapath"))


def spoilt(change):
    features = FEATURES.copy()
    features[3, 2] = change
    return features


@pytest.mark.parametrize("value", [np.nan, np.inf, 65_520.0, -1e30])
def test_features_that_float16_cannot_hold_are_refused(tmp_path, value):
    with pytest.raises(FeatureFileNonFinite):
        read_feature_file(clam_file(tmp_path / "s.h5", features=spoilt(value)))


@pytest.mark.parametrize(
    ("features", "corners"),
    [
        (FEATURES[:3], CORNERS),
        (FEATURES[:0], CORNERS[:0]),
        (FEATURES[:, :0], CORNERS),
        (FEATURES[0], CORNERS),
        (FEATURES, CORNERS[:, :1]),
        (FEATURES.astype(np.int32), CORNERS),
        (np.stack([FEATURES, FEATURES]), CORNERS),
        (FEATURES, CORNERS + 2**31),
    ],
)
def test_arrays_that_make_no_bag_are_refused(tmp_path, features, corners):
    with h5py.File(tmp_path / "s.h5", "w") as file:
        file["features"], file["coords"] = features, corners
    with pytest.raises(FeatureFileUnfit):
        read_feature_file(tmp_path / "s.h5")


@pytest.mark.parametrize("corner", [0.5, np.nan])
def test_pixel_coordinates_that_are_no_pixels_are_refused(tmp_path, corner):
    with h5py.File(tmp_path / "s.h5", "w") as file:
        file["features"], file["coords"] = FEATURES, CORNERS + corner
    with pytest.raises(FeatureFileUnfit):
        read_feature_file(tmp_path / "s.h5")


def test_file_whose_writer_was_killed_between_rows_is_refused(tmp_path):
    with h5py.File(tmp_path / "s.h5", "w") as file:
        features = file.create_dataset("features", shape=(N, DIM), chunks=(1, DIM), dtype=np.float32)
        features[: N - 2] = FEATURES[: N - 2]
        file["coords"] = CORNERS
    with pytest.raises(FeatureFileUnfit, match="were ever written"):
        read_feature_file(tmp_path / "s.h5")


def foreign(path, name):
    with h5py.File(path, "w") as file:
        match name:
            case "coordinates only":
                file["coords"] = CORNERS
            case "no coordinates":
                file["feats"] = FEATURES
            case "something else":
                file["embeddings"] = FEATURES
            case "a group":
                file.create_group("features")
                file["coords"] = CORNERS
            case "slide level":
                file["feats"], file["coords"] = FEATURES, CORNERS
                file.attrs["feat_type"] = "slide"
    return path


@pytest.mark.parametrize("name", ["coordinates only", "no coordinates", "something else", "a group", "slide level"])
def test_foreign_layouts_are_refused(tmp_path, name):
    with pytest.raises(FeatureFileForeign):
        read_feature_file(foreign(tmp_path / "s.h5", name), facts=StatedFacts(mpp=0.25))


def test_tool_that_was_named_wrongly_is_told(tmp_path):
    with pytest.raises(FeatureFileForeign, match="'feats', which STAMP"):
        read_feature_file(clam_file(tmp_path / "s.h5"), tool=FeatureTool.STAMP, facts=StatedFacts(mpp=0.25))


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_files_with_a_part_missing_are_refused_or_read_as_they_are(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("damaged") / "s.h5"
    whole = bytearray(trident_file(path).read_bytes())
    start = data.draw(st.integers(0, len(whole)))
    del whole[start : start + data.draw(st.sampled_from([8, 64, 512, len(whole)]))]
    path.write_bytes(whole)
    with contextlib.suppress(
        FeatureFileUnreadable, FeatureFileForeign, FeatureFileUnfit, FeatureFileNonFinite, BagScaleUnknown
    ):
        bag = read_feature_file(path)
        assert bag.coords.shape == (len(bag.features), 2)


def test_file_over_which_hdf5_never_comes_back_is_refused_and_the_next_is_read(tmp_path):
    blank = stamp_file(tmp_path / "blank.h5")
    contents = bytearray(blank.read_bytes())
    heap = contents.index(b"GCOL")
    contents[heap + 16 : heap + 80] = bytes(64)
    blank.write_bytes(contents)
    with FeatureFileReader(cpu_s=1) as reader:
        with pytest.raises(FeatureFileUnreadable):
            reader.read(blank, tool=None, facts=NOTHING_STATED)
        good = reader.read(trident_file(tmp_path / "good.h5"), tool=None, facts=NOTHING_STATED)
    assert np.array_equal(good.coords, CORNERS)


def test_file_that_crashes_its_reader_is_refused(tmp_path):
    with FeatureFileReader() as reader:
        reader.read(trident_file(tmp_path / "one.h5"), tool=None, facts=NOTHING_STATED)
        (child,) = multiprocessing.active_children()
        os.kill(child.pid, signal.SIGSEGV)
        with pytest.raises(FeatureFileUnreadable, match="crashed reading it"):
            reader.read(tmp_path / "one.h5", tool=None, facts=NOTHING_STATED)
        assert len(reader.read(tmp_path / "one.h5", tool=None, facts=NOTHING_STATED)) == N


@pytest.mark.parametrize("kept", [0, 8, 500, -1])
def test_truncated_files_are_refused(tmp_path, kept):
    path = trident_file(tmp_path / "s.h5")
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(FeatureFileUnreadable):
        read_feature_file(path)


def test_folder_of_files_becomes_bags_named_for_their_slides(tmp_path):
    for name in ("a", "b.scan", "c"):
        trident_file(tmp_path / "features_uni_v1" / f"{name}.h5")
    done = import_bags([tmp_path / "features_uni_v1"], tmp_path / "bags")
    assert done.written == ("a.bag.safetensors", "b.scan.bag.safetensors", "c.bag.safetensors")
    assert read_bag(tmp_path / "bags" / "a.bag.safetensors").provenance["source_file"] == "a.h5"
    again = import_bags([tmp_path / "features_uni_v1"], tmp_path / "bags")
    assert (again.written, again.known) == ((), done.written)


def test_every_bad_file_is_named_and_the_good_ones_are_imported(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    clam_file(folder / "good.h5")
    clam_file(folder / "nan.h5", features=spoilt(np.nan))
    foreign(folder / "other.h5", "something else")
    (folder / "text.h5").write_text("no HDF5")
    done = import_bags([folder, tmp_path / "missing.h5"], tmp_path / "bags")
    assert done.written == ("good.bag.safetensors",)
    codes = {problem.file.rsplit("/", 1)[1]: problem.code for problem in done.problems}
    assert codes == {
        "nan.h5": "PEL-MODEL-023",
        "other.h5": "PEL-MODEL-021",
        "text.h5": "PEL-MODEL-020",
        "missing.h5": "PEL-MODEL-020",
    }
    assert all(problem.remedy for problem in done.problems)
    assert [path.name for path in (tmp_path / "bags").iterdir()] == ["good.bag.safetensors"]
    with pytest.raises(ConversionIncomplete, match=r"4 of 5 files failed(.|\n)*nan\.h5(.|\n)*missing\.h5"):
        done.require_complete()


def test_files_of_one_name_are_not_merged(tmp_path):
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        clam_file(tmp_path / folder / "s.h5", features=FEATURES * (1 + len(folder)))
    clam_file(tmp_path / "two" / "t.h5", features=FEATURES)
    clam_file(tmp_path / "one" / "t.h5", features=-FEATURES)
    done = import_bags([tmp_path / "one", tmp_path / "two"], tmp_path / "bags")
    assert [problem.code for problem in done.problems] == ["PEL-MODEL-025"] * 2
    assert np.array_equal(read_bag(tmp_path / "bags" / "t.bag.safetensors").features, -FEATURES.astype(np.float16))


def test_another_bag_of_that_name_is_never_overwritten(tmp_path):
    write_bag(tmp_path / "bags" / "s.bag.safetensors", own_bag())
    done = import_bags([clam_file(tmp_path / "s.h5")], tmp_path / "bags")
    assert [problem.code for problem in done.problems] == ["PEL-MODEL-025"]
    assert read_bag(tmp_path / "bags" / "s.bag.safetensors").provenance == own_bag().provenance


def test_files_of_two_encoders_are_not_mixed(tmp_path):
    (tmp_path / "in").mkdir()
    clam_file(tmp_path / "in" / "a.h5")
    clam_file(tmp_path / "in" / "b.h5", features=FEATURES[:, :5])
    stamp_file(tmp_path / "in" / "c.h5")
    clam_file(tmp_path / "in" / "d.h5")
    done = import_bags([tmp_path / "in"], tmp_path / "bags", facts=StatedFacts(mpp=0.25))
    assert done.written == ("a.bag.safetensors", "d.bag.safetensors")
    assert [problem.code for problem in done.problems] == ["PEL-MODEL-026"] * 2
    assert "while a.h5 is imported from CLAM" in done.problems[0].message


def test_nothing_found_is_an_error(tmp_path):
    with pytest.raises(NothingToConvert):
        import_bags([tmp_path], tmp_path / "bags")
    with pytest.raises(NothingToConvert):
        export_bags([tmp_path], tmp_path / "out", tool=FeatureTool.CLAM)


def test_bags_are_exported_once_and_bad_ones_named(tmp_path):
    write_bag(tmp_path / "bags" / "s.bag.safetensors", own_bag())
    (tmp_path / "bags" / "bad.bag.safetensors").write_bytes(b"no bag")
    done = export_bags([tmp_path / "bags"], tmp_path / "out", tool=FeatureTool.STAMP)
    assert done.written == ("s.h5",)
    assert [problem.code for problem in done.problems] == ["PEL-MODEL-007"]
    again = export_bags([tmp_path / "bags"], tmp_path / "out", tool=FeatureTool.STAMP)
    assert again.known == ("s.h5",)
    other = export_bags([tmp_path / "bags"], tmp_path / "out", tool=FeatureTool.CLAM)
    assert [problem.code for problem in other.problems] == ["PEL-MODEL-007", "PEL-MODEL-025"]


def test_modules_need_neither_torch_nor_h5py_until_a_file_is_read():
    script = "import pellucid.encoders.hdf5_conversion, sys; print([n for n in ('torch', 'h5py') if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
