"""CPU a tile of Pellucid's reading beside plain OpenSlide, interleaved in one run, on one thread.

Plain OpenSlide is what most pipelines do: `read_region` for each tile, to RGB, area resize. Both arms read the same
tiles of the same slide in the same order, and their pixels are compared.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
import openslide

from pellucid.cohort import write_large_slide
from pellucid.slides import find_tissue, lay_grid, open_slide, read_tiles

TILE_PX, MPP = 224, 0.5


def plain(path, grid):
    tiles = np.empty((len(grid), TILE_PX, TILE_PX, 3), np.uint8)
    with openslide.OpenSlide(str(path)) as slide:
        for number, (x, y) in enumerate(grid.coords.tolist()):
            region = slide.read_region((x, y), 0, (grid.level0_px, grid.level0_px)).convert("RGB")
            tiles[number] = cv2.resize(np.asarray(region), (TILE_PX, TILE_PX), interpolation=cv2.INTER_AREA)
    return tiles


def pellucid(path, grid):
    tiles = np.empty((len(grid), TILE_PX, TILE_PX, 3), np.uint8)
    with open_slide(path) as slide:
        for batch in read_tiles(slide, grid, batch_size=32):
            tiles[batch.index] = batch.pixels
    return tiles


WAYS = {"plain OpenSlide": plain, "Pellucid": pellucid}


def measure(path, rounds):
    with open_slide(path) as slide:
        grid = lay_grid(slide.info, find_tissue(slide), tile_px=TILE_PX, mpp=MPP)
    fastest = dict.fromkeys(WAYS, float("inf"))
    seen = {}
    for _ in range(rounds):
        for name, way in WAYS.items():
            start = time.process_time()
            seen[name] = way(path, grid)
            fastest[name] = min(fastest[name], (time.process_time() - start) / len(grid))
    same = bool(np.array_equal(*seen.values()))
    return {name: seconds * 1e3 for name, seconds in fastest.items()} | {"tiles": len(grid), "same_pixels": same}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    rows = {}
    with tempfile.TemporaryDirectory() as folder:
        for mpp in (0.25, 0.5):
            path = Path(folder) / f"slide-{mpp}.svs"
            write_large_slide(path, 8192, 8192, seed=0, mpp=mpp)
            rows[f"{mpp} um/px"] = measure(path, options.rounds)
    print("| slide | tiles | plain OpenSlide, CPU ms a tile | Pellucid, CPU ms a tile | ratio | same pixels |")
    print("|---|---|---|---|---|---|")
    for name, row in rows.items():
        ratio = row["plain OpenSlide"] / row["Pellucid"]
        print(
            f"| {name} | {row['tiles']} | {row['plain OpenSlide']:.2f} | {row['Pellucid']:.2f} | {ratio:.2f} |"
            f" {'yes' if row['same_pixels'] else 'no'} |"
        )
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2))


if __name__ == "__main__":
    main()
