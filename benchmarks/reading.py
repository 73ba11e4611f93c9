"""CPU a tile of Pellucid's readers beside plain OpenSlide and other libraries, interleaved in one run, on one thread.

Plain OpenSlide is what most pipelines do: `read_region` for each tile, to RGB, area resize. All arms read the same
tiles of the same slide, and their pixels are compared with those of plain OpenSlide. Pellucid reads by superblocks, as
its reader processes do. tiffslide, fastslide, pyvips and cucim take part where they can be imported.

The dense slide is the drawn tissue with sensor noise, so that a pixel takes about as many bits as in real scans.
"""

import argparse
import importlib.util
import json
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import openslide
import psutil

from pellucid.cohort import write_large_slide
from pellucid.cohort.synthetic.tiff import ScanHeader, pyramid, write_scan
from pellucid.domain.encoder import Decoding
from pellucid.slides import find_tissue, lay_grid, open_slide, read_tiles_into, superblocks
from pellucid.slides.jpeg_index import index_level_0

SIDE, MPP = 8192, 0.5
TILES = (256, 224)
DENSE_QUALITY = 88


def resized(region, tile_px):
    method = cv2.INTER_AREA if region.shape[0] > tile_px else cv2.INTER_LINEAR
    return region if region.shape[0] == tile_px else cv2.resize(region, (tile_px, tile_px), interpolation=method)


def one_by_one(opened, path, grid, tiles):
    """Tile after tile through a library: `opened(path)` gives a function of (x, y, edge) to RGB."""
    read, close = opened(path)
    for number, (x, y) in enumerate(grid.coords.tolist()):
        tiles[number] = resized(read(x, y, grid.level0_px), grid.tile_px)
    close()


def by_openslide(path):
    slide = openslide.OpenSlide(str(path))
    return lambda x, y, edge: np.asarray(slide.read_region((x, y), 0, (edge, edge)).convert("RGB")), slide.close


def by_tiffslide(path):
    import tiffslide

    slide = tiffslide.TiffSlide(str(path))
    return lambda x, y, edge: slide.read_region((x, y), 0, (edge, edge), as_array=True), slide.close


def by_fastslide(path):
    import fastslide

    slide = fastslide.FastSlide.from_file_path(str(path))
    return lambda x, y, edge: slide.read_region((x, y), 0, (edge, edge)).numpy()[:, :, :3], lambda: None


def by_pyvips(path):
    import pyvips

    pyvips.cache_set_max(0)
    region = pyvips.Region.new(pyvips.Image.new_from_file(str(path), access="random"))

    def read(x, y, edge):
        return np.frombuffer(region.fetch(x, y, edge, edge), np.uint8).reshape(edge, edge, -1)[:, :, :3]

    return read, lambda: None


def by_cucim(path):
    import cucim

    slide = cucim.CuImage(str(path))
    return lambda x, y, edge: np.asarray(slide.read_region((x, y), (edge, edge), 0)), slide.close


def pellucid(path, grid, tiles, *, fast=True, decoding=Decoding.FULL_AREA):
    slot = np.empty((16, grid.tile_px, grid.tile_px, 3), np.uint8)
    with open_slide(path, fast=fast) as slide:
        for block in superblocks(grid):
            read_tiles_into(slide, grid.coords[block], grid.level0_px, slot[: len(block)], decoding=decoding)
            tiles[block] = slot[: len(block)]


OTHERS = {"tiffslide": by_tiffslide, "fastslide": by_fastslide, "pyvips": by_pyvips, "cucim": by_cucim}


def arms(mpp):
    ways = {
        "plain OpenSlide": partial(one_by_one, by_openslide),
        "Pellucid, OpenSlide": partial(pellucid, fast=False),
        "Pellucid, fast": pellucid,
    }
    if abs(MPP / mpp / 2.0 - 1.0) < 0.04:
        ways["Pellucid, fast, half-scale"] = partial(pellucid, decoding=Decoding.SCALED_DCT)
    found = {name: way for name, way in OTHERS.items() if importlib.util.find_spec(name)}
    return ways | {name: partial(one_by_one, way) for name, way in found.items()}


def measure(path, mpp, tile_px, rounds):
    with open_slide(path) as slide:
        grid = lay_grid(slide.info, find_tissue(slide), tile_px=tile_px, mpp=MPP)
    rows, expected = {}, None
    tiles = np.zeros((len(grid), tile_px, tile_px, 3), np.uint8)
    for _ in range(rounds):
        for name, way in arms(mpp).items():
            start = time.process_time()
            way(path, grid, tiles)
            ms = (time.process_time() - start) / len(grid) * 1e3
            expected = tiles.copy() if expected is None else expected
            difference = tiles.astype(np.int16) - expected
            rows[name] = {
                "tiles": len(grid),
                "level0_px": grid.level0_px,
                "cpu_ms": min(ms, rows.get(name, {}).get("cpu_ms", ms)),
                "largest_difference": int(np.abs(difference).max()),
                "mean_difference": float(np.abs(difference).mean()),
            }
    return rows


def write_dense(path, source, mpp):
    """A generic TIFF of a slide's middle, repeated, with sensor noise."""
    with open_slide(source) as slide:
        picture = slide.read_region(SIDE // 4, SIDE // 4, SIDE // 4, SIDE // 4)
    noise = np.random.default_rng(0).normal(0.0, 5.0, picture.shape)
    picture = np.tile(np.clip(picture + noise, 0, 255).astype(np.uint8), (4, 4, 1))
    header = ScanHeader(title="dense", scanner="SYN-A", mpp=mpp, objective=None, quality=DENSE_QUALITY, generic=True)
    write_scan(path, pyramid(picture, DENSE_QUALITY), picture, header)
    return path


def bits_a_pixel(path):
    """Of tissue: three quarters of the stored tiles take less."""
    with open_slide(path) as slide:
        index = index_level_0(path, slide.info.width, slide.info.height)
    return float(np.percentile(index.sizes, 75)) * 8 / (index.tile_width * index.tile_height)


def cycles(path, n_cycles, *, fast):
    """In a process of its own: resident MiB after a tenth of the cycles and after all."""
    with open_slide(path) as slide:
        grid = lay_grid(slide.info, find_tissue(slide), tile_px=256, mpp=MPP)
    block = superblocks(grid)[len(superblocks(grid)) // 2]
    slot = np.empty((16, 256, 256, 3), np.uint8)
    early, start = 0.0, time.process_time()
    for nth in range(n_cycles):
        with open_slide(path, fast=fast) as slide:
            read_tiles_into(slide, grid.coords[block], grid.level0_px, slot[: len(block)])
        if nth == n_cycles // 10:
            early = psutil.Process().memory_info().rss / 2**20
    late = psutil.Process().memory_info().rss / 2**20
    opening = time.process_time()
    for _ in range(100):
        open_slide(path, fast=fast).close()
    return {
        "early": early,
        "late": late,
        "seconds": opening - start,
        "open_ms": (time.process_time() - opening) * 10.0,
    }


def show(rows):
    print("| slide | bits/px | tile, px | from, px | reader | CPU ms a tile | ratio | largest (mean) difference |")
    print("|---|---|---|---|---|---|---|---|")
    for slide, measured in rows.items():
        for tile_px, ways in measured["tiles"].items():
            plain = ways["plain OpenSlide"]["cpu_ms"]
            for name, row in ways.items():
                print(
                    f"| {slide} | {measured['bits_px']:.1f} | {tile_px} | {row['level0_px']} | {name} |"
                    f" {row['cpu_ms']:.2f} | {plain / row['cpu_ms']:.2f} |"
                    f" {row['largest_difference']} ({row['mean_difference']:.2f}) |"
                )


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cycles", type=int, default=1000)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--cycle", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    if options.cycle:
        print(json.dumps(cycles(Path(options.cycle[0]), options.cycles, fast=options.cycle[1] == "fast")))
        return
    rows, memory = {}, {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        svs = write_large_slide(folder / "a.svs", SIDE, SIDE, seed=0, mpp=0.25)
        slides = {
            "SVS, 0.25 um/px": (svs, 0.25),
            "dense TIFF, 0.25 um/px": (write_dense(folder / "b.tif", svs, 0.25), 0.25),
            "dense TIFF, 0.2525 um/px": (write_dense(folder / "c.tif", svs, 0.2525), 0.2525),
            "SVS, 0.5 um/px": (write_large_slide(folder / "d.svs", SIDE, SIDE, seed=0, mpp=0.5), 0.5),
        }
        for title, (path, mpp) in slides.items():
            tiles = {tile_px: measure(path, mpp, tile_px, options.rounds) for tile_px in TILES}
            rows[title] = {"bits_px": bits_a_pixel(path), "tiles": tiles}
        for reader in ("fast", "openslide"):
            command = [sys.executable, "-m", "benchmarks.reading", "--cycles", str(options.cycles)]
            done = subprocess.run([*command, "--cycle", str(svs), reader], capture_output=True, text=True, check=True)
            memory[reader] = json.loads(done.stdout)
    show(rows)
    print(f"\nOpening, reading 16 tiles and closing {options.cycles} times, in a process of its own:\n")
    print("| reader | MiB after a tenth | MiB after all | CPU s | opening alone, CPU ms |")
    print("|---|---|---|---|---|")
    for reader, row in memory.items():
        print(f"| {reader} | {row['early']:.1f} | {row['late']:.1f} | {row['seconds']:.1f} | {row['open_ms']:.1f} |")
    if options.json:
        options.json.write_text(json.dumps({"rows": rows, "memory": memory}, indent=2))


if __name__ == "__main__":
    main()
