import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from pellucid.core.seeds import generator
from pellucid.statistics.conformal import folded, online_p_values
from pellucid.statistics.edetectors import (
    ALARM_LEVEL,
    MAX_LOG_EVIDENCE,
    EDetector,
    combine,
    first_alarm,
    log_evidence,
    log_mean,
)

p_streams = arrays.arrays(np.float64, st.tuples(st.integers(1, 30), st.integers(1, 4)), elements=st.floats(0, 1))


def plain_evidence(p_values, jump_rate=0.01):
    """R_n = (1 + R_{n-1}) b_n written out for one stream, without logarithms."""
    bets = [-1, -0.5, 0, 0.5, 1]
    capitals, evidence, path = [0.2] * 5, 0.0, []
    for p in p_values:
        total = sum(capitals)
        capitals = [(1 - jump_rate) * capital + jump_rate / 5 * total for capital in capitals]
        grown = [capital * (1 + bet * (p - 0.5)) for capital, bet in zip(capitals, bets, strict=True)]
        evidence = (1 + evidence) * sum(grown) / total
        capitals = grown
        path.append(evidence)
    return path


@given(p_streams)
def test_evidence_is_that_of_the_definition(p_values):
    path = log_evidence(p_values)

    for column in range(p_values.shape[1]):
        np.testing.assert_allclose(np.exp(path[:, column]), plain_evidence(p_values[:, column]), rtol=1e-9)


@given(p_streams, st.data())
def test_a_missing_value_leaves_a_stream_as_it_is(p_values, data):
    row = data.draw(st.integers(0, len(p_values)))
    with_gap = np.insert(p_values, row, np.nan, axis=0)

    path = log_evidence(with_gap)

    np.testing.assert_array_equal(np.delete(path, row, axis=0), log_evidence(p_values))


@given(p_streams)
def test_a_p_value_and_its_mirror_give_the_same_evidence(p_values):
    np.testing.assert_allclose(log_evidence(p_values), log_evidence(1 - p_values), rtol=1e-9, atol=1e-12)


def test_one_factor_has_mean_one_whatever_came_before():
    """The martingale property that the bounds rest on, by integrating over the next p-value."""
    past = generator("test").random((40, 3)) ** 2
    grid = (np.arange(2000) + 0.5) / 2000
    expected = np.zeros(3)
    for p in grid:
        detector = EDetector.start(3)
        for row in past:
            before = detector.update(row)
        expected += np.exp(detector.update(np.full(3, p))) / len(grid)

    np.testing.assert_allclose(expected, 1 + np.exp(before), rtol=1e-9)


def test_evidence_is_capped():
    path = log_evidence(np.full((3000, 1), 1e-12))

    assert path[-1, 0] == MAX_LOG_EVIDENCE
    assert np.isfinite(path).all()


def test_twenty_five_cases_are_the_fewest_that_can_raise_an_alarm():
    assert first_alarm(log_evidence(np.zeros((40, 1)))[:, 0]) == 24


def test_the_mean_of_evidence_is_taken_at_two_levels():
    evidence = np.log([[8.0, 1.0, 3.0, 2.0]])

    np.testing.assert_allclose(np.exp(combine(evidence, [[0], [1, 2, 3]])), [(8 + 2) / 2])
    np.testing.assert_allclose(np.exp(log_mean(evidence)), [3.5])


def test_no_evidence_at_all_stays_none():
    assert log_mean(np.full((1, 3), -np.inf))[0] == -np.inf


def test_the_first_alarm_is_at_the_level_itself():
    assert first_alarm(np.log([1.0, ALARM_LEVEL, 1.0])) == 1
    assert first_alarm(np.log([1.0, ALARM_LEVEL * 0.999])) is None


def dependent_features(rng, n):
    """Five features that share a cause, one a function of another and one far from normal."""
    cause = rng.normal(size=(n, 1))
    correlated = math.sqrt(0.3) * rng.normal(size=(n, 3)) + math.sqrt(0.7) * cause
    return np.hstack([correlated, np.abs(correlated[:, :1]), np.exp(cause)])


def monitored(rng, reference, stream):
    p = np.stack([online_p_values(reference[:, j], stream[:, j], rng) for j in range(stream.shape[1])], axis=1)
    per_feature = log_mean(np.stack([log_evidence(p), log_evidence(folded(p))], axis=-1))
    return combine(per_feature, [[0], [1, 2, 3, 4]])


@pytest.mark.parametrize("m", [14, 200])
def test_false_alarms_over_dependent_features_keep_their_bound(m):
    n, level, repeats = 200, 2000.0, 100
    rng = generator("test", "false alarms", m)

    false = sum(
        first_alarm(monitored(rng, dependent_features(rng, m), dependent_features(rng, n)), level=level) is not None
        for _ in range(repeats)
    )

    assert false / repeats <= n / level


def test_evidence_grows_by_one_a_case_on_average_while_nothing_changes():
    rng = generator("test", "mean")
    paths = np.exp(log_evidence(rng.random((20, 4000))))

    expected = np.arange(1, 21)
    error = paths.std(axis=1) / math.sqrt(paths.shape[1])
    assert (np.abs(paths.mean(axis=1) - expected) < 4 * error).all()


def delays(*, m, before, after, repeats, shift=0.0, scale=1.0, n_inputs=0):
    """Cases from the change to the alarm; infinite where there was none within `after`."""
    rng = generator("test", "delay", m, before, int(10 * shift), int(10 * scale), n_inputs)
    found = []
    for _ in range(repeats):
        reference = rng.normal(size=(m, 1 + n_inputs))
        stream = rng.normal(size=(before + after, 1 + n_inputs))
        stream[before:, 0] = scale * stream[before:, 0] + shift
        p = np.stack([online_p_values(reference[:, j], stream[:, j], rng) for j in range(1 + n_inputs)], axis=1)
        per_feature = log_mean(np.stack([log_evidence(p), log_evidence(folded(p))], axis=-1))
        groups = [[0], list(range(1, 1 + n_inputs))] if n_inputs else [[0]]
        alarm = first_alarm(combine(per_feature, groups))
        found.append(math.inf if alarm is None else alarm - before)
    return np.array(found)


def test_a_shift_of_one_sd_is_found_within_some_fifty_cases():
    found = delays(m=200, before=100, after=200, repeats=30, shift=1.0)

    assert (found >= 0).all()
    assert 25 < np.median(found) < 65


def test_a_shift_in_the_output_alone_is_not_diluted_by_many_inputs():
    found = delays(m=200, before=100, after=200, repeats=8, shift=1.0, n_inputs=12)

    assert np.median(found) < 75


def test_a_wider_spread_is_found_by_the_folded_p_values():
    found = delays(m=200, before=100, after=300, repeats=15, scale=2.0)

    assert np.median(found) < 100


def test_fourteen_reference_values_show_a_later_change_but_not_one_from_the_start():
    later = delays(m=14, before=150, after=150, repeats=15, shift=1.0)
    at_once = delays(m=14, before=0, after=300, repeats=15, shift=1.0)

    assert np.median(later) < 100
    assert np.isinf(at_once).mean() > 0.5
