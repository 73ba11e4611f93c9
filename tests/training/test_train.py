"""The whole way from a small synthetic cohort to a bundle that loads."""

import json
from dataclasses import replace

import numpy as np
import pytest

from pellucid.bundle import BundleExists, SigningKey, load_bundle
from pellucid.cohort import ScanKind, SynthesisConfig, read_cohort, read_truth, synthesise
from pellucid.core.digests import salted_digest
from pellucid.domain.cohort import Split
from pellucid.encoders import half_features, state_digest
from pellucid.slides import open_slide, read_tiles
from pellucid.statistics import auroc
from pellucid.training import CohortUntrainable, EncoderTraining, HeadTraining, TrainingConfig, train_bundle
from pellucid.training.bags import embed_scans
from pellucid.training.golden import golden_tiles
from pellucid.training.scans import each_scan
from pellucid.training.survey import survey, survey_scan
from pellucid.training.tiles import tile_classes
from pellucid.training.truth import truth_of
from pellucid.training.tumour import tumour_share
from pellucid.uncertainty.tumour import tumour_probability

CONFIG = TrainingConfig(
    encoder=EncoderTraining(tiles_per_slide=12, epochs=2, crop_px=96),
    head=HeadTraining(epochs=8),
    n_passes=8,
    min_per_class=2,
    ensemble_heads=2,
)


@pytest.fixture(scope="module")
def everything(tmp_path_factory):
    config = SynthesisConfig(
        n_training=12,
        n_tuning=8,
        n_test=3,
        special=((ScanKind.TUMOUR_FREE, 3),),
        slide_px=1536,
        strength_mean=1.0,
        strength_sd=0.0,
        p_fine=0.0,
    )
    return read_cohort(synthesise(tmp_path_factory.mktemp("cohort") / "c", config, workers=1))


@pytest.fixture(scope="module")
def cohort(everything):
    """The splits that a training uses."""
    rows = (*everything.in_split(Split.TRAINING), *everything.in_split(Split.TUNING))
    return replace(everything, entries=rows)


@pytest.fixture(scope="module")
def damaged(cohort, tmp_path_factory):
    """The same cohort, where one training slide is no slide at all."""
    broken = tmp_path_factory.mktemp("broken") / "broken.svs"
    broken.write_bytes(b"no slide")
    rows = list(cohort.entries)
    first = next(n for n, entry in enumerate(rows) if entry.split is Split.TRAINING)
    rows[first] = replace(rows[first], path=broken)
    return replace(cohort, entries=tuple(rows)), rows[first].slide


@pytest.fixture(scope="module")
def trained(damaged, tmp_path_factory):
    folder = tmp_path_factory.mktemp("model") / "out"
    key = SigningKey.generate()
    seen = []
    bundle = train_bundle(damaged[0], folder, key=key, config=CONFIG, progress=lambda *step: seen.append(step))
    return bundle, key, seen


def test_bundle_loads_and_reproduces_its_golden_checks(trained):
    folder, key, _ = trained
    bundle = load_bundle(folder, [key.trusted()])
    bundle.check_golden()
    assert bundle.synthetic
    assert bundle.calibration.n_passes == 8
    assert "mean_logit" in bundle.reference.features
    assert bundle.reference.distance_limit > 0
    assert bundle.reference.sd_limit > 0
    assert "synthetic" in bundle.model_card


def test_record_holds_losses_figures_and_every_slide_left_out(trained, damaged):
    record = json.loads((trained[0].parent / "training.json").read_text())
    assert [len(losses) for losses in record["losses"].values()] == [2, 8]
    codes = {item["slide"]: item["code"] for item in record["left_out"]}
    assert codes[damaged[1]].startswith("PEL-SLIDE-"), record["left_out"]
    used = record["training"]["scans"] + record["tuning"]["scans"]
    assert used + len(record["left_out"]) == len(damaged[0].entries)
    assert record["tiles"]["tumour"] > 0
    assert record["config"]["seed"] == 0


def test_progress_reaches_the_end_of_each_stage_in_order(trained):
    ends = [stage for stage, done, total in trained[2] if done == total]
    assert ends == ["survey", "tiles", "encoder", "bags", "head", "member-1", "member-2", "reference", "calibration"]


def test_tumour_head_tells_planted_tumour_on_tiles_that_no_training_saw(unseen, everything, trained):
    head = load_bundle(trained[0], [trained[1].trusted()]).tumour
    truth = truth_of(everything)
    chances = np.concatenate([tumour_probability(head, item.bag.features) for item, _ in unseen])
    known = np.concatenate([tile_classes(truth(item.scan), len(item.scan.grid))[item.tiles] for item, _ in unseen])
    assert min((known == 1).sum(), (known == 0).sum()) > 30
    assert auroc(chances[known >= 0], known[known >= 0]) > 0.95
    assert head.auroc > 0.95


def test_scans_without_tumour_fall_under_the_limit_and_others_do_not(unseen, trained):
    head = load_bundle(trained[0], [trained[1].trusted()]).tumour
    shares = {kind: [tumour_share(head, item.bag.features) for item, k in unseen if k is kind] for _, kind in unseen}
    assert len(shares[ScanKind.TUMOUR_FREE]) == len(shares[ScanKind.CLEAR]) == 3
    assert max(shares[ScanKind.TUMOUR_FREE]) < head.limit < min(shares[ScanKind.CLEAR])


@pytest.fixture(scope="module")
def unseen(everything, trained):
    """The bags of the test split's scans, each with its kind."""
    bundle = load_bundle(trained[0], [trained[1].trusted()])
    kinds = {name: truth.kind for name, truth in read_truth(everything.entries[0].path.parent.parent).items()}
    firsts = {entry.specimen: entry for entry in reversed(everything.in_split(Split.TEST))}.values()
    scans = [survey_scan(entry, bundle.spec) for entry in firsts]
    bags, left_out = embed_scans(scans, bundle.spec, _state(trained[0]), CONFIG, lambda *_: None)
    assert left_out == []
    return [(item, kinds[item.scan.entry.path.stem]) for item in bags]


def test_ensemble_holds_heads_that_are_all_different(trained):
    bundle = load_bundle(trained[0], [trained[1].trusted()])
    heads = [bundle.load_head(), *bundle.load_ensemble()]
    assert len({state_digest(head.state_dict()) for head in heads}) == len(heads) == 3


def test_patients_are_those_of_both_splits_and_no_name_is_in_any_file(trained, damaged):
    bundle = load_bundle(trained[0], [trained[1].trusted()])
    for split, digests in ((Split.TRAINING, bundle.patients.training), (Split.TUNING, bundle.patients.tuning)):
        names = {entry.patient for entry in damaged[0].in_split(split)}
        assert list(digests) == sorted(salted_digest(bundle.patients.salt, name) for name in names)
    written = b"".join(file.read_bytes() for file in trained[0].iterdir())
    for entry in damaged[0].entries:
        for name in (entry.patient, entry.case, entry.slide, entry.path.stem):
            assert name.encode() not in written


def test_tuning_specimens_are_recorded_with_their_calibrated_logits(trained, damaged):
    bundle = load_bundle(trained[0], [trained[1].trusted()])
    labels = {entry.specimen: entry.label for entry in damaged[0].in_split(Split.TUNING)}
    assert sorted(one.label for one in bundle.tuning) == sorted(labels.values())
    assert any(one.passed for one in bundle.tuning)
    assert all(one.low_logit < one.high_logit and one.sd_logit > 0 for one in bundle.tuning)
    assert all(one.sd_logit <= bundle.reference.sd_limit for one in bundle.tuning if one.passed)


def test_same_cohort_and_configuration_give_the_same_model(trained, damaged, tmp_path):
    again = train_bundle(damaged[0], tmp_path / "out", key=trained[1], config=CONFIG)
    records = [json.loads((folder.parent / "training.json").read_text()) for folder in (trained[0], again)]
    assert records[0] == records[1]
    digests = [load_bundle(folder, [trained[1].trusted()]).model_digest for folder in (trained[0], again)]
    assert digests[0] == digests[1]
    bundles = [load_bundle(folder, [trained[1].trusted()]) for folder in (trained[0], again)]
    assert bundles[0].tumour == bundles[1].tumour
    assert bundles[0].tuning == bundles[1].tuning
    files = [bundle.manifest.files["ensemble.safetensors"].sha256 for bundle in bundles]
    assert files[0] == files[1]
    assert set(bundles[0].patients.training).isdisjoint(bundles[1].patients.training)


def test_bag_is_what_inference_gives_for_the_same_scan(trained, cohort):
    bundle = load_bundle(trained[0], [trained[1].trusted()])
    surveyed = survey(cohort, bundle.spec, CONFIG, lambda *_: None)
    encoder = bundle.load_encoder()
    scan = surveyed.tuning[0]
    with open_slide(scan.entry.path) as slide:
        batches = read_tiles(slide, scan.grid, batch_size=encoder.spec.batch_size)
        expected = np.concatenate([half_features(encoder.encode(batch.pixels)) for batch in batches])
    bags, left_out = embed_scans([scan], bundle.spec, _state(trained[0]), CONFIG, lambda *_: None)
    assert left_out == []
    np.testing.assert_array_equal(bags[0].bag.features, expected)
    assert bags[0].bag.provenance["spec"] == bundle.spec.digest


def _state(folder):
    from safetensors.torch import load_file

    return load_file(folder / "encoder.safetensors")


def test_folder_with_a_bundle_is_refused_before_any_work(trained, cohort):
    seen = []
    with pytest.raises(BundleExists):
        train_bundle(cohort, trained[0].parent, key=trained[1], progress=lambda *step: seen.append(step))
    assert seen == []


def test_cohort_that_cannot_be_trained_on_is_refused_before_any_work(cohort, tmp_path):
    rows = tuple(replace(entry, label=None) for entry in cohort.entries)
    with pytest.raises(CohortUntrainable, match="has no label"):
        train_bundle(replace(cohort, entries=rows), tmp_path / "out", key=SigningKey.generate())
    assert not (tmp_path / "out").exists()


def test_one_scan_in_two_splits_is_refused_by_its_bytes(cohort):
    rows = list(cohort.entries)
    first = next(entry for entry in rows if entry.split is Split.TRAINING)
    other = next(n for n, entry in enumerate(rows) if entry.split is Split.TUNING)
    rows[other] = replace(rows[other], path=first.path)
    with pytest.raises(CohortUntrainable, match="more than once"):
        survey(replace(cohort, entries=tuple(rows)), load_spec(), CONFIG, lambda *_: None)


def load_spec():
    from pellucid.encoders import SMALL_SPEC

    return SMALL_SPEC


def test_interrupted_work_does_not_go_on_through_the_queue(entries):
    started = []

    def work(entry):
        started.append(entry.slide)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        each_scan(
            [entries(n) for n in range(200)],
            work,
            entry_of=lambda entry: entry,
            stage="survey",
            workers=1,
            progress=lambda *_: None,
        )
    assert len(started) < 200


def test_golden_tiles_are_generated_and_always_the_same():
    first, again = golden_tiles(load_spec()), golden_tiles(load_spec())
    np.testing.assert_array_equal(first, again)
    assert first.shape == (32, 224, 224, 3)
    assert first.std() > 10
