"""What it costs to have tiles read by another process: CPU beyond the reading itself, and how soon a process is of use.

A real supervisor's side talks to a real reader process whose slides open and read at once and write nothing. What is
left is messages, jobs, places in buffers and, where a job's tiles lie in two buffers, one copy. Minima over rounds.
"""

import argparse
import asyncio
import json
import os
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from pellucid.domain.encoder import Decoding
from pellucid.engine import reader
from pellucid.engine.buffers import Buffers
from pellucid.engine.child import run
from pellucid.engine.children import start_child
from pellucid.engine.messages import BufferShape, Geometry, ReadTiles, Ready, Role, ScanFile, Setup, Target, TilesRead

BATCH, TILE_PX, DIM = 64, 224, 1536
AT_ONCE = 2  # jobs in a reader's hand, as the engine gives them
GEOMETRY = Geometry(tile_px=TILE_PX, mpp=0.5, tolerance=0.05, decoding=Decoding.FULL_AREA)
FILE = ScanFile(path=Path("scan.svs"), mpp=None, mpp_detail="override", fingerprint="0" * 64)


class Instant:
    """A scan that is open and read at once."""

    slide = None

    @contextmanager
    def using(self, _):
        yield self

    def close(self):
        pass


def make_reader(setup, buffers):
    made = reader.Reader(setup, buffers)
    made._scans = Instant()
    readable = {n: np.ones(n, bool) for n in range(BATCH + 1)}
    reader.read_tiles_into = lambda _slide, coords, *_, **__: readable[len(coords)]
    return made


def targets_of(size, nth, *, split):
    """Where a job's tiles lie: in one buffer, or half in each of two."""
    if not split:
        first = nth * size % BATCH
        return (Target(0, first, size),)
    return (Target(0, 0, size // 2), Target(1, 0, size - size // 2))


async def measure(size, n_jobs, *, split=False):
    """CPU in us a tile of supervisor and reader, for jobs of `size` tiles."""
    shape = BufferShape(n_slots=2, batch=BATCH, tile_px=TILE_PX, dim=DIM)
    buffers = Buffers.create(shape)
    finished, sent, done = asyncio.Event(), 0, 0
    coords = np.zeros((size, 2), np.int32)
    started = time.perf_counter()
    seen = {}

    def send():
        nonlocal sent
        if sent < n_jobs:
            job = ReadTiles(
                job=sent,
                file=FILE,
                geometry=GEOMETRY,
                level0_px=448,
                coords=coords,
                targets=targets_of(size, sent, split=split),
            )
            child.send(job)
            sent += 1

    def heard(_, message):
        nonlocal done
        if isinstance(message, Ready):
            seen["start"] = time.perf_counter() - started
            seen["own"], seen["its"], seen["at"] = time.process_time(), child.cpu_s, time.perf_counter()
            for _ in range(AT_ONCE):
                send()
        elif isinstance(message, TilesRead):
            done += 1
            send()
            if done == n_jobs:
                finished.set()

    setup = Setup(role=Role.READER, number=0, buffers=shape)
    child = await start_child(
        setup,
        buffers,
        module="benchmarks.transport",
        on_message=heard,
        on_end=lambda _, ending: print(ending.last_words),
    )
    await asyncio.wait_for(finished.wait(), 120)
    tiles = n_jobs * size
    found = {
        "supervisor_us": (time.process_time() - seen["own"]) / tiles * 1e6,
        "reader_us": (child.cpu_s - seen["its"]) / tiles * 1e6,
        "tiles_per_s": tiles / (time.perf_counter() - seen["at"]),
        "ready_after_s": seen["start"],
    }
    child._on_end = lambda *_: None
    child.kill("measured")
    await asyncio.sleep(0.1)
    buffers.close()
    return found


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tiles", type=int, default=100_000)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    os.environ["PYTHONPATH"] = str(Path(__file__).parents[1])
    rows = {}
    for name, size, split in (("16 tiles", 16, False), ("16 tiles in two", 16, True), ("4 tiles", 4, False)):
        found = [
            asyncio.run(measure(size, arguments.tiles // size // (10 if split else 1), split=split))
            for _ in range(arguments.rounds)
        ]
        best = {key: min(one[key] for one in found) for key in found[0]}
        best["tiles_per_s"] = max(one["tiles_per_s"] for one in found)
        best["together_us"] = min(one["supervisor_us"] + one["reader_us"] for one in found)
        rows[name] = best
        print(
            f"{name:16} supervisor {best['supervisor_us']:5.1f} us, reader {best['reader_us']:5.1f} us, "
            f"together {best['together_us']:5.1f} us a tile; {best['tiles_per_s']:8.0f} tiles/s; "
            f"ready after {best['ready_after_s']:.2f} s"
        )
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2))


if __name__ == "__main__":
    if "--fd" in sys.argv:
        run(make_reader)
    else:
        main()
