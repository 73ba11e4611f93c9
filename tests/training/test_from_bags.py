"""A head trained on bags that are there already, to a bundle or to what is left without an encoder."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from pellucid.bundle import SigningKey, load_bundle
from pellucid.core.seeds import generator
from pellucid.domain.cohort import Cohort, Split
from pellucid.encoders import Bag, SmallEncoder, small_spec, state_digest, write_bag
from pellucid.training import (
    BagsTraining,
    EncoderNeeded,
    HeadTraining,
    Mode,
    RanksInvalid,
    TrainingConfig,
    TrainingConfigInvalid,
    train_bundle,
)
from pellucid.training.bag_store import BagsUnusable
from pellucid.training.ranks import Ranks
from pellucid.training.validation import Grid, Validation

CONFIG = TrainingConfig(
    mode=Mode.BAGS, head=HeadTraining(epochs=6, learning_rate=3e-3), n_passes=6, min_per_class=2, ensemble_heads=1
)


@pytest.fixture(scope="module")
def encoder():
    return SmallEncoder(seed=3).state_dict()


@pytest.fixture(scope="module")
def cohort(entries):
    rows = [entries(number, number % 2, Split.TRAINING if number < 16 else Split.TUNING) for number in range(28)]
    return Cohort(entries=tuple(rows), name="bags")


@pytest.fixture(scope="module")
def folder(cohort, encoder, tmp_path_factory):
    place = tmp_path_factory.mktemp("bags")
    spec = small_spec(state_digest(encoder))
    for number, entry in enumerate(cohort.entries):
        features = generator("from bags", number).normal(size=(12, spec.dim)) * 0.5
        features[:4, 0] += 3.0 * (2 * entry.label - 1)
        coords = np.stack([np.arange(12) * 224, np.zeros(12)], axis=1).astype(np.int32)
        provenance = {"scan": f"{number:064x}", "spec": spec.digest, "software": "test"}
        write_bag(
            place / f"{entry.slide}.bag.safetensors",
            Bag(features=features.astype(np.float16), coords=coords, provenance=provenance),
        )
    return place


@pytest.fixture(scope="module")
def weights(encoder, tmp_path_factory):
    from safetensors.torch import save_file

    path = tmp_path_factory.mktemp("weights") / "small.safetensors"
    save_file({name: value.contiguous() for name, value in encoder.items()}, path)
    return path


def test_bags_and_their_encoder_give_a_bundle(cohort, folder, weights, encoder, tmp_path):
    key = SigningKey.generate()
    config = replace(CONFIG, bags=BagsTraining(folder=folder, encoder="pellucid-small", weights=weights))
    bundle = load_bundle(train_bundle(cohort, tmp_path / "run", key=key, config=config), [key.trusted()])
    bundle.check_golden()
    assert bundle.spec.weights_digest == state_digest(encoder)
    assert bundle.ensemble_size == 1
    head = bundle.load_head()
    path = folder / f"{cohort.entries[-1].slide}.bag.safetensors"
    from pellucid.encoders import read_bag

    logit = float(head(torch.from_numpy(read_bag(path).features.astype(np.float32))).logit)
    assert (logit > 0) == bool(cohort.entries[-1].label)


def test_without_the_encoder_the_heads_and_figures_stay(cohort, folder, tmp_path):
    config = replace(CONFIG, bags=BagsTraining(folder=folder))
    with pytest.raises(EncoderNeeded, match="weights are not at hand"):
        train_bundle(cohort, tmp_path / "run", key=SigningKey.generate(), config=config)
    assert sorted(path.name for path in (tmp_path / "run" / "heads").iterdir()) == [
        "head.safetensors",
        "member-1.safetensors",
    ]
    assert (tmp_path / "run" / "training.json").exists()
    assert not (tmp_path / "run" / "bundle").exists()


def test_settings_are_chosen_and_estimated_by_patient_before_the_final_head(cohort, folder, weights, tmp_path):
    validation = Validation(outer_folds=2, inner_folds=2, candidates=Grid(learning_rate=(1e-7, 3e-3)))
    config = replace(
        CONFIG,
        bags=BagsTraining(folder=folder, encoder="pellucid-small", weights=weights),
        validation=validation,
        ensemble_heads=0,
    )
    train_bundle(cohort, tmp_path / "run", key=SigningKey.generate(), config=config)
    made = {path.name for path in (tmp_path / "run" / "cross_validation").iterdir()}
    assert {"cross_validation.json", "cross_validation.md", "cross_validation.png", "out_of_fold.csv"} <= made
    assert '"learning_rate 0.003"' in (tmp_path / "run" / "training.json").read_text()


def test_what_is_missing_is_said_before_anything_is_learnt(cohort, folder, tmp_path):
    key = SigningKey.generate()
    with pytest.raises(TrainingConfigInvalid, match=r"bags\.folder is not set"):
        train_bundle(cohort, tmp_path / "a", key=key, config=CONFIG)
    config = replace(CONFIG, bags=BagsTraining(folder=tmp_path))
    with pytest.raises(BagsUnusable):
        train_bundle(cohort, tmp_path / "b", key=key, config=config)
    assert not (tmp_path / "b" / "checkpoints").exists()


def test_several_ranks_are_refused(cohort, folder, tmp_path):
    from pellucid.training.small import require_alone

    class Run:
        ranks = Ranks(rank=0, world=2)
        config = CONFIG

    with pytest.raises(RanksInvalid, match="work for one process"):
        require_alone(Run())
