import errno
import json
import math
import os
import resource
import shutil
import signal
import subprocess
from collections import OrderedDict
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from pellucid.training.checkpoints import (
    CheckpointForeign,
    CheckpointsInvalid,
    CheckpointUnfit,
    list_checkpoints,
    newest_valid,
    read_manifest,
)
from training.checkpoints.states import IDENTITY, Counters, advance, bits, flip_bit, make_parts, state_bits


def save(checkpoints, parts, step, **more):
    saved = checkpoints.save(parts, step=step, reason="interval", **more)
    assert saved.error is None
    return saved


def shard(folder):
    return max(folder.glob("*.distcp"), key=lambda path: path.stat().st_size)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_state_comes_back_to_the_last_bit_into_parts_that_made_no_step(open_checkpoints):
    parts = make_parts(n_steps=4)
    saved = save(open_checkpoints(), parts, 4, extra={"best_score": 0.25, "seed": 2**70})
    fresh = make_parts(seed=5)
    assert state_bits(fresh) != state_bits(parts)
    loaded = open_checkpoints().load(fresh)
    assert (loaded.step, loaded.extra, loaded.rejected, loaded.forced) == (
        4,
        {"best_score": 0.25, "seed": 2**70},
        (),
        (),
    )
    assert loaded.folder == saved.folder
    assert saved.n_bytes == sum(path.stat().st_size for path in saved.folder.iterdir() if path.name != "MANIFEST.json")
    assert state_bits(fresh) == state_bits(parts)
    advance(parts, 3, seed=9)
    advance(fresh, 3, seed=9)
    assert state_bits(fresh) == state_bits(parts)


def test_a_state_from_before_the_first_step_clears_an_optimiser_that_made_some(open_checkpoints):
    parts = make_parts()
    save(open_checkpoints(), parts, 0)
    later = make_parts(n_steps=3)
    assert later["optimiser"].state_dict()["state"]
    open_checkpoints().load(later)
    assert state_bits(later) == state_bits(parts)


STATES = {
    "kinds of numbers": {
        "a": 0.1 + 0.2,
        "b": -0.0,
        "c": math.inf,
        "d": math.nan,
        "e": 2**80,
        "f": True,
        "g": None,
        "h": "ß\n",
    },
    "nesting": {
        "list": [1, [2, {"x": []}], {}],
        "tuple": (0.9, (1,), []),
        "empty": {},
        3: {4: "int keys", "4": "text"},
    },
    "tensors in nesting": {
        "runs": [torch.arange(3), (torch.tensor(2.5), {"y": torch.zeros(0, 4)})],
        "a.b": torch.ones(1),
    },
    "types of tensors": {
        str(kind): torch.arange(5).to(kind)
        for kind in (torch.bfloat16, torch.float16, torch.float64, torch.int8, torch.uint8, torch.bool, torch.complex64)
    },
    "names that meet": {"a": {"b": torch.zeros(2)}, "a.b": torch.ones(2)},
    "views": {"part": torch.arange(12.0).reshape(3, 4)[:, 1], "whole": torch.arange(4).expand(2, 4)},
    "not a number": {"x": torch.tensor([math.nan, -math.nan, math.inf])},
}


@pytest.mark.parametrize("name", STATES)
def test_a_part_gets_back_exactly_what_it_gave(name, open_checkpoints):
    save(open_checkpoints(), {"part": Counters(STATES[name])}, 1)
    back = Counters({})
    open_checkpoints().load({"part": back})
    assert bits(back.values) == bits(STATES[name])


def test_a_tied_weight_stays_tied(open_checkpoints):
    def tied(seed):
        torch.manual_seed(seed)
        model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
        model[1].weight = model[0].weight
        return {"model": model}

    with torch.random.fork_rng():
        parts, other = tied(0), tied(1)
    save(open_checkpoints(), parts, 1)
    open_checkpoints().load(other)
    assert state_bits(other) == state_bits(parts)
    assert other["model"][0].weight is other["model"][1].weight


def test_a_state_that_could_not_be_brought_back_is_refused_when_it_is_saved(open_checkpoints):
    with pytest.raises(TypeError, match=r"part\.rule is a function"):
        open_checkpoints().save({"part": Counters({"rule": test_a_tied_weight_stays_tied})}, step=1, reason="interval")
    with pytest.raises(TypeError, match="key"):
        open_checkpoints().save({"part": Counters({(1, 2): 3})}, step=1, reason="interval")


def test_a_large_state_is_written_by_several_threads_and_comes_back(open_checkpoints):
    big = {f"x{i}": torch.rand(6 << 20, generator=torch.Generator().manual_seed(i)) for i in range(6)}
    saved = save(open_checkpoints(), {"part": Counters(big)}, 1)
    assert len(list(saved.folder.glob("*.distcp"))) > 1
    back = Counters({})
    open_checkpoints().load({"part": back})
    assert bits(back.values) == bits(big)


def test_there_is_nothing_to_load_before_the_first_checkpoint(open_checkpoints, tmp_path):
    assert open_checkpoints().load(make_parts()) is None
    (tmp_path / "head" / ".tmp-step-00000003.1").mkdir(parents=True)
    assert open_checkpoints().load(make_parts()) is None
    assert names(tmp_path / "head") == []


def three(open_checkpoints):
    """Checkpoints of steps 2, 4 and 6, and the bits of each."""
    parts, checkpoints, each = make_parts(), open_checkpoints(), {}
    for step in (2, 4, 6):
        advance(parts, 2, seed=step)
        save(checkpoints, parts, step)
        each[step] = state_bits(parts)
    return each


def spoil_flip(folder):
    flip_bit(shard(folder))


def spoil_every_file(folder):
    for path in folder.iterdir():
        flip_bit(path)


def spoil_structure(folder):
    flip_bit(folder / "structure.json")


def spoil_manifest(folder):
    path = folder / "MANIFEST.json"
    path.write_text(path.read_text().replace('"step": 6', '"step": 7'))


def spoil_truncate(folder):
    os.truncate(shard(folder), shard(folder).stat().st_size - 1)


def spoil_grow(folder):
    with shard(folder).open("ab") as file:
        file.write(b"\0")


def spoil_remove_manifest(folder):
    (folder / "MANIFEST.json").unlink()


def spoil_remove_shard(folder):
    shard(folder).unlink()


def spoil_remove_metadata(folder):
    (folder / ".metadata").unlink()


def spoil_empty(folder):
    for path in folder.iterdir():
        path.unlink()


def spoil_zero(folder):
    shard(folder).write_bytes(bytes(shard(folder).stat().st_size))


SPOILS = [
    spoil_flip,
    spoil_every_file,
    spoil_structure,
    spoil_manifest,
    spoil_truncate,
    spoil_grow,
    spoil_remove_manifest,
    spoil_remove_shard,
    spoil_remove_metadata,
    spoil_empty,
    spoil_zero,
]


@pytest.mark.parametrize("spoil", SPOILS)
def test_a_damaged_newest_is_found_and_the_one_before_taken_and_its_step_saved_again(spoil, open_checkpoints, tmp_path):
    each = three(open_checkpoints)
    spoil(tmp_path / "head" / "step-00000006")
    parts = make_parts(seed=3)
    checkpoints = open_checkpoints()
    loaded = checkpoints.load(parts)
    assert loaded.step == 4
    assert state_bits(parts) == each[4]
    assert [name for name, _ in loaded.rejected] == ["step-00000006"]
    assert loaded.rejected[0][1]
    advance(parts, 2, seed=6)
    save(checkpoints, parts, 6)
    assert state_bits(parts) == each[6]
    assert names(tmp_path / "head") == ["rejected-step-00000006.0", *(f"step-0000000{step}" for step in (2, 4, 6))]
    again = make_parts(seed=3)
    assert open_checkpoints().load(again).rejected == ()
    assert state_bits(again) == each[6]


def test_none_whole_is_an_error_that_tells_each_fault_and_changes_nothing(open_checkpoints, tmp_path):
    three(open_checkpoints)
    for folder in (tmp_path / "head").iterdir():
        spoil_flip(folder)
    before = names(tmp_path / "head")
    with pytest.raises(CheckpointsInvalid, match=r"step-00000006: .*changed.*step-00000004.*step-00000002"):
        open_checkpoints().load(make_parts())
    assert names(tmp_path / "head") == before


def test_checkpoints_that_were_all_set_aside_are_no_fresh_start(open_checkpoints, tmp_path):
    three(open_checkpoints)
    for folder in (tmp_path / "head").iterdir():
        folder.rename(folder.with_name(f"rejected-{folder.name}.1"))
    with pytest.raises(CheckpointsInvalid):
        open_checkpoints().load(make_parts())


def test_nothing_is_unpickled_before_it_is_verified(open_checkpoints, tmp_path):
    three(open_checkpoints)
    touched = tmp_path / "touched"
    bomb = f"cos\nsystem\n(S'touch {touched}'\ntR.".encode()
    metadata = tmp_path / "head" / "step-00000006" / ".metadata"
    metadata.write_bytes(bomb.ljust(metadata.stat().st_size, b"#"))
    assert open_checkpoints().load(make_parts()).step == 4
    assert not touched.exists()


@pytest.mark.parametrize("name", ["config", "software", "cohort"])
def test_a_checkpoint_of_another_config_software_or_cohort_is_refused_unless_forced(name, open_checkpoints):
    three(open_checkpoints)
    other = replace(IDENTITY, **{name: "d" * 64})
    parts = make_parts(seed=3)
    before = state_bits(parts)
    with pytest.raises(CheckpointForeign, match=f"another {name} .*dddd"):
        open_checkpoints(identity=other).load(parts)
    assert state_bits(parts) == before
    loaded = open_checkpoints(identity=other).load(parts, force=True)
    assert (loaded.step, loaded.forced) == (6, (name,))


def test_names_of_an_identity_are_told_and_not_compared(open_checkpoints):
    three(open_checkpoints)
    renamed = replace(IDENTITY, names={})
    assert open_checkpoints(identity=renamed).load(make_parts()).forced == ()
    with pytest.raises(CheckpointForeign, match=r"bbbbbbbbbbbb \(0\.1\.0\)"):
        open_checkpoints(identity=replace(IDENTITY, software="e" * 64)).load(make_parts())


@pytest.mark.parametrize(
    ("other", "sentence"),
    [
        (lambda: make_parts(width=8), r"model\.0\.bias is \(7,\) torch\.float32 in the checkpoint and \(8,\)"),
        (lambda: {"model": make_parts()["model"]}, "holds model, optimiser; this training holds model"),
        (
            lambda: {
                "model": nn.Sequential(nn.Linear(5, 7), nn.BatchNorm1d(7)),
                "optimiser": make_parts()["optimiser"],
            },
            r"has model\.2\.weight, which the model lacks",
        ),
        (lambda: {**make_parts(), "model": make_parts()["model"].double()}, r"torch\.float32 in the checkpoint"),
        (lambda: {**make_parts(), "optimiser": torch.optim.AdamW(make_parts()["model"].parameters())}, "optimiser"),
    ],
)
def test_another_model_is_refused_with_the_first_difference_and_stays_as_it_is(other, sentence, open_checkpoints):
    three(open_checkpoints)
    parts = other()
    before = bits(dict(parts["model"].state_dict()))
    with pytest.raises(CheckpointUnfit, match=sentence):
        open_checkpoints().load(parts)
    if sentence != "optimiser":
        assert bits(dict(parts["model"].state_dict())) == before


def test_a_module_is_told_its_version(open_checkpoints):
    seen = []

    class Versioned(nn.Linear):
        _version = 3

        def _load_from_state_dict(self, state_dict, prefix, local_metadata, *rest):
            seen.append(local_metadata.get("version"))
            super()._load_from_state_dict(state_dict, prefix, local_metadata, *rest)

    save(open_checkpoints(), {"model": Versioned(2, 2)}, 1)
    open_checkpoints().load({"model": Versioned(2, 2)})
    assert seen == [3]


def test_the_best_can_be_loaded_whatever_is_newest(open_checkpoints, tmp_path):
    parts, checkpoints, each = make_parts(), open_checkpoints(keep_last=1), {}
    for step, score in ((1, 0.5), (2, 0.9), (3, 0.7), (4, None), (5, math.nan)):
        advance(parts, 1, seed=step)
        save(checkpoints, parts, step, score=score)
        each[step] = state_bits(parts)
    assert names(tmp_path / "head") == ["step-00000002", "step-00000005"]
    back = make_parts()
    loaded = open_checkpoints().load(back, best=True)
    assert (loaded.step, loaded.score) == (2, 0.9)
    assert state_bits(back) == each[2]
    spoil_flip(tmp_path / "head" / "step-00000002")
    with pytest.raises(CheckpointsInvalid):
        open_checkpoints().load(back, best=True)
    assert open_checkpoints().load(back).step == 5


def test_the_same_step_saved_twice_leaves_the_later_one(open_checkpoints, tmp_path):
    three(open_checkpoints)
    parts = make_parts()
    checkpoints = open_checkpoints()
    checkpoints.load(parts)
    save(checkpoints, parts, 6, score=0.5)
    assert names(tmp_path / "head") == [f"step-0000000{step}" for step in (2, 4, 6)]
    assert read_manifest(tmp_path / "head" / "step-00000006").score == 0.5
    assert newest_valid(tmp_path / "head").step == 6


def test_steps_are_in_order_of_number_beyond_eight_digits(open_checkpoints, tmp_path):
    parts, checkpoints = make_parts(), open_checkpoints(keep_last=2)
    for step in (99_999_998, 99_999_999, 100_000_000, 100_000_001):
        save(checkpoints, parts, step)
    assert [step for step, _ in list_checkpoints(tmp_path / "head")] == [100_000_001, 100_000_000]
    assert open_checkpoints().load(parts).step == 100_000_001


def test_every_m_th_is_counted_by_checkpoints_over_starts(open_checkpoints, tmp_path):
    parts = make_parts()
    for step in (3, 8, 9, 15, 22, 30, 31):
        save(open_checkpoints(keep_last=1, keep_every=3), parts, step)
    assert [step for step, _ in list_checkpoints(tmp_path / "head")] == [31, 30, 9]


def test_a_manifest_tells_what_a_person_asks(open_checkpoints):
    saved = save(open_checkpoints(), make_parts(), 2, score=0.5, extra={"epoch": 1})
    manifest = json.loads((saved.folder / "MANIFEST.json").read_text())
    assert {
        "format": 1,
        "step": 2,
        "number": 1,
        "world": 1,
        "reason": "interval",
        "score": 0.5,
    }.items() <= manifest.items()
    assert manifest["identity"]["config"] == "a" * 64
    assert manifest["extra"] == {"epoch": 1}
    assert set(manifest["files"]) == {path.name for path in saved.folder.iterdir()} - {"MANIFEST.json"}


@pytest.fixture
def small_disk(tmp_path):
    """A file system that can be filled: (folder, resize)."""
    if os.geteuid() != 0:
        pytest.skip("needs root to mount a small file system")
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(small)], capture_output=True).returncode:
        pytest.skip("mounting is not allowed here")
    yield small, lambda size: subprocess.run(["mount", "-o", f"remount,size={size}", str(small)], check=True)
    subprocess.run(["umount", str(small)], check=True)


def test_too_little_space_is_known_before_anything_is_written(small_disk, open_checkpoints):
    small, resize = small_disk
    parts = {"part": Counters({"x": torch.rand(400_000)})}
    checkpoints = open_checkpoints(small / "head")
    save(checkpoints, parts, 1)
    save(checkpoints, parts, 2)
    save(checkpoints, parts, 3)
    saved = checkpoints.save(parts, step=4, reason="interval")
    assert "twice a checkpoint's size" in saved.error
    assert "PEL-TRAIN-024" in saved.error
    assert saved.folder is None
    assert (checkpoints.n_failed, checkpoints.n_failed_in_a_row) == (1, 1)
    assert names(small / "head") == ["step-00000001", "step-00000002", "step-00000003"]
    resize("64m")
    assert checkpoints.save(parts, step=5, reason="interval").error is None
    assert (checkpoints.n_failed, checkpoints.n_failed_in_a_row) == (1, 0)
    assert open_checkpoints(small / "head").load(parts).step == 5


@pytest.mark.parametrize("phase", ["save", "hash", "manifest"])
def test_a_disk_that_fills_in_the_middle_costs_that_checkpoint_and_nothing_else(
    phase, small_disk, open_checkpoints, monkeypatch
):
    small, _ = small_disk
    parts = {"part": Counters({"x": torch.rand(400_000)})}
    filled = []

    # as a quota does, which no look at the file system tells of
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1 << 40))

    def fill(name):
        if name == phase and filled:
            left = os.statvfs(small).f_bavail * os.statvfs(small).f_frsize
            (small / "other").write_bytes(bytes(left - 1_000_000 * (phase == "save")))

    checkpoints = open_checkpoints(small / "head", trace=fill)
    save(checkpoints, parts, 1)
    filled.append(True)
    saved = checkpoints.save(parts, step=2, reason="interval")
    assert saved.error is not None
    assert saved.folder is None
    assert names(small / "head") == ["step-00000001"]
    (small / "other").unlink()
    filled.clear()
    save(checkpoints, parts, 3)
    assert open_checkpoints(small / "head").load(parts).step == 3


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("n_tensors", [1, 6])
def test_a_file_system_that_refuses_large_files_is_told_whichever_thread_met_it(n_tensors, open_checkpoints, tmp_path):
    tensors = {f"x{i}": torch.zeros((144 << 20) // 4 // n_tensors) for i in range(n_tensors)}
    checkpoints = open_checkpoints()
    save(checkpoints, {"part": Counters({"x": torch.ones(4)})}, 1)
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (30 << 20, limit[1]))
        saved = checkpoints.save({"part": Counters(tensors)}, step=2, reason="interval")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, ignored)
    assert saved.error is not None
    assert names(tmp_path / "head") == ["step-00000001"]


def test_a_thread_of_torch_that_fails_alone_does_not_pass_for_success(open_checkpoints, tmp_path, monkeypatch):
    """Torch drops what its writing threads raise; the first file is written by the calling thread."""
    from torch.distributed.checkpoint import filesystem

    whole = filesystem.FileSystem.create_stream

    def refuse(self, path, mode):
        if path.name.startswith("__0_") and path.name != "__0_0.distcp" and mode == "wb":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return whole(self, path, mode)

    monkeypatch.setattr("threading.excepthook", lambda args: None)
    monkeypatch.setattr(filesystem.FileSystem, "create_stream", refuse)
    tensors = {f"x{i}": torch.zeros(6 << 20) for i in range(6)}
    saved = open_checkpoints().save({"part": Counters(tensors)}, step=2, reason="interval")
    assert saved.error is not None
    assert names(tmp_path / "head") == []


def test_a_ctrl_c_while_torch_writes_is_no_failing_disk(open_checkpoints, tmp_path, monkeypatch):
    from torch.distributed.checkpoint import filesystem

    def interrupt(self, path, mode):
        raise KeyboardInterrupt

    checkpoints, parts = open_checkpoints(), make_parts()
    whole = filesystem.FileSystem.create_stream
    monkeypatch.setattr(filesystem.FileSystem, "create_stream", interrupt)
    with pytest.raises(KeyboardInterrupt):
        checkpoints.save(parts, step=1, reason="interval")
    monkeypatch.setattr(filesystem.FileSystem, "create_stream", whole)
    assert list_checkpoints(tmp_path / "head") == []
    save(checkpoints, parts, 1)
    assert names(tmp_path / "head") == ["step-00000001"]


def test_a_folder_that_cannot_be_written_is_an_error_of_the_save_alone(open_checkpoints, tmp_path):
    (tmp_path / "head").write_text("a file where the folder should be")
    saved = open_checkpoints().save(make_parts(), step=1, reason="interval")
    assert "FileExistsError" in saved.error or "NotADirectory" in saved.error


def test_a_rehearsal_finds_storage_that_loses_a_bit(open_checkpoints, tmp_path):
    parts = make_parts(n_steps=2)
    good = open_checkpoints()
    assert good.rehearse(parts, step=0).error is None

    def lose(phase):
        if phase == "prune":
            spoil_flip(tmp_path / "head" / "step-00000001")

    bad = open_checkpoints(trace=lose)
    saved = bad.rehearse(parts, step=1)
    assert "not what was written" in saved.error
    assert bad.n_failed == 1
    assert names(tmp_path / "head") == ["rejected-step-00000001.0", "step-00000000"]


def test_a_rehearsal_compares_what_comes_back_with_the_state_itself(open_checkpoints):
    """Digests can't tell that the wrong values were written; reading back does."""
    parts = make_parts(n_steps=2)

    def change(phase):
        if phase == "hash":
            with torch.no_grad():
                parts["model"][2].weight[0, 0] += 1

    assert "model.2.weight differs" in open_checkpoints(trace=change).rehearse(parts, step=0).error


def test_a_part_with_a_state_of_ordered_kind_is_given_plain_dicts(open_checkpoints):
    part = Counters(OrderedDict(a=1, b=torch.zeros(2)))
    save(open_checkpoints(), {"part": part}, 1)
    back = Counters({})
    open_checkpoints().load({"part": back})
    assert list(back.values) == ["a", "b"]
