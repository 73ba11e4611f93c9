"""Trainings that are killed again and again end with the same bits as one that was left alone."""

from collections import Counter

import pytest

from pellucid.core.seeds import generator
from pellucid.training.checkpoints import verdicts
from training.checkpoints.chaos import Kill, Nursery, random_kills, suffer
from training.checkpoints.chaos_child import Job

N_STEPS, EVERY = 60, 3
PHASES = ["step", "save", "hash", "manifest", "rename", "replace", "renamed", "prune", "load", "read"]
N_KILLS = 50


def job(run, **more):
    run.mkdir(exist_ok=True)
    return Job(run=str(run), n_steps=N_STEPS, every=EVERY, **more)


def assert_whole(run):
    found = list(verdicts(run / "checkpoints" / "chaos"))
    assert found[0].step == N_STEPS
    assert [verdict.problem for verdict in found] == [None] * len(found)
    assert all(path.name.startswith("step-") for path in (run / "checkpoints" / "chaos").iterdir())


def test_a_run_killed_in_the_middle_of_its_commit_ends_with_the_same_bits(tmp_path):
    with Nursery(ahead=1) as nursery:
        whole, _ = suffer(nursery, job(tmp_path / "whole"), [])
        kills = [Kill(phase="rename", nth=4), Kill(phase="replace")]
        ended, struck = suffer(nursery, job(tmp_path / "killed"), kills)
    assert len(struck) == 2
    assert ended == whole
    assert_whole(tmp_path / "killed")


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_fifty_kills_at_all_phases_and_at_random_cost_no_bit(tmp_path, record_testsuite_property):
    """Each round of runs meets each phase once; random moments between, within a run's own length."""
    struck, ends, round_ = [], [], 0
    with Nursery() as nursery:
        whole, _ = suffer(nursery, job(tmp_path / "whole"), [])
        while len(struck) < N_KILLS:
            draw = generator("chaos-round", round_)
            order = [PHASES[i] for i in draw.permutation(len(PHASES))]
            for part in range(2):
                aimed = [Kill(phase=phase, nth=int(draw.integers(1, 4))) for phase in order[part::2]]
                kills = [
                    kill for pair in zip(aimed, random_kills(2 * round_ + part, 5, 0.25), strict=True) for kill in pair
                ]
                run = tmp_path / f"run-{round_}-{part}"
                ended, met = suffer(nursery, job(run), kills)
                struck += met
                ends.append(ended)
                assert_whole(run)
            round_ += 1
    told = Counter(kill.phase or "random" for kill in struck)
    record_testsuite_property("kills", dict(told))
    record_testsuite_property("runs", len(ends))
    assert ends == [whole] * len(ends), told
    assert set(told) >= {*PHASES, "random"} - {"read", "replace"}, told


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_two_ranks_of_which_one_or_both_are_killed_end_with_the_same_bits(tmp_path):
    with Nursery(world=2, ahead=1) as nursery:
        whole, _ = suffer(nursery, job(tmp_path / "whole"), [])
        kills = [
            Kill(phase="hash", nth=3, rank=1),
            Kill(delay_s=0.4, rank=0),
            Kill(phase="rename", nth=2),
            Kill(phase="read", rank=1),
            Kill(phase="prune", nth=2, rank=0),
        ]
        ended, struck = suffer(nursery, job(tmp_path / "killed"), kills)
    assert len(struck) >= 4
    assert ended == whole
    assert_whole(tmp_path / "killed")


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_the_negative_control_fails(tmp_path):
    """torch.save in place: killed while writing it can't start again, killed elsewhere it ends with other bits."""
    with Nursery(ahead=1) as nursery:
        whole, _ = suffer(nursery, job(tmp_path / "whole", naive=True), [])
        again, _ = suffer(nursery, job(tmp_path / "again", naive=True), [])
        other, struck = suffer(nursery, job(tmp_path / "killed", naive=True), [Kill(phase="step", nth=20)])
        assert len(struck) == 1
        assert whole == again != other
        with pytest.raises(RuntimeError, match="Error"):
            suffer(nursery, job(tmp_path / "torn", naive=True), [Kill(phase="torn", nth=5)])
