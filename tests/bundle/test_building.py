"""A bundle is built whole, signed and proven to load, or there is none."""

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pellucid.bundle import (
    BundleExists,
    BundleParts,
    GoldenMismatch,
    PartsInvalid,
    SigningKey,
    build_bundle,
    load_bundle,
)
from pellucid.bundle import building as building_module
from pellucid.core.errors import StorageFull
from pellucid.encoders import state_digest


def test_a_build_leaves_the_bundle_and_nothing_beside_it(tmp_path: Path, parts: BundleParts, key: SigningKey) -> None:
    folder = build_bundle(tmp_path / "models" / "tiny", parts, key)
    assert folder == tmp_path / "models" / "tiny"
    assert _names(folder.parent) == ["tiny"]
    assert {oct(file.stat().st_mode & 0o777) for file in folder.iterdir()} == {"0o644"}
    assert folder.stat().st_mode & 0o777 == 0o755


def test_the_same_parts_give_the_same_files_but_for_the_date(
    tmp_path: Path, pristine: Path, parts: BundleParts, key: SigningKey
) -> None:
    again = load_bundle(build_bundle(tmp_path / "again", parts, key), [key.trusted()])
    first = load_bundle(pristine, [key.trusted()])
    assert replace(again.manifest, created="") == replace(first.manifest, created="")


def test_a_synthetic_bundle_says_so_in_its_card(pristine: Path, parts: BundleParts, key: SigningKey) -> None:
    card = load_bundle(pristine, [key.trusted()]).model_card
    assert card.startswith("> **Synthetic model.**")
    assert card.endswith(parts.model_card)


def test_the_card_of_a_real_model_is_left_alone(tmp_path: Path, parts: BundleParts, key: SigningKey) -> None:
    folder = build_bundle(tmp_path / "real", replace(parts, synthetic=False), key)
    bundle = load_bundle(folder, [key.trusted()])
    assert bundle.model_card == parts.model_card
    assert not bundle.synthetic


def test_arrays_do_as_well_as_tensors(tmp_path: Path, parts: BundleParts, key: SigningKey) -> None:
    arrays = {name: tensor.numpy() for name, tensor in parts.encoder_state.items()}
    folder = build_bundle(tmp_path / "numpy", replace(parts, encoder_state=arrays), key)
    load_bundle(folder, [key.trusted()]).check_golden()


@pytest.mark.parametrize("taken", ["bundle", "file", "folder", "link"])
def test_nothing_is_ever_overwritten(
    tmp_path: Path, pristine: Path, parts: BundleParts, key: SigningKey, taken: str
) -> None:
    target = tmp_path / "taken"
    if taken == "bundle":
        target.symlink_to(pristine)
    elif taken == "file":
        target.write_text("precious")
    elif taken == "folder":
        target.mkdir()
        (target / "precious").write_text("")
    else:
        target.symlink_to(tmp_path / "nowhere")
    with pytest.raises(BundleExists, match="taken"):
        build_bundle(target, parts, key)
    assert _names(tmp_path) == ["taken"]


def test_an_empty_folder_may_become_the_bundle(tmp_path: Path, parts: BundleParts, key: SigningKey) -> None:
    (tmp_path / "out").mkdir()
    load_bundle(build_bundle(tmp_path / "out", parts, key), [key.trusted()])


def _golden(parts: BundleParts, **arrays: np.ndarray) -> BundleParts:
    return replace(parts, golden=replace(parts.golden, **arrays))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda p: replace(p, name=" "), "name is empty"),
        (lambda p: replace(p, licence=""), "licence is empty"),
        (lambda p: replace(p, head_config=replace(p.head_config, input_dim=7)), "takes 7 features"),
        (lambda p: replace(p, reference=replace(p.reference, components=((1.0,),))), "components"),
        (lambda p: replace(p, reference=replace(p.reference, mean=(float("nan"),) * 16)), "reference.json"),
        (lambda p: replace(p, calibration=replace(p.calibration, n_passes=50)), "10 golden logits for 50"),
        (lambda p: replace(p, spec=replace(p.spec, weights_digest="0" * 64)), "weights"),
        (lambda p: _golden(p, pixels=p.golden.pixels[:, :100]), "golden pixels"),
        (lambda p: _golden(p, pixels=p.golden.pixels.astype(np.float32)), "golden pixels"),
        (lambda p: _golden(p, pixels=p.golden.pixels[:1]), "1 tiles, but 2 embeddings"),
        (lambda p: _golden(p, features=p.golden.features[:, :5]), "5 columns"),
        (lambda p: _golden(p, logits=np.empty(0)), "golden logits"),
    ],
)
def test_parts_that_do_not_belong_together_are_refused(
    tmp_path: Path, parts: BundleParts, key: SigningKey, change: Callable[[BundleParts], BundleParts], said: str
) -> None:
    with pytest.raises(PartsInvalid, match=said):
        build_bundle(tmp_path / "bundle", change(parts), key)
    assert _names(tmp_path) == []


def test_all_that_does_not_fit_is_said_at_once(tmp_path: Path, parts: BundleParts, key: SigningKey) -> None:
    with pytest.raises(PartsInvalid, match=r"name is empty; licence is empty"):
        build_bundle(tmp_path / "bundle", replace(parts, name="", licence=""), key)


def test_a_bundle_that_fails_its_own_golden_checks_is_never_put_in_place(
    tmp_path: Path, parts: BundleParts, key: SigningKey
) -> None:
    with pytest.raises(GoldenMismatch, match="bag logits"):
        build_bundle(tmp_path / "bundle", _golden(parts, logits=parts.golden.logits + 0.001), key)
    assert _names(tmp_path) == []


def test_differences_within_the_stated_tolerance_pass(tmp_path: Path, parts: BundleParts, key: SigningKey) -> None:
    build_bundle(tmp_path / "bundle", _golden(parts, logits=parts.golden.logits + 5e-5), key)


@pytest.mark.parametrize("step", ["_save_state", "sign_manifest", "load_bundle", "_flush", "_put_in_place"])
@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_exception_at_any_step_leaves_nothing(
    tmp_path: Path,
    parts: BundleParts,
    key: SigningKey,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
    error: type[BaseException],
) -> None:
    def stop(*_: object) -> None:
        raise error

    monkeypatch.setattr(building_module, step, stop)
    with pytest.raises(error):
        build_bundle(tmp_path / "bundle", parts, key)
    assert _names(tmp_path) == []


def test_a_full_disk_is_said_and_leaves_nothing(
    tmp_path: Path, parts: BundleParts, key: SigningKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(building_module, "_flush", fail)
    with pytest.raises(StorageFull, match="bundle"):
        build_bundle(tmp_path / "bundle", parts, key)
    assert _names(tmp_path) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount a small file system")
def test_a_really_full_disk_is_said_and_leaves_nothing(tmp_path: Path, parts: BundleParts, key: SigningKey) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(small)]
    if subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("mounting is not allowed here")
    try:
        with pytest.raises(StorageFull):
            build_bundle(small / "bundle", parts, key)
        assert _names(small) == []
    finally:
        subprocess.run(["umount", str(small)], check=True)


_KILLED_BUILD = """
import os, pickle, signal, sys
from pathlib import Path
from pellucid.bundle import SigningKey, build_bundle, building
def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)
building._put_in_place = die
build_bundle(Path(sys.argv[1]) / "bundle", pickle.loads(sys.stdin.buffer.read()), SigningKey.generate())
"""


def test_a_killed_build_leaves_no_bundle_and_does_not_hinder_the_next(
    tmp_path: Path, parts: BundleParts, key: SigningKey
) -> None:
    import pickle

    command = [sys.executable, "-c", _KILLED_BUILD, str(tmp_path)]
    done = subprocess.run(command, input=pickle.dumps(parts), capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    assert not (tmp_path / "bundle").exists()
    load_bundle(build_bundle(tmp_path / "bundle", parts, key), [key.trusted()])


_RACING_BUILD = """
import pickle, sys, time
from pathlib import Path
from pellucid.bundle import BundleExists, SigningKey, build_bundle
import pellucid.bundle.building as building
place, own, other = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
original = building._put_in_place
def together(part, target):
    (place / own).touch()
    while not (place / other).exists():
        time.sleep(0.001)
    original(part, target)
building._put_in_place = together
key = SigningKey.generate()
try:
    build_bundle(place / "bundle", pickle.loads(sys.stdin.buffer.read()), key)
    print(key.public.hex())
except BundleExists:
    print("exists")
"""


def test_of_two_builds_to_one_folder_one_wins_and_the_other_says_so(tmp_path: Path, parts: BundleParts) -> None:
    import pickle

    from pellucid.bundle import TrustedKey
    from pellucid.bundle.keys import key_id

    racers = []
    for own, other in (("one", "two"), ("two", "one")):
        command = [sys.executable, "-c", _RACING_BUILD, str(tmp_path), own, other]
        racer = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert racer.stdin is not None
        racer.stdin.write(pickle.dumps(parts))
        racer.stdin.close()
        racers.append(racer)
    outcomes = [racer.stdout.read().decode().strip() for racer in racers if racer.stdout is not None]
    assert [racer.wait() for racer in racers] == [0, 0]
    assert outcomes.count("exists") == 1
    winner = bytes.fromhex(next(outcome for outcome in outcomes if outcome != "exists"))
    load_bundle(tmp_path / "bundle", [TrustedKey(key_id=key_id(winner), public=winner, name="winner")])
    assert _names(tmp_path) == ["bundle", "one", "two"]


def test_tied_weights_are_stored(tmp_path: Path, parts: BundleParts, key: SigningKey) -> None:
    tied = {**parts.head_state, "trunk2.bias": parts.head_state["trunk1.bias"]}
    assert state_digest(tied) == state_digest(parts.head_state)
    load_bundle(build_bundle(tmp_path / "bundle", replace(parts, head_state=tied), key), [key.trusted()])


def _names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())
