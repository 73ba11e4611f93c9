"""Fifty passes against one pass and against a naive loop, on one thread of a CPU.

One pass is the plain head without dropout. The naive loop runs the plain head 50 times with the same channel masks
multiplied in. All start from the float16 bag; rounds are interleaved and the fastest of each is reported.
"""

import argparse
import json
import platform
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch

from pellucid.aggregators import GatedAttention, GatedAttentionConfig
from pellucid.uncertainty import pass_masks, run_passes

N_PASSES = 50
HEADS = {
    "EAGLE's, 10,000 x 1536": (GatedAttentionConfig(input_dim=1536, trunk_dim=512, gate_dim=384), 10_000),
    "small, 400 x 64": (GatedAttentionConfig(input_dim=64, trunk_dim=64, gate_dim=32), 400),
}


def one_pass(head, features):
    with torch.inference_mode():
        return np.array([head(torch.from_numpy(features).float()).logit.item()])


def fifty_passes(head, features):
    return run_passes(head, features, model="benchmark", n_passes=N_PASSES).logits


def naive_loop(head, features):
    current = {}

    def multiply_at(site, rate):
        return lambda *call: call[-1] * torch.from_numpy(current[site]) / (1 - rate)

    handles = [
        module.register_forward_hook(multiply_at(site, head.config.sites[site][1]))
        for site, module in head.dropout.items()
    ]
    logits = []
    with torch.inference_mode():
        for index in range(N_PASSES):
            current.update(pass_masks("benchmark", head.config, index))
            logits.append(head(torch.from_numpy(features).float()).logit.item())
    for handle in handles:
        handle.remove()
    return np.array(logits)


WAYS = {"one pass": one_pass, "50 passes": fifty_passes, "naive loop": naive_loop}


def measure(head, features, rounds):
    seconds = dict.fromkeys(WAYS, float("inf"))
    logits = {}
    for _ in range(rounds):
        for name, way in WAYS.items():
            start = time.perf_counter()
            logits[name] = way(head, features)
            seconds[name] = min(seconds[name], time.perf_counter() - start)
    difference = float(np.abs(logits["50 passes"] - logits["naive loop"]).max())
    return {"seconds": seconds, "largest_difference": difference}


def peak_memory(name):
    """MiB that the 50 passes add to a process that holds the bag, as the kernel counts them; None where it can't."""
    if not Path("/proc/self/clear_refs").exists():
        return None
    command = [sys.executable, __file__, "--memory", name]
    finished = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(finished.stdout)


def measure_memory(name):
    config, n = HEADS[name]
    head, features = prepared(config, n)
    one_pass(head, features[:16])
    status, pages = Path("/proc/self/status"), Path("/proc/self/statm")
    Path("/proc/self/clear_refs").write_text("5")
    before = int(pages.read_text().split()[1]) * 4096
    fifty_passes(head, features)
    peak = next(int(line.split()[1]) * 1024 for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return (peak - before) / 2**20


def prepared(config, n):
    features = np.random.default_rng(0).standard_normal((n, config.input_dim), dtype=np.float32).astype(np.float16)
    return GatedAttention(config).eval().requires_grad_(requires_grad=False), features


def table(results):
    lines = [
        "| head and bag | one pass | 50 passes | naive loop | 50 / one | naive / 50 | memory | largest difference |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, result in results.items():
        one, fifty, naive = (result["seconds"][way] for way in WAYS)
        memory = "-" if result["peak_mib"] is None else f"{result['peak_mib']:.0f} MiB"
        lines.append(
            f"| {name} | {one * 1e3:.1f} ms | {fifty * 1e3:.0f} ms | {naive * 1e3:.0f} ms | {fifty / one:.1f} "
            f"| {naive / fifty:.1f} | {memory} | {result['largest_difference']:.1e} |"
        )
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write the figures here as well")
    parser.add_argument("--memory", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.memory:
        print(measure_memory(arguments.memory))
        return
    results = {}
    for name, (config, n) in HEADS.items():
        results[name] = measure(*prepared(config, n), arguments.rounds) | {"peak_mib": peak_memory(name)}
    print(table(results))
    if arguments.json:
        machine = {"python": platform.python_version(), "torch": torch.__version__, "threads": 1}
        arguments.json.write_text(json.dumps({"machine": machine, "results": results}, indent=2) + "\n")


if __name__ == "__main__":
    main()
