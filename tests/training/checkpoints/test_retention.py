import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pellucid.core.clock import utc_now
from pellucid.training.checkpoints import Manifest, Retention, list_checkpoints, verify
from pellucid.training.checkpoints.commit import prune, sweep
from pellucid.training.checkpoints.hashing import digest_files
from pellucid.training.checkpoints.manifest import write_manifest
from pellucid.training.checkpoints.naming import step_name
from pellucid.training.checkpoints.retention import Kept, steps_kept
from training.checkpoints.states import IDENTITY

SCORES = st.none() | st.floats(allow_nan=False)
HISTORIES = st.lists(st.tuples(st.integers(1, 50), SCORES), max_size=40)
RETENTIONS = st.builds(Retention, keep_last=st.integers(1, 5), keep_every=st.integers(0, 5))


def history(steps_and_scores):
    """Checkpoints as a training makes them: steps rise, each has the next number."""
    at = itertools.accumulate(more for more, _ in steps_and_scores)
    return [
        Kept(step=step, number=number, score=score)
        for number, (step, (_, score)) in enumerate(zip(at, steps_and_scores, strict=True), start=1)
    ]


@given(HISTORIES, RETENTIONS)
def test_the_newest_each_m_th_and_the_best_always_stay_and_nothing_else(steps_and_scores, retention):
    found = history(steps_and_scores)
    kept = steps_kept(found, retention)
    newest = {one.step for one in found[-retention.keep_last :]}
    every = {one.step for one in found if retention.keep_every and one.number % retention.keep_every == 0}
    scored = [one for one in found if one.score is not None]
    best = {one.step for one in scored if one.score == max(other.score for other in scored)}
    assert newest | every <= kept
    assert len(kept & best) >= min(1, len(best))
    assert len(kept - newest - every) <= 1
    assert kept - newest - every <= best


@given(HISTORIES, RETENTIONS)
def test_pruning_after_each_checkpoint_leaves_what_pruning_at_the_end_would(steps_and_scores, retention):
    """So a best or an m-th is never gone when it turns out to be wanted."""
    found, alive = history(steps_and_scores), []
    for one in found:
        alive.append(one)
        kept = steps_kept(alive, retention)
        assert one.step in kept
        alive = [other for other in alive if other.step in kept]
    assert {one.step for one in alive} == steps_kept(found, retention)


def make_checkpoint(folder, step, number, score=None):
    path = folder / step_name(step)
    path.mkdir(parents=True)
    (path / "shard").write_bytes(b"%d" % step)
    manifest = Manifest(
        step=step,
        number=number,
        world=1,
        reason="interval",
        score=score,
        token=0,
        identity=IDENTITY,
        extra={},
        files=digest_files(path, ["shard"]),
        created=utc_now(),
    )
    write_manifest(path, manifest)
    return path


@settings(max_examples=25, deadline=None)
@given(HISTORIES, RETENTIONS, st.sets(st.integers(0, 39)))
def test_on_the_disk_the_newest_valid_always_stays_whatever_was_damaged(
    tmp_path_factory, steps_and_scores, retention, torn
):
    folder = tmp_path_factory.mktemp("task")
    found = history(steps_and_scores)
    for i, one in enumerate(found):
        path = make_checkpoint(folder, one.step, one.number, one.score)
        if i in torn:
            (path / "MANIFEST.json").write_text("{")
    whole = {step for step, path in list_checkpoints(folder) if verify(path).is_valid}
    prune(folder, retention)
    left = {step for step, path in list_checkpoints(folder) if verify(path).is_valid}
    assert left == steps_kept([one for one in found if one.step in whole], retention)
    assert not whole or max(whole) in left
    # loading decides about these, and nothing half-deleted has a checkpoint's name
    assert {step for step, _ in list_checkpoints(folder)} - left == {one.step for one in found} - whole


def test_only_the_last_two_rejected_stay(tmp_path):
    for step in (1, 2, 3, 4):
        path = make_checkpoint(tmp_path, step, step)
        if step < 4:
            path.rename(tmp_path / f"rejected-{path.name}.{step}")
    prune(tmp_path, Retention())
    assert len(list(tmp_path.glob("rejected-*"))) == 2
    assert len(list_checkpoints(tmp_path)) == 1


def test_sweeping_brings_back_a_checkpoint_whose_replacement_never_came(tmp_path):
    make_checkpoint(tmp_path, 1, 1).rename(tmp_path / ".old-step-00000001.3")
    make_checkpoint(tmp_path, 2, 2)
    make_checkpoint(tmp_path / "other", 2, 2).rename(tmp_path / ".old-step-00000002.3")
    (tmp_path / ".tmp-step-00000003.3").mkdir()
    (tmp_path / ".trash-step-00000000").mkdir()
    (tmp_path / "other").rmdir()
    sweep(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000001", "step-00000002"]
    assert [verify(path).problem for _, path in list_checkpoints(tmp_path)] == [None, None]


@pytest.mark.parametrize("wrong", [{"keep_last": 0}, {"keep_every": -1}])
def test_a_retention_that_keeps_nothing_is_refused(wrong):
    with pytest.raises(ValueError, match="keep"):
        Retention(**wrong)
