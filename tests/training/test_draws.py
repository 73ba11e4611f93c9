import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pellucid.training.draws import draw_tiles, epoch_order, epoch_steps, substitute

DIGESTS = [f"{number:064x}" for number in range(40)]
SHARES = st.floats(0.01, 1.0)


@given(st.integers(1, 40), SHARES, st.integers(0, 50))
def test_an_epoch_sees_its_share_and_no_scan_twice(n_scans, share, epoch):
    order = epoch_order(7, epoch, DIGESTS[:n_scans], share)
    assert len(order) == len(set(order)) == epoch_steps(n_scans, share)
    assert set(order) <= set(range(n_scans))
    assert share * n_scans - 1e-6 <= len(order) < share * n_scans + 1


@given(st.integers(1, 40), SHARES, st.integers(0, 9))
def test_the_epochs_of_a_round_see_every_scan(n_scans, share, which):
    parts = -(-n_scans // epoch_steps(n_scans, share))
    epochs = [epoch_order(7, which * parts + part, DIGESTS[:n_scans], share) for part in range(parts)]
    assert {nth for order in epochs for nth in order} == set(range(n_scans))


def test_two_epochs_of_half_the_scans_see_every_scan_once():
    both = epoch_order(1, 4, DIGESTS, 0.5) + epoch_order(1, 5, DIGESTS, 0.5)
    assert sorted(both) == list(range(40))


def test_orders_differ_between_seeds_and_rounds():
    orders = [tuple(epoch_order(seed, epoch, DIGESTS, 1.0)) for seed in range(3) for epoch in range(3)]
    assert len(set(orders)) == 9


@given(st.permutations(range(20)), st.integers(0, 19))
def test_order_goes_by_content_not_by_place_in_the_table(places, gone):
    def names(digests):
        return [digests[nth] for nth in epoch_order(3, 2, digests, 1.0)]

    before = names(DIGESTS[:20])
    assert names([DIGESTS[place] for place in places]) == before
    rest = [digest for digest in DIGESTS[:20] if digest != DIGESTS[gone]]
    assert names(rest) == [digest for digest in before if digest != DIGESTS[gone]]


@given(st.integers(1, 300), st.integers(1, 300), st.integers(0, 3))
def test_tiles_are_drawn_without_replacement(n_grid, n_tiles, attempt):
    drawn = draw_tiles(5, 1, DIGESTS[0], n_grid, n_tiles, attempt=attempt)
    assert drawn.dtype == np.int64
    assert len(drawn) == min(n_grid, n_tiles)
    assert (np.diff(drawn) > 0).all()
    assert 0 <= drawn[0] <= drawn[-1] < n_grid
    assert np.array_equal(drawn, draw_tiles(5, 1, DIGESTS[0], n_grid, n_tiles, attempt=attempt))


def test_tiles_are_drawn_uniformly():
    counts = np.zeros(20)
    for epoch in range(2000):
        counts[draw_tiles(0, epoch, DIGESTS[1], 20, 5)] += 1
    # binomial with mean 500 and sd 19.4
    assert np.abs(counts - 500).max() < 5 * 19.4


@pytest.mark.parametrize(
    "change", [(1, 0, DIGESTS[0], 0), (0, 1, DIGESTS[0], 0), (0, 0, DIGESTS[1], 0), (0, 0, DIGESTS[0], 1)]
)
def test_seed_epoch_scan_and_attempt_each_change_the_tiles(change):
    seed, epoch, digest, attempt = change
    plain = draw_tiles(0, 0, DIGESTS[0], 1000, 50)
    assert not np.array_equal(plain, draw_tiles(seed, epoch, digest, 1000, 50, attempt=attempt))


@given(st.sets(st.sampled_from(DIGESTS), min_size=2), st.integers(0, 5), st.data())
def test_a_substitute_stays_when_others_are_no_candidates(candidates, attempt, data):
    among = sorted(candidates)
    chosen = among[substitute(1, 2, 3, attempt, among)]
    fewer = [*data.draw(st.lists(st.sampled_from(among), unique=True)), chosen]
    fewer = list(dict.fromkeys(fewer))
    assert fewer[substitute(1, 2, 3, attempt, fewer)] == chosen


def test_substitutes_vary():
    chosen = {substitute(0, 0, position, 1, DIGESTS) for position in range(200)}
    assert len(chosen) > 30
