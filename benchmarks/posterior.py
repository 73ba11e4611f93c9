"""What a posterior costs, on one thread of a CPU or on an accelerator, and its share of a slide's time.

One pass is the plain head without dropout. The naive loop runs the plain head 50 times with the same channel masks
multiplied in. The 50 passes are `run_passes`, once with dropout in trunk, gates and head, once with none in the trunk;
the ensemble is five heads without dropout. All start from the float16 bag; rounds are interleaved and the fastest of
each is reported, in CPU time on a CPU, which other work disturbs less, and in wall time on an accelerator.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import torch

from pellucid.aggregators import GatedAttention, GatedAttentionConfig
from pellucid.uncertainty import pass_masks, run_ensemble, run_passes

N_PASSES = 50
N_HEADS = 5
EAGLE = GatedAttentionConfig(input_dim=1536, trunk_dim=512, gate_dim=384)
BAGS = {
    "EAGLE's, 10,000 x 1536": (EAGLE, 10_000),
    "small, 400 x 64": (GatedAttentionConfig(input_dim=64, trunk_dim=64, gate_dim=32), 400),
}
ENCODER_FLOPS = 456e9
"""GigaPath's ViT-g/16, a tile of 224 px (shared/facts/eagle.md)."""
H100_BF16, H100_FP32 = 989e12, 67e12
"""Dense FLOP a second of an H100 SXM, as its maker states them."""
ENCODER_USE, HEAD_USE = 0.5, 0.1
"""Shares of these that are assumed to be reached: half by the encoder, in half precision, a tenth by the head."""


def prepared(config, n, device):
    """Five heads and a bag."""
    features = np.random.default_rng(0).standard_normal((n, config.input_dim), dtype=np.float32).astype(np.float16)
    heads = [GatedAttention(config, seed=seed).eval().requires_grad_(requires_grad=False) for seed in range(N_HEADS)]
    return [head.to(device) for head in heads], features


def on_device(head, features):
    return torch.from_numpy(features).to(head.trunk1.weight.device).float()


def one_pass(heads, features):
    with torch.inference_mode():
        return np.array([heads[0](on_device(heads[0], features)).logit.item()])


def fifty_passes(heads, features):
    return run_passes(heads[0], features, model="benchmark", n_passes=N_PASSES).logits


def fifty_of_gates_and_head(heads, features):
    return fifty_passes([without_trunk_dropout(heads[0])], features)


@cache
def without_trunk_dropout(head):
    """The same weights with dropout in gates and head alone."""
    other = GatedAttention(replace(head.config, trunk_dropout=0.0)).eval().requires_grad_(requires_grad=False)
    other.load_state_dict(head.state_dict())
    return other.to(head.trunk1.weight.device)


def ensemble(heads, features):
    return run_ensemble(heads, features).logits


def naive_loop(heads, features):
    head, current = heads[0], {}

    def multiply_at(site, rate):
        return lambda *call: call[-1] * current[site] / (1 - rate)

    handles = [
        module.register_forward_hook(multiply_at(site, head.config.sites[site][1]))
        for site, module in head.dropout.items()
    ]
    logits = []
    with torch.inference_mode():
        for index in range(N_PASSES):
            masks = pass_masks("benchmark", head.config, index)
            current.update({site: torch.from_numpy(kept).to(head.trunk1.weight.device) for site, kept in masks.items()})
            logits.append(head(on_device(head, features)).logit.item())
    for handle in handles:
        handle.remove()
    return np.array(logits)


def naive_of_gates_and_head(heads, features):
    return naive_loop([without_trunk_dropout(heads[0])], features)


WAYS = {
    "one pass": one_pass,
    "50 passes": fifty_passes,
    "50 passes, none dropped in the trunk": fifty_of_gates_and_head,
    "ensemble of 5": ensemble,
    "naive loop of 50": naive_loop,
}


def measure(heads, features, rounds):
    without_trunk_dropout(heads[0])
    clock = time.process_time if heads[0].trunk1.weight.device.type == "cpu" else time.perf_counter
    seconds = dict.fromkeys(WAYS, float("inf"))
    logits = {}
    for _ in range(rounds):
        for name, way in WAYS.items():
            start = clock()
            logits[name] = way(heads, features)
            seconds[name] = min(seconds[name], clock() - start)
    shared = "50 passes, none dropped in the trunk"
    differences = {
        "50 passes": np.abs(logits["50 passes"] - logits["naive loop of 50"]).max(),
        shared: np.abs(logits[shared] - naive_of_gates_and_head(heads, features)).max(),
    }
    return {"seconds": seconds, "differences": {name: float(value) for name, value in differences.items()}}


def peak_memory(name):
    """MiB that the 50 passes add to a process that holds the bag, as the kernel counts them; None where it can't."""
    if not Path("/proc/self/clear_refs").exists():
        return None
    command = [sys.executable, "-m", "benchmarks.posterior", "--memory", name]
    finished = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(finished.stdout)


def measure_memory(name):
    heads, features = prepared(*BAGS[name], "cpu")
    one_pass(heads, features[:16])
    status, pages = Path("/proc/self/status"), Path("/proc/self/statm")
    Path("/proc/self/clear_refs").write_text("5")
    before = int(pages.read_text().split()[1]) * 4096
    fifty_passes(heads, features)
    peak = next(int(line.split()[1]) * 1024 for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return (peak - before) / 2**20


def flops_a_tile(config, n_passes):
    """Multiplications and additions of the matrix products of a posterior, a tile.

    With dropout in the trunk, a pass is the second layer, the gates, the attention and the pooling of the channels that
    it keeps; without, the passes share the first three of these. The dropout-free head goes along in either.
    """
    first = config.input_dim * config.trunk_dim
    widths = [(config.trunk_dim, config.trunk_dim, config.gate_dim)]
    for index in range(n_passes):
        masks = pass_masks("benchmark", config, index)
        gates = int((masks["gate_tanh"] & masks["gate_sigmoid"]).sum())
        widths.append((int(masks["trunk1"].sum()), int(masks["trunk2"].sum()), gates))
    if config.trunk_dropout == 0:
        trunk, gate = config.trunk_dim, config.gate_dim
        return 2 * (first + trunk * trunk + 2 * trunk * gate + len(widths) * (gate + trunk))
    return 2 * (first + sum(one * two + 2 * two * gate + gate + two for one, two, gate in widths))


def shares():
    """What the posterior of EAGLE's head adds to GigaPath's encoding of the same tiles, computed for an H100."""
    rows = []
    for name, config in {
        "dropout in trunk, gates and head": EAGLE,
        "dropout in gates and head": replace(EAGLE, trunk_dropout=0.0),
    }.items():
        flops = flops_a_tile(config, N_PASSES)
        seconds = flops / (HEAD_USE * H100_FP32)
        of_time = seconds / (ENCODER_FLOPS / (ENCODER_USE * H100_BF16))
        rows.append({"name": name, "flops_a_tile": flops, "of_flops": flops / ENCODER_FLOPS, "of_time": of_time})
    return rows


def cost_table(results):
    lines = ["| head and bag | way | ms | times one pass | from the naive loop |", "|---|---|---|---|---|"]
    for bag, result in results.items():
        one = result["seconds"]["one pass"]
        for way, seconds in result["seconds"].items():
            difference = result["differences"].get(way)
            told = "" if difference is None else f"{difference:.1e}"
            lines.append(f"| {bag} | {way} | {seconds * 1e3:.1f} | {seconds / one:.2f} | {told} |")
    return "\n".join(lines)


def share_table(rows):
    lines = ["| 50 passes of EAGLE's head | MFLOP a tile | of the encoder's FLOP | of its time |", "|---|---|---|---|"]
    for row in rows:
        flops, of_flops, of_time = row["flops_a_tile"] / 1e6, row["of_flops"], row["of_time"]
        lines.append(f"| {row['name']} | {flops:.1f} | {of_flops:.4%} | {of_time:.2%} |")
    return "\n".join(lines)


def machine(device):
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    name = torch.cuda.get_device_name() if device.startswith("cuda") else f"{platform.processor() or 'CPU'}, 1 thread"
    return {"python": platform.python_version(), "torch": torch.__version__, "device": name, "load": load}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="cpu", help="of torch, such as cuda")
    parser.add_argument("--json", type=Path, help="write the figures here as well")
    parser.add_argument("--memory", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.memory:
        print(measure_memory(arguments.memory))
        return
    found = {"machine": machine(arguments.device), "results": {}, "shares": shares()}
    for name, (config, n) in BAGS.items():
        found["results"][name] = measure(*prepared(config, n, arguments.device), arguments.rounds)
        found["results"][name]["peak_mib"] = peak_memory(name) if arguments.device == "cpu" else None
    print("Machine:", ", ".join(f"{key} {value}" for key, value in found["machine"].items()), end="\n\n")
    print(cost_table(found["results"]), end="\n\n")
    for name, result in found["results"].items():
        if result["peak_mib"] is not None:
            print(f"The 50 passes add {result['peak_mib']:.0f} MiB with {name}.")
    print(f"\n{share_table(found['shares'])}")
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
