"""Files of weights with the true names and shapes of GigaPath's, one block deep."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from drawn_weights import drawn_state
from pellucid.encoders import EncoderEntry, encoder_entry

SHORT = "gigapath-vit-g16@1"


@pytest.fixture(scope="session")
def short_entry() -> EncoderEntry:
    """`gigapath-224` with one block and a small batch; its weights' digest is unknown, as the true one's is."""
    entry = encoder_entry("gigapath-224")
    return replace(entry, spec=replace(entry.spec, architecture=SHORT, batch_size=2))


@pytest.fixture(scope="session")
def short_state() -> dict[str, Tensor]:
    return drawn_state(SHORT)


@pytest.fixture(scope="session")
def torch_file(short_state: dict[str, Tensor], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("torch") / "pytorch_model.bin"
    torch.save(short_state, path)
    return path


@pytest.fixture(scope="session")
def safetensors_file(short_state: dict[str, Tensor], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("safetensors") / "model.safetensors"
    save_file(short_state, path)
    return path
