"""The simulated queue against the closed forms of queueing theory, and its rules one by one."""

import math

import numpy as np
import pytest

from pellucid.core.seeds import generator
from pellucid.planning.queueing import Failures, serve

N = 120_000


def poisson(draw, rate, n=N):
    return np.cumsum(draw.exponential(1 / rate, size=n))


def waits(arrived, work, urgent, served):
    return np.maximum(served.finished_s - arrived - work, 0.0)


def erlang_c(servers, load):
    """The probability of a wait in M/M/c with `load` erlangs."""
    inverse = sum(load**k / math.factorial(k) for k in range(servers))
    tail = load**servers / math.factorial(servers) * servers / (servers - load)
    return tail / (inverse + tail)


@pytest.mark.parametrize(("servers", "load"), [(1, 0.7), (4, 3.2), (12, 10.0)])
def test_exponential_work_waits_as_erlang_says(servers, load):
    draw = generator("erlang", servers)
    arrived, work = poisson(draw, load), draw.exponential(1.0, size=N)
    urgent = np.zeros(N, dtype=np.bool_)
    served = serve(arrived, work, urgent, servers)
    waited = waits(arrived, work, urgent, served)
    probability = erlang_c(servers, load)
    assert np.mean(waited > 1e-9) == pytest.approx(probability, rel=0.05)
    assert waited.mean() == pytest.approx(probability / (servers - load), rel=0.08)
    # The wait, where there is one, is exponential: its 95th percentile follows.
    high = max(0.0, math.log(probability / 0.05) / (servers - load))
    assert np.quantile(waited, 0.95) == pytest.approx(high, rel=0.1)
    assert served.busy_s(0, arrived[-1]) / (servers * arrived[-1]) == pytest.approx(load / servers, rel=0.02)


@pytest.mark.parametrize("load", [0.5, 0.85])
def test_constant_work_waits_as_pollaczek_and_khinchine_say(load):
    draw = generator("constant")
    arrived, work = poisson(draw, load), np.ones(N)
    served = serve(arrived, work, np.zeros(N, dtype=np.bool_), 1)
    assert waits(arrived, work, None, served).mean() == pytest.approx(load / (2 * (1 - load)), rel=0.06)


def test_priorities_wait_as_cobham_says():
    draw = generator("cobham")
    urgent = draw.random(N) < 0.3
    arrived, work = poisson(draw, 0.8), draw.exponential(1.0, size=N)
    waited = waits(arrived, work, urgent, serve(arrived, work, urgent, 1))
    residual = 0.8 * 2 / 2
    assert waited[urgent].mean() == pytest.approx(residual / (1 - 0.24), rel=0.06)
    assert waited[~urgent].mean() == pytest.approx(residual / ((1 - 0.24) * (1 - 0.8)), rel=0.1)


def test_an_urgent_slide_passes_those_that_wait_but_not_those_in_hand():
    arrived = np.array([0.0, 1.0, 2.0, 3.0])
    urgent = np.array([False, False, False, True])
    served = serve(arrived, np.full(4, 10.0), urgent, 1)
    np.testing.assert_allclose(served.finished_s, [10, 30, 40, 20])


def test_busy_time_is_cut_to_the_time_asked_for():
    served = serve(np.array([0.0, 0.0]), np.array([4.0, 10.0]), np.zeros(2, dtype=np.bool_), 2)
    assert served.busy_s(0, 20) == pytest.approx(14)
    assert served.busy_s(3, 6) == pytest.approx(1 + 3)


def test_lost_servers_cost_their_share_of_time_and_no_work():
    failures = Failures(mean_up_s=50.0, down_s=25.0, notice_s=1.0)
    n = 6000
    served = serve(
        np.zeros(n), np.ones(n), np.zeros(n, dtype=np.bool_), 3, failures=failures, draw=generator("failures")
    )
    assert served.busy_s(0, 1e9) == pytest.approx(n)
    assert (served.finished_s > 0).all()
    speed = n / served.finished_s.max()
    assert speed == pytest.approx(3 * failures.availability, rel=0.08)


def test_a_slide_of_a_lost_server_goes_on_where_it_stopped_after_it_was_noticed():
    failures = Failures(mean_up_s=50.0, down_s=0.0, notice_s=2.0)
    first, second = generator("lost", 1).exponential(50.0, size=2)
    left = (second - 2.0) / 2
    assert left > 1
    served = serve(
        np.zeros(1),
        np.array([first + left]),
        np.zeros(1, dtype=np.bool_),
        1,
        failures=failures,
        draw=generator("lost", 1),
    )
    assert served.finished_s[0] == pytest.approx(first + 2.0 + left)


def test_failures_need_randomness():
    failures = Failures(mean_up_s=1.0, down_s=1.0, notice_s=1.0)
    with pytest.raises(ValueError, match="generator"):
        serve(np.zeros(1), np.ones(1), np.zeros(1, dtype=np.bool_), 1, failures=failures)


def test_no_slide_no_work():
    empty = np.zeros(0)
    served = serve(empty, empty, empty.astype(np.bool_), 3)
    assert len(served.finished_s) == 0
    assert served.busy_s(0, 10) == 0
