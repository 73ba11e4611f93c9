"""How long a training waits for tiles that come straight from the slides, and what a tile costs.

The encoder is one that sleeps: 300 tiles/s, counted once over a step's tiles, or twice, as a step of feature-gradient
caching encodes each tile twice. Slides are JPEG-tiled at 0.25 um/px, tiles 224 px at 0.5 um/px. One slide has as many
bits a pixel as real scans (drawn tissue with sensor noise), one is the drawn tissue itself. It stands under several
names, so that it is opened anew for each step; its bytes are in the page cache.

The first step, at which nothing was read ahead, is told apart. The goal: under 5 % of a step is waiting.
"""

import argparse
import itertools
import json
import os
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np

from pellucid.cohort import write_large_slide
from pellucid.cohort.synthetic.tiff import TILE_PX as STORED_PX
from pellucid.cohort.synthetic.tiff import Level, ScanHeader, encoded_tiles, write_scan
from pellucid.domain.cohort import ScanEntry, Split
from pellucid.domain.encoder import Decoding, EncoderSpec
from pellucid.domain.grid import TileGrid
from pellucid.domain.scan import Scale, ScaleSource
from pellucid.engine.vitals import cpu_seconds
from pellucid.slides import open_slide
from pellucid.slides.jpeg_index import index_level_0
from pellucid.training.ranks import Ranks
from pellucid.training.stream import FailureBook, StreamPlan, TileStream
from pellucid.training.survey import SurveyedScan

SIDE, MPP, QUALITY = 45056, 0.25, 88
TILE_PX, LEVEL0_PX = 224, 448
N_NAMES = 4
PATTERN = 4096
CHUNK = 96
GOAL = 0.05


def spec(decoding):
    return EncoderSpec(
        id="sleeper",
        architecture="none",
        weights_digest="0" * 64,
        tile_px=TILE_PX,
        mpp=0.5,
        input_px=TILE_PX,
        mean=(0.5, 0.5, 0.5),
        std=(0.25, 0.25, 0.25),
        dim=8,
        batch_size=CHUNK,
        decoding=decoding,
        licence="Apache-2.0",
        scope="benchmark",
    )


def write_repeated(path, pattern, side):
    """A generic TIFF of a square pattern, repeated; only the pattern is ever encoded."""

    def level(factor):
        small = cv2.resize(pattern, (PATTERN // factor,) * 2, interpolation=cv2.INTER_AREA)
        tiles, period = encoded_tiles(small, QUALITY), PATTERN // factor // STORED_PX
        n = -(-side // factor // STORED_PX)

        def repeated():
            for row, column in itertools.product(range(n), range(n)):
                yield tiles[row % period * period + column % period]

        return Level(side // factor, side // factor, repeated)

    header = ScanHeader(title="t", scanner="SYN-A", mpp=MPP, objective=None, quality=QUALITY, generic=True)
    write_scan(path, [level(factor) for factor in (1, 4, 16)], pattern, header)
    return path


def patterns(folder):
    """Drawn tissue, with sensor noise and without."""
    source = write_large_slide(folder / "source.svs", 8192, 8192, mpp=MPP, tissue_share=1.0)
    with open_slide(source) as slide:
        drawn = slide.read_region(0, 0, PATTERN, PATTERN)
    noise = np.random.default_rng(0).normal(0.0, 5.0, drawn.shape)
    return {"with noise": np.clip(drawn + noise, 0, 255).astype(np.uint8), "drawn": drawn}


def scans_of(path, n_grid):
    """The slide under several names, with a square grid of about `n_grid` tiles in its middle."""
    side = round(n_grid**0.5)
    first = (SIDE // LEVEL0_PX - side) // 2
    y, x = np.divmod(np.arange(side * side), side)
    grid = TileGrid(
        coords=(np.stack([x + first, y + first], axis=1) * LEVEL0_PX).astype(np.int32),
        tissue_fraction=np.ones(len(x), np.float32),
        level0_px=LEVEL0_PX,
        tile_px=TILE_PX,
        mpp=0.5,
        columns=SIDE // LEVEL0_PX,
        rows=SIDE // LEVEL0_PX,
    )
    scans = []
    for nth in range(N_NAMES):
        other = path.with_name(f"{path.stem}-{nth}.tif")
        if not other.exists():
            os.link(path, other)
        name = other.stem
        entry = ScanEntry(
            case=name, specimen=name, block="A1", slide=name, path=other, patient=name, split=Split.TRAINING, label=0
        )
        scale = Scale(mpp_x=MPP, mpp_y=MPP, source=ScaleSource.FILE, detail="benchmark")
        digest = f"{nth:064x}"
        scans.append(SurveyedScan(entry=entry, label=0, digest=digest, scale=scale, grid=grid, features={}))
    return scans


def bits_a_pixel(path):
    with open_slide(path) as slide:
        index = index_level_0(path, slide.info.width, slide.info.height)
    return float(index.sizes.mean()) * 8 / (index.tile_width * index.tile_height)


def measure(path, n_grid, n_tiles, passes, options):
    scans = scans_of(path, n_grid)
    plan = StreamPlan(epochs=options.epochs, share=1.0, tiles=n_tiles, chunk=CHUNK, ahead=options.ahead)
    ranks = Ranks()
    with (
        tempfile.TemporaryDirectory() as folder,
        TileStream(
            scans,
            plan,
            spec=spec(options.decoding),
            ranks=ranks,
            failures=FailureBook(Path(folder) / "failures.jsonl", ranks),
            readers=options.readers,
        ) as stream,
    ):
        waits, lengths, tiles = [], [], 0
        own, start = time.process_time(), time.perf_counter()
        for step in range(stream.n_steps):
            taken = stream.get(step)
            waits.append(taken.waited_s)
            tiles += len(taken.tiles)
            time.sleep(passes * len(taken.tiles) / options.rate)
            stream.release(taken)
            lengths.append(time.perf_counter() - start)
            start = time.perf_counter()
        cpu = sum(cpu_seconds(pid) for pid in stream.reader_pids)
        own = time.process_time() - own
        return {
            "grid": len(scans[0].grid),
            "tiles": n_tiles,
            "passes": passes,
            "first_wait_s": waits[0],
            "step_s": sum(lengths[1:]) / len(lengths[1:]),
            "waiting": sum(waits[1:]) / sum(lengths[1:]),
            "longest_wait": max(wait / length for wait, length in zip(waits[1:], lengths[1:], strict=True)),
            "reader_cpu_ms": cpu / tiles * 1e3,
            "own_cpu_ms": own / tiles * 1e3,
            "slots_mb": stream.n_bytes / 1e6,
        }


def show(rows, options):
    decoding, cores = options.decoding.value, len(os.sched_getaffinity(0))
    print(
        f"{options.readers} readers, {options.ahead} slides ahead, {decoding}, {cores} cores, {options.rate} tiles/s\n"
    )
    print("| slide | bits/px | tiles of grid | passes | step, s | waiting | longest | first wait, s |", end="")
    print(" CPU ms a tile: readers | training | slots, MB |")
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    for row in rows:
        print(
            f"| {row['slide']} | {row['bits']:.1f} | {row['tiles']} of {row['grid']} | {row['passes']} |"
            f" {row['step_s']:.2f} | {row['waiting']:.1%} | {row['longest_wait']:.1%} | {row['first_wait_s']:.2f} |"
            f" {row['reader_cpu_ms']:.2f} | {row['own_cpu_ms']:.3f} | {row['slots_mb']:.0f} |"
        )
    worst = max(row["waiting"] for row in rows)
    print(f"\nThe most waiting: {worst:.1%} of a step; the goal is under {GOAL:.0%}.")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=2, help=f"of {N_NAMES} steps")
    parser.add_argument("--readers", type=int, default=2)
    parser.add_argument("--ahead", type=int, default=2)
    parser.add_argument("--rate", type=float, default=300.0, help="tiles/s of the sleeping encoder")
    parser.add_argument("--decoding", type=Decoding, default=Decoding.FULL_AREA)
    parser.add_argument("--arms", nargs="*", default=["2208/10000", "512/10000", "1024/1024"], help="tiles/grid")
    parser.add_argument("--passes", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as name:
        for title, pattern in patterns(Path(name)).items():
            path = write_repeated(Path(name) / f"{title.replace(' ', '-')}.tif", pattern, SIDE)
            bits = bits_a_pixel(path)
            for arm, passes in itertools.product(options.arms, options.passes):
                n_tiles, n_grid = map(int, arm.split("/"))
                rows.append({"slide": title, "bits": bits} | measure(path, n_grid, n_tiles, passes, options))
    show(rows, options)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2))


if __name__ == "__main__":
    main()
