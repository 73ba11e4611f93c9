"""The other ways from slides to answers: one slide after the other, and a pool whose workers send pickled batches.

Both do what the engine does with the functions that it does it with, and read by superblocks as it does.
"""

import multiprocessing
import resource
import time
from pathlib import Path

import cv2
import numpy as np

from benchmarks import _models
from pellucid.domain.encoder import Decoding
from pellucid.encoders.bag import half_features
from pellucid.engine.looking import illustrate, prepare
from pellucid.engine.messages import Geometry, Illustrate, Prepare, ScanFile
from pellucid.engine.open_scans import OpenScans
from pellucid.engine.reading import N_TOP_TILES
from pellucid.slides import superblocks
from pellucid.slides.tiles import read_tiles_into

GEOMETRY = Geometry(tile_px=224, mpp=0.5, tolerance=0.05, decoding=Decoding.FULL_AREA)


def looked_at(scans, path):
    """The open scan, its file, and what is found of it."""
    file = ScanFile(path=Path(path), mpp=None, mpp_detail="override", fingerprint=None)
    with scans.using(file) as scan:
        return scan, file, prepare(scan, Prepare(job=0, file=file, geometry=GEOMETRY), step=_nothing, open_s=0.0)


def batches(scan, grid, batch):
    """Indices and pixels of a grid's tiles, `batch` at a time."""
    order = np.concatenate(superblocks(grid))
    for start in range(0, len(order), batch):
        index = order[start : start + batch]
        pixels = np.empty((len(index), grid.tile_px, grid.tile_px, 3), np.uint8)
        read_tiles_into(scan.slide, grid.coords[index], grid.level0_px, pixels, decoding=GEOMETRY.decoding)
        yield index, pixels


def drawn(scan, file, grid, passes):
    top = tuple(int(tile) for tile in np.argsort(-passes.attention_mean, kind="stable")[:N_TOP_TILES])
    readable = np.ones(len(grid), np.bool_)
    job = Illustrate(job=0, file=file, geometry=GEOMETRY, grid=grid, readable=readable, top=top)
    return illustrate(scan, job, step=_nothing)


def _nothing():
    pass


def sequential(paths):
    """Stage after stage, slide after slide, in one process."""
    born = time.monotonic()
    cv2.setNumThreads(1)
    encoder, sampler, scans = _models.small(), _models.sampler(192), OpenScans()
    encoder.encode(np.zeros((1, 224, 224, 3), np.uint8))
    began, cpu, busy, tiles, logits = time.monotonic(), time.process_time(), 0.0, 0, {}
    for path in paths:
        scan, file, found = looked_at(scans, path)
        features = np.empty((len(found.grid), encoder.spec.dim), np.float16)
        for index, pixels in batches(scan, found.grid, encoder.spec.batch_size):
            start = time.perf_counter()
            features[index] = half_features(encoder.encode(pixels))
            busy += time.perf_counter() - start
        passes = sampler(features)
        drawn(scan, file, found.grid, passes)
        logits[Path(path).name] = passes.logits.tolist()
        tiles += len(features)
    return {
        "ready_s": began - born,
        "wall_s": time.monotonic() - began,
        "busy_s": busy,
        "tiles": tiles,
        "logits": logits,
        "cpu_s": time.process_time() - cpu,
    }


def pool(paths, workers):
    """Workers with a slide each, from which batches travel pickled through a queue to the process with the encoder."""
    born = time.monotonic()
    cv2.setNumThreads(1)
    context = multiprocessing.get_context("spawn")
    todo, done, answers = context.Queue(), context.Queue(2 * workers), [context.Queue() for _ in range(workers)]
    crew = [context.Process(target=_work, args=(n, todo, done, answers[n])) for n in range(workers)]
    for process in crew:
        process.start()
    encoder, sampler = _models.small(), _models.sampler(192)
    encoder.encode(np.zeros((1, 224, 224, 3), np.uint8))
    cpu = -sum(done.get() for _ in crew)
    began, cpu, busy, tiles = time.monotonic(), cpu - time.process_time(), 0.0, 0
    logits, bags = {}, {}
    for path in paths:
        todo.put(str(path))
    while len(logits) < len(paths):
        number, path, n_tiles, index, pixels = done.get()
        features, seen = bags.setdefault(path, (np.empty((n_tiles, encoder.spec.dim), np.float16), []))
        start = time.perf_counter()
        features[index] = half_features(encoder.encode(pixels))
        busy += time.perf_counter() - start
        seen.extend(index)
        if len(seen) == n_tiles:
            passes = sampler(features)
            answers[number].put(passes)
            logits[Path(path).name] = passes.logits.tolist()
            tiles += n_tiles
            del bags[path]
    wall = time.monotonic() - began
    for _ in crew:
        todo.put(None)
    for process in crew:
        process.join()
    cpu += time.process_time() + _cpu(resource.RUSAGE_CHILDREN)
    return {"ready_s": began - born, "wall_s": wall, "busy_s": busy, "tiles": tiles, "logits": logits, "cpu_s": cpu}


def _work(number, todo, done, answers):
    cv2.setNumThreads(1)
    scans = OpenScans()
    done.put(time.process_time())
    while (path := todo.get()) is not None:
        scan, file, found = looked_at(scans, path)
        for index, pixels in batches(scan, found.grid, 32):
            done.put((number, path, len(found.grid), index, pixels))
        drawn(scan, file, found.grid, answers.get())


def _cpu(who):
    used = resource.getrusage(who)
    return used.ru_utime + used.ru_stime
