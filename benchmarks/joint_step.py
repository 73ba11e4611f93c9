"""What a joint step of encoder and head costs: time by part, and memory by the number of tiles.

On a CPU with the small encoder and tiles of 64 px, each row in a fresh process: what the step adds to the process's
memory at its peak, beside plain autograd over the whole bag. The tiles' own pixels are counted apart: whoever reads the
slide holds them. On an accelerator also with a network of GigaPath's shape and random weights: tiles a second, share of
the card's matrix peak, and the step at 512, 2,208 and 8,192 tiles.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from pellucid.aggregators import GatedAttention, GatedAttentionConfig
from pellucid.encoders import SMALL_SPEC, SmallEncoder
from pellucid.encoders.transform import normalise
from pellucid.training.config import Precision
from pellucid.training.joint import JointSettings, JointStep, follow, joint_optimiser
from pellucid.training.joint.recipe import JointRecipe
from pellucid.training.ranks import Ranks

PX, CHUNK = 64, 32
BAGS = {"joint step": (100, 1_000, 10_000), "plain autograd": (100, 1_000)}
MIB = 2**20

GIGAPATH_FLOPS = 456e9
"""Forward through ViT-g/16, a tile of 224 px (shared/facts/eagle.md)."""
PEAK_BF16 = {"H100": 989e12, "H200": 989e12, "A100": 312e12}
"""Dense FLOP a second, as the cards' maker states them."""
GIGAPATH_BAGS = (512, 2_208, 8_192)
GIGAPATH_CHUNK = 96


def small_step():
    spec = replace(SMALL_SPEC, tile_px=PX, input_px=PX)
    head = GatedAttention(GatedAttentionConfig(input_dim=spec.dim))
    return JointStep(SmallEncoder(), head, spec, JointSettings(chunk=CHUNK), Ranks()), spec


def pixels_of(n, edge):
    return np.random.default_rng(0).integers(0, 256, (n, edge, edge, 3), dtype=np.uint8)


def run(step, pixels, number):
    rows = np.arange(len(pixels))
    return step.run(pixels, rows, len(rows), tile_ids=rows, label=1, weight=1.0, seed=0, step=number)


def plain(step, spec, pixels):
    step.model.zero_grad(set_to_none=True)
    logit = step.model(normalise(pixels, spec)).logit
    functional.binary_cross_entropy_with_logits(logit, torch.ones_like(logit)).backward()


def resident(field):
    """`VmRSS` or `VmHWM`, the peak since it was reset, in bytes."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) * 1024


def measure_once(way, n):
    """In a process of its own: what one step adds to its memory, and the seconds of its parts."""
    step, spec = small_step()
    pixels = pixels_of(n, PX)
    for number in range(2):
        run(step, pixels[:CHUNK], number)
    Path("/proc/self/clear_refs").write_text("5")
    before, began = resident("VmRSS"), time.perf_counter()
    parts = {}
    if way == "plain autograd":
        plain(step, spec, pixels)
    else:
        outcome = run(step, pixels, 2)
        parts = {name: getattr(outcome, name) for name in ("encode_s", "head_s", "backward_s", "exchange_s")}
        parts["feature_bytes"] = outcome.feature_bytes
    seconds = time.perf_counter() - began
    return {"added": resident("VmHWM") - before, "seconds": seconds, "pixels": pixels.nbytes, **parts}


def measured(way, n):
    command = [sys.executable, "-m", "benchmarks.joint_step", "--once", way, str(n)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def memory_table(results):
    lines = [
        "| way | tiles | added, MiB | a tile, kB | of it features, kB | pixels, MiB | s | encode | head | back |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for way, rows in results.items():
        for n, row in rows.items():
            parts = [f"{row[name]:.2f}" if name in row else "" for name in ("encode_s", "head_s", "backward_s")]
            features = f"{2 * row['feature_bytes'] / int(n) / 1e3:.1f}" if "feature_bytes" in row else ""
            lines.append(
                f"| {way} | {int(n):,} | {row['added'] / MIB:.0f} | {row['added'] / int(n) / 1e3:.1f} | {features} | "
                f"{row['pixels'] / MIB:.0f} | {row['seconds']:.2f} | {' | '.join(parts)} |"
            )
    return "\n".join(lines)


def gigapath_shaped():
    from timm.models import create_model

    torch.manual_seed(0)
    sizes = {"patch_size": 16, "img_size": 224, "embed_dim": 1536, "depth": 40, "num_heads": 24}
    with torch.device("cuda"):
        return create_model(
            "vit_giant_patch14_dinov2", **sizes, init_values=1e-5, mlp_ratio=5.33334, num_classes=0, pretrained=False
        )


def card():
    name = torch.cuda.get_device_name()
    return name, next((peak for known, peak in PEAK_BF16.items() if known in name), None)


def of_peak(flops_a_second):
    peak = card()[1]
    return None if peak is None else flops_a_second / peak


@torch.inference_mode()
def encoding(network, batch, *, compiled, rounds=10):
    """Tiles a second in bfloat16 and their share of the card's matrix peak."""
    tiles = torch.randn(batch, 3, 224, 224, device="cuda")
    network = network.eval()
    half = torch.compile(network, mode="max-autotune") if compiled else network
    with torch.autocast("cuda", dtype=torch.bfloat16):
        for _ in range(3):
            half(tiles)
        torch.cuda.synchronize()
        began = time.perf_counter()
        for _ in range(rounds):
            half(tiles)
        torch.cuda.synchronize()
    rate = rounds * batch / (time.perf_counter() - began)
    return {"batch": batch, "compiled": compiled, "tiles_a_s": rate, "of_peak": of_peak(rate * GIGAPATH_FLOPS)}


@torch.inference_mode()
def half_difference(network):
    """How far bfloat16 embeddings are from float32 ones: the greatest relative distance, and the least cosine."""
    tiles = torch.randn(64, 3, 224, 224, device="cuda", generator=torch.Generator("cuda").manual_seed(0))
    whole = network.eval()(tiles)
    with torch.autocast("cuda", dtype=torch.bfloat16):
        half = network(tiles).float()
    distance = (half - whole).norm(dim=1) / whole.norm(dim=1)
    return {
        "distance": float(distance.max()),
        "cosine": float(functional.cosine_similarity(half, whole).min()),
    }


def gigapath_steps(network, chunk):
    """Seconds and device memory of the whole step, optimiser included."""
    spec = replace(SMALL_SPEC, id="gigapath-224", dim=1536)
    settings = JointSettings(chunk=chunk, precision=Precision.BFLOAT16, activation_checkpointing=True)
    ranks = Ranks(device=torch.device("cuda", torch.cuda.current_device()))
    step = JointStep(network, GatedAttention(GatedAttentionConfig(input_dim=1536)), spec, settings, ranks)
    recipe = JointRecipe()
    optimiser = joint_optimiser(step.model.trained(), recipe)
    run(step, pixels_of(chunk, 224), 0)
    optimiser.step()
    rows = []
    for n in GIGAPATH_BAGS:
        pixels = pixels_of(n, 224)
        torch.cuda.reset_peak_memory_stats()
        held = torch.cuda.memory_allocated()
        began = time.perf_counter()
        follow(optimiser, recipe, 1000, 1000)
        outcome = run(step, pixels, 1)
        optimiser.step()
        torch.cuda.synchronize()
        seconds = time.perf_counter() - began
        # two passes forward, one of them computed anew, and a backward pass that costs as much as two
        rate = n * 5 * GIGAPATH_FLOPS / (outcome.encode_s + outcome.backward_s)
        rows.append(
            {
                "tiles": n,
                "seconds": seconds,
                "encode_s": outcome.encode_s,
                "head_s": outcome.head_s,
                "backward_s": outcome.backward_s,
                "of_peak": of_peak(rate),
                "held_gib": held / 2**30,
                "peak_gib": torch.cuda.max_memory_allocated() / 2**30,
                "feature_bytes": outcome.feature_bytes,
            }
        )
        print("step", rows[-1], flush=True)
    return rows


def on_accelerator(chunk, *, compiled):
    network = gigapath_shaped()
    found = {"difference": half_difference(network), "encoding": []}
    print("bfloat16 to float32:", found["difference"], flush=True)
    for batch in (64, 128, 256):
        found["encoding"].append(encoding(network, batch, compiled=False))
        print("encoding", found["encoding"][-1], flush=True)
    if compiled:
        found["encoding"].append(encoding(network, 128, compiled=True))
        print("encoding", found["encoding"][-1], flush=True)
    found["steps"] = gigapath_steps(network, chunk)
    return found


def machine():
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    name = card()[0] if torch.cuda.is_available() else "CPU, 1 thread"
    return {"python": platform.python_version(), "torch": torch.__version__, "device": name, "load": load}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="write the figures here as well")
    parser.add_argument("--chunk", type=int, default=GIGAPATH_CHUNK, help="tiles at once on the accelerator")
    parser.add_argument("--compile", action="store_true", help="encoding with torch.compile too; takes minutes")
    parser.add_argument("--once", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.once:
        print(json.dumps(measure_once(arguments.once[0], int(arguments.once[1]))))
        return
    found = {"machine": machine()}
    print("Machine:", ", ".join(f"{key} {value}" for key, value in found["machine"].items()), end="\n\n", flush=True)
    found["memory"] = {way: {n: measured(way, n) for n in bags} for way, bags in BAGS.items()}
    print(memory_table(found["memory"]), flush=True)
    if torch.cuda.is_available():
        found["accelerator"] = on_accelerator(arguments.chunk, compiled=arguments.compile)
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
