"""One of several ranks that save or load together; writes what came of it as JSON.

`rank_child.py WHAT KIND FOLDER OUT`: WHAT is one of the functions below, KIND `replicated` or `sharded`, OUT a folder.
"""

import hashlib
import json
import os
import resource
import signal
import sys
from pathlib import Path

import torch
from torch import nn
from torch.distributed.tensor import DTensor

from pellucid.core.errors import PellucidError
from pellucid.training.checkpoints import Checkpoints, Retention, RunIdentity, RunLock
from pellucid.training.ranks import joined_ranks

IDENTITY = RunIdentity(config="a", software="b", cohort="c")


def build(kind, ranks, seed):
    """An odd-sized model with AdamW, sharded over the ranks where there are several and `kind` says so."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(17, 257), nn.GELU(), nn.Linear(257, 5), nn.LayerNorm(5), nn.Linear(5, 1))
    if kind == "sharded" and ranks.world > 1:
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard

        mesh = init_device_mesh("cpu", (ranks.world,))
        fully_shard(model[0], mesh=mesh)
        fully_shard(model, mesh=mesh)
    return {"model": model, "optimiser": torch.optim.AdamW(model.parameters(), lr=0.01)}


def advance(parts, n_steps):
    for step in range(n_steps):
        chance = torch.Generator().manual_seed(step)
        parts["optimiser"].zero_grad()
        parts["model"](torch.rand(9, 17, generator=chance)).square().mean().backward()
        parts["optimiser"].step()


def full_bits(parts):
    """A digest of the whole state, the same however it is sharded."""
    digest = hashlib.sha256()

    def feed(value):
        if isinstance(value, torch.Tensor):
            whole = value.full_tensor() if isinstance(value, DTensor) else value
            digest.update(str(tuple(whole.shape)).encode() + whole.detach().contiguous().numpy().tobytes())
        elif isinstance(value, dict):
            for key in value:
                digest.update(repr(key).encode())
                feed(value[key])
        elif isinstance(value, list):
            for item in value:
                feed(item)
        else:
            digest.update(repr(value).encode())

    for part in parts.values():
        feed(dict(part.state_dict()))
    return digest.hexdigest()


def opened(folder, ranks, lock=None, trace=None):
    more = {} if trace is None else {"trace": trace}
    return Checkpoints(folder, identity=IDENTITY, retention=Retention(), ranks=ranks, lock=lock, **more)


def save(kind, folder, ranks):
    parts = build(kind, ranks, seed=0)
    advance(parts, 3)
    saved = opened(folder, ranks).rehearse(parts, step=3)
    return {"error": saved.error, "n_bytes": saved.n_bytes, "bits": full_bits(parts)}


def load(kind, folder, ranks):
    parts = build(kind, ranks, seed=1)
    loaded = opened(folder, ranks).load(parts)
    return {"step": loaded.step, "bits": full_bits(parts), "rejected": loaded.rejected}


def refuse(_kind, folder, ranks):
    """The last rank can't write the second checkpoint; all go on and write the third."""
    parts = {"x": build("replicated", ranks, seed=0)["model"]}
    checkpoints = opened(folder, ranks)
    said = [checkpoints.save(parts, step=1, reason="interval").error]
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    if ranks.rank == ranks.world - 1:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, limit[1]))
    said.append(checkpoints.save(parts, step=2, reason="interval").error)
    resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    said.append(checkpoints.save(parts, step=3, reason="interval").error)
    return {"said": said, "n_failed": checkpoints.n_failed}


def differ(_kind, folder, ranks):
    """The ranks hold different names."""
    parts = {"x": nn.Linear(2, 2 + ranks.rank)}
    checkpoints = opened(folder, ranks)
    return {"said": [checkpoints.save(parts, step=1, reason="interval").error]}


def lose(_kind, folder, ranks):
    """The first rank's lock is taken over in the middle of a save."""
    lock = ranks.first_alone(lambda: RunLock(folder.parent))

    def trace(phase):
        if phase == "hash" and ranks.is_first:
            (folder.parent / ".lock" / "00000009.json").write_text("{}")

    opened(folder, ranks, lock, trace).save({"x": nn.Linear(2, 2)}, step=1, reason="interval")
    return {}


def main():
    what, kind, folder, out = sys.argv[1], sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4])
    with joined_ranks(timeout_s=300) as ranks:
        try:
            told = globals()[what](kind, folder, ranks)
        except PellucidError as error:
            told = {"code": error.code, "message": error.message}
        (out / f"{ranks.rank}.json").write_text(json.dumps(told))
        ranks.wait()
        # once in dozens of times torch aborts while it takes its process group down, which isn't what is tested
        os._exit(0)


if __name__ == "__main__":
    main()
