"""What a checkpoint costs: seconds for which a training stands still, where they go, and their share of the time.

The state is a model of random float32 weights with AdamW's two moments, so a third of the bytes are weights. One rank;
the disk is that of `--folder`. Young's interval is for one failure in twelve hours, held between 5 and 30 minutes.
"""

import argparse
import json
import platform
import statistics
import tempfile
import time
from pathlib import Path

import torch
from torch import nn

from pellucid.training.checkpoints import Checkpoints, Interval, Retention, RunIdentity, RunLock
from pellucid.training.ranks import Ranks

LAYERS = 12


def parts_of(n_bytes):
    """A model and an AdamW that made a step, of about `n_bytes` together."""
    width = int((n_bytes / 3 / 4 / LAYERS) ** 0.5)
    model = nn.Sequential(*(nn.Linear(width, width) for _ in range(LAYERS)))
    optimiser = torch.optim.AdamW(model.parameters())
    for parameter in model.parameters():
        parameter.grad = torch.rand_like(parameter)
    optimiser.step()
    optimiser.zero_grad()
    return {"model": model, "optimiser": optimiser}


def measured(n_bytes, n_saves, folder):
    """Seconds of each phase (the medians of `n_saves`), of loading, and the share at Young's interval."""
    parts = parts_of(n_bytes)
    with RunLock(folder) as lock:
        checkpoints = Checkpoints(
            folder / "checkpoints",
            identity=RunIdentity(config="", software="", cohort=""),
            retention=Retention(keep_last=2),
            ranks=Ranks(),
            lock=lock,
        )
        saves = [checkpoints.save(parts, step=step, reason="benchmark") for step in range(n_saves)]
        began = time.perf_counter()
        checkpoints.load(parts)
        load_s = time.perf_counter() - began
    interval = Interval()
    for saved in saves:
        if saved.error is not None:
            raise SystemExit(saved.error)
        interval.saved(saved.seconds, 0.0)
    phases = {name: statistics.median(saved.phases[name] for saved in saves) for name in saves[0].phases}
    return {
        "bytes": saves[0].n_bytes,
        "blocking_s": statistics.median(saved.seconds for saved in saves),
        "blocking_s_each": [saved.seconds for saved in saves],
        "serialise_and_fsync_s": phases.pop("save"),
        "hash_s": phases.pop("hash"),
        "commit_and_prune_s": sum(phases.values()),
        "verify_and_load_s": load_s,
        "interval_s": interval.length_s,
        "overhead": interval.overhead,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, nargs="+", default=[100, 1000])
    parser.add_argument("--saves", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=Path.cwd(), help="on the disk to measure")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    rows = []
    for megabytes in arguments.megabytes:
        with tempfile.TemporaryDirectory(dir=arguments.folder, prefix="checkpoints-") as folder:
            rows.append(measured(megabytes * 1_000_000, arguments.saves, Path(folder)))
        row = rows[-1]
        print(
            f"{row['bytes'] / 1e6:7.0f} MB: {row['blocking_s']:.2f} s blocking (serialise and fsync "
            f"{row['serialise_and_fsync_s']:.2f}, hash {row['hash_s']:.2f}, rest {row['commit_and_prune_s']:.2f}), "
            f"verify and load {row['verify_and_load_s']:.2f} s; each {row['interval_s'] / 60:.1f} min: "
            f"{100 * row['overhead']:.2f}%"
        )
    if arguments.out:
        machine = {"machine": platform.machine(), "torch": torch.__version__, "threads": torch.get_num_threads()}
        arguments.out.write_text(json.dumps({"machine": machine, "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
