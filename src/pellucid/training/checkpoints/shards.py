"""Tensors to a folder of shards and back, by torch.distributed.checkpoint: each rank its own part.

What it lacks is added elsewhere: digests, the fsync of folders, and that nothing is ever written over.
"""

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor
from torch.distributed.checkpoint.filesystem import FileSystemReader, FileSystemWriter
from torch.distributed.checkpoint.metadata import Metadata, TensorStorageMetadata
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save
from torch.distributed.tensor import DTensor

from pellucid.training.ranks import Ranks

WRITE_THREADS: Final = 4
_BYTES_A_THREAD: Final = 64 << 20
_BATCH: Final = 256 << 20


def write_shards(folder: Path, tensors: Mapping[str, Tensor], ranks: Ranks) -> None:
    """Write tensors, fsynced. Collective; what fails on one rank is raised on every rank.

    A tensor that every rank holds is written by one of them, a DTensor by each rank its own shard.

    Raises:
        CheckpointException: it failed on some rank.
        RuntimeError: not everything was written.
    """
    threads = min(WRITE_THREADS, 1 + state_bytes(tensors) // (_BYTES_A_THREAD * ranks.world))
    writer = FileSystemWriter(folder, sync_files=True, overwrite=False, thread_count=threads)
    with _alone_without_warning():
        metadata = save(dict(tensors), storage_writer=writer, no_dist=ranks.world == 1)
    _check_complete(metadata)


def read_shards(folder: Path, tensors: Mapping[str, Tensor], ranks: Ranks) -> None:
    """Read into these tensors, in place, however many ranks wrote them. Collective.

    Raises:
        CheckpointException: it failed on some rank.
    """
    with _alone_without_warning():
        load(dict(tensors), storage_reader=FileSystemReader(folder), no_dist=ranks.world == 1)


def own_shards(folder: Path, rank: int) -> list[str]:
    """The files that a rank wrote; the first rank's include torch's list of shards."""
    mine = [path.name for path in folder.glob(f"__{rank}_*")]
    return sorted([*mine, ".metadata"] if rank == 0 else mine)


def state_bytes(tensors: Mapping[str, Tensor]) -> int:
    """Bytes of the whole tensors, over all ranks."""
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())


def first_difference(folder: Path, tensors: Mapping[str, Tensor], ranks: Ranks) -> str | None:
    """The name of the first tensor whose bits on disk differ from those here; None where all are the same. Collective.

    They are read in batches of 256 MiB, so that this takes no second state's memory.
    """
    found = None
    for batch in _batches(tensors):
        read = {name: torch.empty_like(tensor) for name, tensor in batch.items()}
        read_shards(folder, read, ranks)
        for name, tensor in batch.items():
            if found is None and not torch.equal(_bits(tensor), _bits(read[name])):
                found = name
    return next((name for name in ranks.gather(found) if name is not None), None)


def _batches(tensors: Mapping[str, Tensor]) -> Iterator[dict[str, Tensor]]:
    batch: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if batch and state_bytes({**batch, name: tensor}) > _BATCH:
            yield batch
            batch = {}
        batch[name] = tensor
    if batch:
        yield batch


def _bits(tensor: Tensor) -> Tensor:
    local = tensor.to_local() if isinstance(tensor, DTensor) else tensor
    return local.detach().contiguous().reshape(-1).view(torch.uint8)


def _check_complete(metadata: Metadata) -> None:
    # torch's writing threads keep their exceptions to themselves: what one of them failed to write is only missing here
    chunks = sum(
        len(item.chunks) if isinstance(item, TensorStorageMetadata) else 1
        for item in metadata.state_dict_metadata.values()
    )
    written: Any = metadata.storage_data
    if len(written) != chunks:
        raise RuntimeError(f"only {len(written)} of {chunks} pieces were written")


@contextmanager
def _alone_without_warning() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.distributed is disabled")
        yield
