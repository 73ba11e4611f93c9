"""The tumour head on bags in which it is known which tiles are tumour."""

import numpy as np
import pytest

from pellucid.core.seeds import generator
from pellucid.domain.cohort import Split
from pellucid.training.tumour import fit_tumour_head, limit_of, tumour_share
from pellucid.uncertainty.tumour import tumour_probability

# of a bag's twelve tiles the first four carry what a bag's label shifts; here they are the tumour
SHARES = np.array([1.0] * 3 + [0.3] + [0.0] * 8, np.float32)


def tumour(scan):
    """Nothing is known of the bags numbered from 50 on."""
    return None if int(scan.entry.slide[1:]) >= 50 else SHARES


@pytest.fixture
def mixed(bags):
    def make(numbers):
        return [bags(number, 1, Split.TRAINING, shift=4.0) for number in numbers]

    return make


def test_tiles_are_told_apart_and_unclear_or_unknown_ones_are_not_counted(mixed):
    head = fit_tumour_head(mixed(range(10)) + mixed(range(50, 60)), mixed(range(10, 20)), tumour)
    assert head.n_tiles == 10 * 11
    assert head.auroc == 1.0
    chance = tumour_probability(head, mixed([30])[0].bag.features)
    assert (chance >= head.threshold).tolist() == [True] * 4 + [False] * 8
    assert tumour_share(head, mixed([30])[0].bag.features) == pytest.approx(1 / 3)


def test_limit_lies_halfway_between_no_tumour_and_little(mixed):
    head = fit_tumour_head(mixed(range(10)), mixed(range(10, 20)), tumour)
    assert head.limit == pytest.approx((1 / 3 + 0) / 2)


def test_tiles_that_could_not_be_read_are_not_mistaken_for_others(mixed):
    from dataclasses import replace

    def without_the_first(item):
        bag = replace(item.bag, features=item.bag.features[1:], coords=item.bag.coords[1:])
        return replace(item, bag=bag, tiles=item.tiles[1:])

    shortened = [without_the_first(item) for item in mixed(range(10))]
    head = fit_tumour_head(shortened, mixed(range(10, 20)), tumour)
    assert head.n_tiles == 10 * 10
    assert head.auroc == 1.0


@pytest.mark.parametrize("known", [None, np.zeros(12, np.float32), np.ones(12, np.float32)])
@pytest.mark.parametrize("split", ["training", "tuning"])
def test_no_head_where_a_split_is_not_known_to_hold_both_kinds_of_tiles(mixed, known, split):
    def truth(scan):
        in_training = int(scan.entry.slide[1:]) < 10
        return known if in_training == (split == "training") else SHARES

    assert fit_tumour_head(mixed(range(10)), mixed(range(10, 20)), truth) is None


def test_same_tiles_give_the_same_head(mixed):
    first, again = (fit_tumour_head(mixed(range(10)), mixed(range(10, 20)), tumour) for _ in range(2))
    assert first == again


def scan_of(rng, n_tumour, n_clean, *, missed=0.0, mistaken=0.0):
    classes = np.array([1] * n_tumour + [0] * n_clean, np.int8)
    called = np.where(classes == 1, rng.random(len(classes)) >= missed, rng.random(len(classes)) < mistaken)
    return called.astype(np.float32), classes


def test_limit_rises_with_the_mistakes_so_that_scans_without_tumour_stay_below():
    rng = generator("limit")
    careful = [scan_of(rng, 30, 70) for _ in range(40)]
    careless = [scan_of(rng, 30, 70, mistaken=0.2) for _ in range(40)]
    low, high = (limit_of(*zip(*scans, strict=True)) for scans in (careful, careless))
    assert low == pytest.approx(0.15)
    free = [scan_of(rng, 0, 100, mistaken=0.2)[0] for _ in range(200)]
    assert np.mean([called.mean() >= low for called in free]) > 0.8
    assert np.mean([called.mean() >= high for called in free]) < 0.02
    assert all(called.mean() >= high for called, _ in careless)


def test_scans_without_tumour_in_the_tuning_split_do_not_pull_the_limit_down():
    rng = generator("limit")
    with_tumour = [scan_of(rng, 30, 70) for _ in range(10)]
    free = [scan_of(rng, 0, 100) for _ in range(10)]
    assert limit_of(*zip(*with_tumour, *free, strict=True)) == limit_of(*zip(*with_tumour, strict=True))
