import subprocess
import sys
from datetime import UTC, datetime

from pellucid.training.checkpoints import list_checkpoints, newest_valid, task_folders, verdicts, verify
from training.checkpoints.states import flip_bit, make_parts


def test_a_status_tells_every_checkpoint_newest_first_and_what_is_wrong_with_it(open_checkpoints, tmp_path):
    checkpoints = open_checkpoints(keep_last=5)
    for step in (1, 2, 3, 4):
        checkpoints.save(make_parts(), step=step, reason="interval", score=step / 10)
    flip_bit(tmp_path / "head" / "step-00000004" / "__0_0.distcp")
    (tmp_path / "head" / "step-00000002" / ".metadata").unlink()
    found = list(verdicts(tmp_path / "head"))
    assert [(one.step, one.is_valid) for one in found] == [(4, False), (3, True), (2, False), (1, True)]
    assert found[0].problem == "__0_0.distcp was changed: its SHA-256 differs"
    assert found[2].problem == ".metadata is missing"
    assert found[1].manifest.score == 0.3
    assert abs((datetime.now(UTC) - found[1].created).total_seconds()) < 600
    assert newest_valid(tmp_path / "head").step == 3
    assert newest_valid(tmp_path / "head", hashes=False).step == 4
    assert task_folders(tmp_path) == {"head": tmp_path / "head"}


def test_a_checkpoint_that_is_removed_while_a_status_is_made_is_no_damaged_one(open_checkpoints, tmp_path):
    checkpoints = open_checkpoints(keep_last=5)
    for step in (1, 2, 3):
        checkpoints.save(make_parts(), step=step, reason="interval")
    found = verdicts(tmp_path / "head")
    assert next(found).step == 3
    (tmp_path / "head" / "step-00000002").rename(tmp_path / "head" / ".trash-step-00000002")
    assert [(one.step, one.problem) for one in found] == [(1, None)]


def test_a_folder_that_was_renamed_is_not_the_step_it_says(open_checkpoints, tmp_path):
    saved = open_checkpoints().save(make_parts(), step=1, reason="interval")
    assert verify(saved.folder.rename(tmp_path / "head" / "step-00000009")).problem == "it was renamed"


def test_where_there_is_no_folder_there_are_no_checkpoints(tmp_path):
    assert list_checkpoints(tmp_path / "nowhere") == []
    assert newest_valid(tmp_path / "nowhere") is None
    assert task_folders(tmp_path / "nowhere") == {}


def test_neither_a_status_nor_a_lock_loads_torch():
    code = (
        "import sys, pellucid.training.checkpoints as c\n"
        "c.newest_valid, c.RunLock, c.Interval, c.verdicts\n"
        "assert 'torch' not in sys.modules\n"
        "c.Checkpoints\n"
        "assert 'torch' in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300)
