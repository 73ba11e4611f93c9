"""Weights are written tensor by tensor as safetensors files that its own library reads."""

import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save

from pellucid.bundle.tensors import write_tensors

TYPES = (
    torch.bool,
    torch.uint8,
    torch.int8,
    torch.int16,
    torch.float16,
    torch.bfloat16,
    torch.int32,
    torch.float32,
    torch.float64,
    torch.int64,
)


def test_every_type_and_shape_comes_back(tmp_path: Path) -> None:
    shapes = ((3, 5), (7,), (), (0, 4))
    state = {f"{kind}.{shape}": torch.ones(shape).mul(3).to(kind) for kind in TYPES for shape in shapes}
    write_tensors(tmp_path / "a.safetensors", state)
    again = load_file(tmp_path / "a.safetensors")
    assert again.keys() == state.keys()
    for name, tensor in state.items():
        assert again[name].dtype == tensor.dtype
        assert torch.equal(again[name], tensor), name


def test_the_bytes_are_those_of_the_library(tmp_path: Path) -> None:
    state = {"b": torch.arange(6.0).reshape(2, 3), "a": torch.ones(5), "c": torch.tensor(7)}
    write_tensors(tmp_path / "a.safetensors", state)
    ours, theirs = (tmp_path / "a.safetensors").read_bytes(), save(state)
    header = [json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")]) for data in (ours, theirs)]
    assert header[0] == header[1]
    assert len(ours) == len(theirs)


def test_tensors_that_share_memory_or_are_strided_are_each_written_in_full(tmp_path: Path) -> None:
    whole = torch.arange(12.0).reshape(3, 4)
    write_tensors(tmp_path / "a.safetensors", {"a": whole, "b": whole, "t": whole.t(), "row": whole[1]})
    again = load_file(tmp_path / "a.safetensors")
    assert torch.equal(again["a"], again["b"])
    assert torch.equal(again["t"], whole.t())
    assert torch.equal(again["row"], whole[1])


def test_a_full_disk_is_the_system_s_own_error(tmp_path: Path) -> None:
    """Under a limit of the file's size the system refuses the write; the number is what tells a full disk apart."""
    code = (
        "import resource, signal, sys, torch; from pathlib import Path\n"
        "from pellucid.bundle.tensors import write_tensors\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))\n"
        "try: write_tensors(Path(sys.argv[1]), {'a': torch.ones(1 << 20)})\n"
        "except OSError as error: print(error.errno)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "a")], capture_output=True, text=True, check=True)
    assert int(done.stdout) == 27  # EFBIG
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY


def test_a_type_without_a_name_in_the_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"'a' has the type torch\.complex64"):
        write_tensors(tmp_path / "a", {"a": torch.ones(2, dtype=torch.complex64)})
