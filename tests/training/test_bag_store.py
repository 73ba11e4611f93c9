import json
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pellucid.core.digests import digest_file
from pellucid.core.seeds import generator
from pellucid.domain.cohort import Cohort, Split
from pellucid.domain.scan import ScaleSource
from pellucid.encoders import SMALL_SPEC, Bag, bag_provenance, write_bag
from pellucid.training import TrainingConfig
from pellucid.training.bag_store import BagsUnusable, load_bags
from pellucid.training.calibrate import answer_scans, calibrate, describe_reference
from pellucid.training.head_loop import train_head
from pellucid.training.stored_bag import describe_bag, map_bag, where_placed
from pellucid.training.tumour import fit_tumour_head
from pellucid.training.tuning import Gating, tuning_specimens

CONFIG = TrainingConfig(n_passes=4, workers=1)
DIM = 8


def silent(*_):
    pass


def make(number, n=12, dim=DIM, **provenance):
    features = generator("stored", number).normal(size=(n, dim)).astype(np.float16)
    features[: n // 3, 0] += np.float16(3 * (2 * (number % 2) - 1))
    coords = np.stack([np.arange(n) % 4, np.arange(n) // 4], axis=1).astype(np.int32) * 448
    return Bag(features=features, coords=coords, provenance=provenance)


def put(folder, name, bag):
    write_bag(folder / f"{name}.bag.safetensors", bag)


@pytest.fixture
def rows(entries):
    def rows(n=12):
        return [entries(number, number % 2, Split.TUNING if number % 4 > 1 else Split.TRAINING) for number in range(n)]

    return rows


@pytest.fixture
def stored(rows, tmp_path):
    """A cohort whose bags are named as the slides."""
    found = rows()
    for number, entry in enumerate(found):
        put(tmp_path, entry.slide, make(number, spec="e" * 64))
    return Cohort(entries=tuple(found), name="stored"), tmp_path


def problems_of(cohort, folder, config=CONFIG, **options):
    with pytest.raises(BagsUnusable) as caught:
        load_bags(cohort, folder, config, silent, **options)
    return caught.value.context["problems"]


def test_bags_named_as_slides_or_files_are_found_below_the_folder(stored):
    cohort, folder = stored
    (folder / "deep").mkdir()
    (folder / "S3.bag.safetensors").rename(folder / "deep" / f"{cohort.entries[3].path.stem}.bag.safetensors")
    put(folder, "another slide", make(99, spec="f" * 64, dim=5))
    found = load_bags(cohort, folder, CONFIG, silent, spec=None)
    assert [one.scan.entry.slide for one in found.training] == ["S0", "S1", "S4", "S5", "S8", "S9"]
    assert [one.scan.entry.slide for one in found.tuning] == ["S2", "S3", "S6", "S7", "S10", "S11"]
    assert (found.left_out, found.encoder, found.dim) == ((), "e" * 64, DIM)
    for one in (*found.training, *found.tuning):
        number = int(one.scan.entry.slide[1:])
        np.testing.assert_array_equal(one.bag.features, make(number).features)
        assert one.tiles.tolist() == list(range(12))
        assert one.scan.label == number % 2


def test_digest_names_the_bags_and_not_their_files(stored, tmp_path):
    cohort, folder = stored
    first = load_bags(cohort, folder, CONFIG, silent).digest
    (folder / "S3.bag.safetensors").rename(folder / "3.bag.safetensors")
    assert load_bags(cohort, folder, CONFIG, silent).digest == first
    put(folder, "3", make(77, spec="e" * 64))
    assert load_bags(cohort, folder, CONFIG, silent).digest != first


def test_own_bags_are_found_by_the_digest_of_the_scan_only_when_asked(rows, tmp_path):
    found = []
    for number, entry in enumerate(rows()):
        path = tmp_path / f"{number}.svs"
        path.write_bytes(f"scan {number}".encode())
        found.append(replace(entry, path=path))
        digest = digest_file(path)
        put(tmp_path / "bags", digest[:16] + "-e-t", make(number, scan=digest, spec="e" * 64))
    cohort = Cohort(entries=tuple(found), name="own")
    stages = set()
    loaded = load_bags(cohort, tmp_path / "bags", CONFIG, lambda *step: stages.add(step[0]), by_digest=True)
    assert stages == {"digests", "bags"}
    assert [one.scan.digest for one in loaded.training] == [
        digest_file(entry.path) for entry in cohort.in_split(Split.TRAINING)
    ]
    (problem,) = problems_of(cohort, tmp_path / "bags")
    assert "12 of 12 slides are unusable" in problem
    assert "12 bags without a row know their scan's digest: match by digest" in problem


def test_bag_named_as_a_slide_but_made_from_another_scan_is_refused(rows, tmp_path):
    found = []
    for number, entry in enumerate(rows()):
        path = tmp_path / f"{number}.svs"
        path.write_bytes(f"scan {number}".encode())
        found.append(replace(entry, path=path))
        put(tmp_path, entry.slide, make(number, scan="ab" * 32 if number == 5 else digest_file(path)))
    (problem,) = problems_of(Cohort(entries=tuple(found), name="own"), tmp_path, by_digest=True)
    assert problem == "the bag S5.bag.safetensors is named as row 7 (slide S5), but was made from another scan"


def test_a_share_of_the_bags_may_be_missing_or_damaged_and_is_recorded(stored):
    cohort, folder = stored
    (folder / "S0.bag.safetensors").unlink()
    whole = (folder / "S1.bag.safetensors").read_bytes()
    (folder / "S1.bag.safetensors").write_bytes(whole[:-5])
    flipped = bytearray((folder / "S2.bag.safetensors").read_bytes())
    flipped[-3] ^= 1
    (folder / "S2.bag.safetensors").write_bytes(flipped)
    found = load_bags(cohort, folder, CONFIG, silent)
    assert {item.slide: item.code for item in found.left_out} == {
        "S0": "PEL-TRAIN-051",
        "S1": "PEL-MODEL-007",
        "S2": "PEL-MODEL-007",
    }
    assert all(item.stage == "bags" for item in found.left_out)
    assert len(found.training) + len(found.tuning) == 9
    strict = replace(CONFIG, max_unusable=0.1)
    (problem,) = problems_of(cohort, folder, strict)
    assert "3 of 12 slides are unusable" in problem
    assert all(f"S{number} (row {number + 2})" in problem for number in range(3))


def test_bag_with_nan_is_left_out(stored):
    cohort, folder = stored
    bag = make(4, spec="e" * 64)
    # past the checks of a bag, as a foreign program would write it
    bag.features[3, 3] = np.nan
    put(folder, "S4", bag)
    (left_out,) = load_bags(cohort, folder, CONFIG, silent).left_out
    assert (left_out.slide, left_out.code) == ("S4", "PEL-MODEL-005")


def test_every_problem_is_told_at_once(rows, tmp_path):
    found = rows()
    found[2] = replace(found[2], patient="P0")
    found[6] = replace(found[6], label=None)
    found[9] = replace(found[9], slide="S8")
    for number in range(12):
        bag = make(number, spec="e" * 64)
        if number == 3:
            bag = make(number, spec="f" * 64, dim=5)
        if number == 5:
            bag = make(4, spec="e" * 64)
        put(tmp_path, f"S{number}", bag)
    put(tmp_path / "twice", "S7", make(7, spec="e" * 64))
    (tmp_path / "S9.bag.safetensors").unlink()
    told = problems_of(Cohort(entries=tuple(found), name="bad"), tmp_path)
    wanted = [
        "row 8 (slide S6) is in the split tuning and has no label",
        "patient P0 is in the splits training, tuning",
        "row 9 (slide S7) has 2 bags: S7.bag.safetensors, S7.bag.safetensors",
        "row 10 (slide S8) and row 11 (slide S8) have one and the same bag, S8.bag.safetensors",
        "the bags are of 2 encoders: 8 features of encoder eeeeeeeeeeee",
        f"5 features of encoder {'f' * 48} (row 5 (slide S3))",
        "the bags of row 6 (slide S4) and row 7 (slide S5) hold the same embeddings",
    ]
    for problem in wanted:
        assert any(problem in one for one in told), problem


def test_bags_of_another_encoder_than_the_wanted_one_are_refused(stored):
    cohort, folder = stored
    (problem,) = problems_of(cohort, folder, spec=SMALL_SPEC)
    assert "row 2 (slide S0), row 3 (slide S1), row 6 (slide S4) and 9 more" in problem
    assert f"are not of {SMALL_SPEC.id}, {SMALL_SPEC.dim} features of encoder {SMALL_SPEC.digest[:12]}" in problem


def test_imported_bags_pass_by_their_width(rows, tmp_path):
    found = rows()
    said = "imported from TRIDENT: uni_v1, 8 features"
    for number, entry in enumerate(found):
        put(tmp_path, entry.slide, make(number, spec=said, scan=f"unknown: imported as {entry.slide}"))
    cohort = Cohort(entries=tuple(found), name="foreign")
    loaded = load_bags(cohort, tmp_path, CONFIG, silent, spec=replace(SMALL_SPEC, dim=DIM))
    assert loaded.encoder == said
    assert len({one.scan.digest for one in loaded.training}) == 6
    assert len(problems_of(cohort, tmp_path, spec=replace(SMALL_SPEC, dim=9))) == 1


def test_one_class_and_an_empty_folder_are_told(rows, tmp_path):
    found = [replace(entry, label=1) for entry in rows()]
    told = "; ".join(problems_of(Cohort(entries=tuple(found), name="one"), tmp_path))
    assert "every label of the split training is 1" in told
    assert "every label of the split tuning is 1" in told
    assert "no readable bag is there" in told


def test_one_scan_under_two_names_is_refused(stored):
    cohort, folder = stored
    for number in (4, 6):
        put(folder, f"S{number}", make(number, spec="e" * 64, scan="ab" * 32))
    (problem,) = problems_of(cohort, folder)
    assert problem == "the bags of row 6 (slide S4) and row 8 (slide S6) were made from one and the same scan"


def test_scan_is_described_as_far_as_its_bag_tells(entries, scans, tmp_path):
    scan = scans(1, 1)
    bag = make(1)
    grid = replace(scan.grid, coords=bag.coords, level0_px=448)
    scale = replace(scan.scale, mpp_x=0.25, mpp_y=0.25)
    own = replace(bag, provenance=bag_provenance(scan=scan.digest, spec=SMALL_SPEC, grid=grid, scale=scale))
    put(tmp_path, "S0", own)
    put(tmp_path, "S1", make(2))
    put(tmp_path, "S2", make(3))
    put(tmp_path, "S3", replace(make(4, n=1), provenance={"scale": "no x number um/px, file: x", "grid": "?"}))
    rows = [entries(n, n % 2, Split.TUNING if n > 1 else Split.TRAINING) for n in range(4)]
    rows[1] = replace(rows[1], mpp=0.5)
    with pytest.raises(BagsUnusable):
        # three bags don't name the encoder that the first one does
        load_bags(Cohort(entries=tuple(rows), name="x"), tmp_path, CONFIG, silent)
    put(tmp_path, "S0", replace(own, provenance=own.provenance | {"spec": ""}))
    loaded = load_bags(Cohort(entries=tuple(rows), name="x"), tmp_path, CONFIG, silent)
    first, second = (one.scan for one in loaded.training)
    assert (first.digest, first.scale) == (scan.digest, scale)
    assert (first.grid.level0_px, first.grid.tile_px, first.grid.mpp) == (448, 224, 0.5)
    assert (first.grid.columns, first.grid.rows, first.features) == (4, 3, {})
    assert np.isnan(first.grid.tissue_fraction).all()
    assert (second.scale.mpp, second.scale.source) == (0.5, ScaleSource.OVERRIDE)
    assert (second.grid.level0_px, second.grid.mpp) == (448, 0.5)
    third, fourth = (one.scan for one in loaded.tuning)
    assert np.isnan(third.scale.mpp)
    assert third.grid.level0_px == 448
    assert third.digest == describe_bag(tmp_path / "S2.bag.safetensors").digest
    assert (fourth.grid.level0_px, fourth.grid.columns) == (1, 1)
    shares = np.ones(12, np.float32)
    truth = where_placed(lambda _: shares)
    assert truth(first) is shares
    assert truth(third) is None


def test_training_to_calibration_copes_with_bags_without_slides(rows, tmp_path):
    found = rows(40)
    for number, entry in enumerate(found):
        put(tmp_path, entry.slide, make(number))
    cohort = Cohort(entries=tuple(found), name="foreign")
    loaded = load_bags(cohort, tmp_path, CONFIG, silent)
    from pellucid.aggregators import GatedAttentionConfig, load_head

    head_config = GatedAttentionConfig(input_dim=DIM, trunk_dim=16, gate_dim=8)
    config = replace(CONFIG, head=replace(CONFIG.head, epochs=4, learning_rate=5e-3))
    state, losses = train_head(loaded.training, head_config, config, silent)
    assert np.isfinite(losses).all()
    head = load_head(head_config, state)
    answered = {
        stage: answer_scans(bags, head, model="m", config=config, stage=stage, progress=silent)
        for stage, bags in (("training", loaded.training), ("tuning", loaded.tuning))
    }
    calibration, tuned = calibrate(answered["tuning"], config)
    reference = describe_reference(answered["training"], answered["tuning"], tuned, calibration, config)
    assert set(reference.features) == {"mean_logit", "sd_logit", "distance"}
    assert fit_tumour_head(loaded.training, loaded.tuning, where_placed(lambda _: None)) is None
    gating = Gating(
        calibration=calibration, reference=reference, tumour=None, synthetic=False, expected=cohort.n_expected()
    )
    assert len(tuning_specimens(answered["tuning"], tuned, gating)) == 20


def test_bag_replaced_after_it_was_described_is_refused(tmp_path):
    put(tmp_path, "S0", make(0))
    described = describe_bag(tmp_path / "S0.bag.safetensors")
    assert np.array_equal(map_bag(described).features, make(0).features)
    put(tmp_path, "S0", make(1))
    with pytest.raises(Exception, match="replaced while it was read"):
        map_bag(described)


@pytest.mark.parametrize("content", [b"", b"\xff" * 40, b"\x08\x00\x00\x00\x00\x00\x00\x00{}      "])
def test_file_that_is_no_bag_is_refused_by_its_header(tmp_path, content):
    path = tmp_path / "x.bag.safetensors"
    path.write_bytes(content)
    with pytest.raises(Exception, match="PEL-MODEL-007"):
        describe_bag(path)
    with pytest.raises(Exception, match="PEL-MODEL-007"):
        describe_bag(tmp_path / "absent.bag.safetensors")


def test_mapped_bags_hold_neither_memory_nor_open_files(tmp_path):
    """40 bags of 3 MB: what is held stays a fraction of their 120 MB while all are mapped and trained on."""
    for number in range(40):
        bag = Bag(
            features=generator("large", number).normal(size=(3000, 512)).astype(np.float16),
            coords=np.zeros((3000, 2), np.int32),
            provenance={},
        )
        put(tmp_path, str(number), bag)
    script = textwrap.dedent(f"""
        import json, os, resource
        from pathlib import Path
        import numpy as np
        from pellucid.training.stored_bag import describe_bag, map_bag

        def anonymous():
            lines = dict(line.split(":", 1) for line in open("/proc/self/status"))
            return int(lines["RssAnon"].split()[0]) / 1024

        paths = sorted(Path({str(tmp_path)!r}).glob("*.bag.safetensors"))
        first = map_bag(describe_bag(paths[0]))
        before, files = anonymous(), len(os.listdir("/proc/self/fd"))
        bags = [map_bag(describe_bag(path)) for path in paths]
        rows = np.arange(0, 3000, 50)
        total = sum(float(bag.features[rows].astype(np.float32).sum()) for bag in bags)
        print(json.dumps([anonymous() - before, len(os.listdir("/proc/self/fd")) - files, total]))
    """)
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=300, check=True)
    grown_mb, files, _ = json.loads(told.stdout)
    assert grown_mb < 30
    assert files == 0


def test_writing_to_a_mapped_bag_never_reaches_its_file(tmp_path):
    put(tmp_path, "S0", make(0))
    path = Path(tmp_path / "S0.bag.safetensors")
    before = path.read_bytes()
    bag = map_bag(describe_bag(path))
    bag.features[0, 0] = 7
    del bag
    assert path.read_bytes() == before
