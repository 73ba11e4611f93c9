"""The streaming engine beside other ways, its loss over encoding alone, and the cores that an H100 would ask of it.

`--part arms`: one slide after the other, a pool whose workers pickle batches to the encoder, and the engine; the same
slides and functions, one thread a process. `--part loss`: the engine with its encoder alone on a core, over encoding
the same decoded tiles there. `--part cores`: CPU by process while a sleeping encoder takes 1,080 tiles/s, as GigaPath
on an H100 would.

Rounds are interleaved, each measurement is a process tree of its own, and slides are dense: sensor noise gives a pixel
as many bits as real scans have. Start-up (imports, models) is reported apart.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, replace
from pathlib import Path
from statistics import median

import numpy as np

from benchmarks import _models, _processes

ARMS = ("sequential", "pool", "engine")
ENCODER_CORE, OTHER_CORE = 1, 0


def small_spec():
    """The small encoder's spec, by a process that imports torch, so that a supervisor needn't."""
    command = [sys.executable, "-m", "benchmarks._models"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=_processes.environment())
    return _models.read_spec(done.stdout)


# One measurement, in a process of its own


def one_engine(job):
    from benchmarks._engine import run_engine

    spec = _models.read_spec(json.dumps(job["spec"]))
    if job.get("core") is not None:
        os.sched_setaffinity(0, {OTHER_CORE})
    models = _models.models(spec, passes=job.get("passes", True), **job.get("encoder", {}))
    with tempfile.TemporaryDirectory() as folder:
        sizes = {"readers": job["readers"], "max_readers": job["readers"], "n_slots": job["slots"]}
        return run_engine(job["paths"], models, Path(folder), **sizes)


def one_sequential(job):
    from benchmarks._arms import sequential

    return sequential(job["paths"])


def one_pool(job):
    from benchmarks._arms import pool

    return pool(job["paths"], job["readers"])


def one_encoding(job):
    """The batches of a slide, decoded before, through the encoder on its core."""
    from benchmarks._arms import batches, looked_at
    from pellucid.engine.open_scans import OpenScans

    encoder = _models.small(**job["encoder"])
    decoded = []
    for path in job["paths"]:
        scan, _, found = looked_at(OpenScans(), path)
        decoded += [pixels for _, pixels in batches(scan, found.grid, encoder.spec.batch_size)]
    decoded = np.concatenate(decoded)
    size = encoder.spec.batch_size
    encoder.encode(decoded[:1])
    for start in range(0, len(decoded), size):
        encoder.encode(decoded[start : start + size]).astype(np.float16)
    return {"tiles": len(decoded)}


def one_hashing(job):
    from pellucid.slides import identify

    start = time.process_time()
    size = identify(Path(job["paths"][0])).size_bytes
    return {"cpu_s_gb": (time.process_time() - start) / size * 1e9}


ONE = {
    "engine": one_engine, "sequential": one_sequential, "pool": one_pool, "encoding": one_encoding,
    "hashing": one_hashing,
}  # fmt: skip


def measured(name, **job):
    job = {"paths": [str(path) for path in job.pop("paths")], **job}
    found = _processes.run_apart(["-m", "benchmarks.engine", "--one", json.dumps([name, job])])
    return found | {"load": _processes.load()}


# Parts


def measure_arms(folder, options, spec):
    from benchmarks._slides import write_slides

    paths = write_slides(folder, options.slides, options.side)
    rows = {name: [] for name in options.arm}
    for _ in range(options.rounds):
        for name in options.arm:
            rows[name].append(measured(name, paths=paths, spec=asdict(spec), readers=options.readers, slots=8))
    answers = [row["logits"] for found in rows.values() for row in found]
    return {"rows": rows, "same_answers": all(one == answers[0] for one in answers)}


def show_arms(found):
    print(
        "| way | tiles | start-up, s | slides/h, best (median) | device busy, best (median) | CPU ms a tile "
        "| peak memory, MiB |"
    )
    print("|---|---|---|---|---|---|---|")
    for name, rows in found["rows"].items():
        rates = [len(row["logits"]) / row["wall_s"] * 3600 for row in rows]
        busy = [row["busy_s"] / row["wall_s"] for row in rows]
        cpu = min(row.get("cpu_s") or sum(row["cpu"].values()) for row in rows) / rows[0]["tiles"] * 1e3
        peak = max(row["peak_mib"] for row in rows)
        print(
            f"| {name} | {rows[0]['tiles']} | {min(row['ready_s'] for row in rows):.1f} "
            f"| {max(rates):.0f} ({median(rates):.0f}) | {max(busy):.0%} ({median(busy):.0%}) "
            f"| {cpu:.2f} | {peak:.0f} |"
        )
    print(f"\nSame answers: {'yes' if found['same_answers'] else 'NO'}. {loads(found['rows'])}")


def measure_loss(folder, options, spec):
    """Both arms leave a line a batch in a log, of which each first is left out.

    Where others take the cores, walls say little; how much more CPU a batch takes beside the engine, and how long the
    encoder has nothing to do, say nearly the same.
    """
    from benchmarks._slides import write_slides

    paths = write_slides(folder, options.slides, options.side)
    rows = {}
    for times in options.times:
        rows[times] = {"encoding": [], "engine": []}
        for _ in range(options.rounds):
            for name in rows[times]:
                log = folder / "batches.log"
                encoder = {"core": ENCODER_CORE, "times": times, "log": str(log)}
                job = {"spec": asdict(spec), "encoder": encoder, "core": ENCODER_CORE, "readers": 1, "slots": 8}
                found = measured(name, paths=paths, **job)
                rows[times][name].append(read_log(log) | {key: found.get(key) for key in ("load", "waited_for")})
    return {"rows": rows}


def read_log(log):
    """Of a log of batches, without that which warms up: seconds from the first's beginning to the last's end."""
    lines = np.loadtxt(log)[1:]
    gaps = lines[1:, 0] - lines[:-1, 1]
    return {
        "wall_s": lines[-1, 1] - lines[0, 0],
        "encode_s": float((lines[:, 1] - lines[:, 0]).sum()),
        "cpu_s": float(lines[:, 2].sum()),
        "tiles": int(lines[:, 3].sum()),
        "batches": len(lines),
        "gap_ms": {"median": float(np.median(gaps)) * 1e3, "p99": float(np.quantile(gaps, 0.99)) * 1e3},
        "gaps_s": float(gaps.sum()),
    }


def show_loss(found):
    print(
        "| encoder, CPU ms a tile | tiles | encoding alone, s | engine, s | ratio of bests (medians) "
        "| CPU of encoding, ratio | gaps, share | both | gap median, p99, ms |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for arms in found["rows"].values():
        alone, engine = arms["encoding"], arms["engine"]
        walls = [[row["wall_s"] for row in rows] for rows in (alone, engine)]
        cpus = [min(row["cpu_s"] for row in rows) for rows in (alone, engine)]
        best = min(engine, key=lambda row: row["wall_s"])
        gaps = min(row["gaps_s"] / row["wall_s"] for row in engine)
        print(
            f"| {cpus[0] / alone[0]['tiles'] * 1e3:.2f} | {best['tiles']} | {min(walls[0]):.2f} "
            f"| {min(walls[1]):.2f} | {min(walls[1]) / min(walls[0]):.3f} "
            f"({median(walls[1]) / median(walls[0]):.3f}) | {cpus[1] / cpus[0]:.3f} "
            f"| {gaps:.2%} | {cpus[1] / cpus[0] / (1.0 - gaps):.3f} "
            f"| {best['gap_ms']['median']:.2f}, {best['gap_ms']['p99']:.1f} |"
        )
    print(f"\n{loads({'a': [row for arms in found['rows'].values() for rows in arms.values() for row in rows]})}")


def measure_cores(folder, options, _):
    from benchmarks._slides import write_slides

    paths = write_slides(folder, options.slides, options.side)
    rows = {batch: [] for batch in options.batch}
    for _ in range(options.rounds):
        for batch in options.batch:
            spec = replace(_models.SLEEPING, batch_size=batch)
            job = {"spec": asdict(spec), "readers": options.readers, "slots": options.slots}
            rows[batch].append(measured("engine", paths=paths, **job))
    hashing = [measured("hashing", paths=paths) for _ in range(max(3, options.rounds))]
    return {"rows": rows, "hashing": hashing, "mb": Path(paths[0]).stat().st_size / 1e6, "slides": len(paths)}


def by_work(row):
    """CPU seconds by work, of one engine's run."""
    readers, cpu = row["readers"], row["cpu"]
    jobs = {kind: readers[kind]["cpu_s"] for kind in ("ReadTiles", "Prepare", "Illustrate")}
    jobs["ReadTiles"] *= row["tiles"] / readers["ReadTiles"]["tiles"]  # the last few aren't written down
    return {
        "read": jobs["ReadTiles"],
        "tissue, quality": jobs["Prepare"],
        "pictures": jobs["Illustrate"],
        "reader transport": cpu["reader"] - sum(jobs.values()),
        "supervisor": cpu["supervisor"],
        "device": cpu["device"],
        "posterior": cpu["posterior"],
    }


def show_cores(found):
    rate = _models.H100_TILES_PER_S
    works = list(by_work(next(iter(found["rows"].values()))[0]))
    names = ", ms | ".join(works[:-1])
    print(f"| batch | tiles | tiles/s | device busy | {names}, ms | all, ms | cores at {rate:.0f}/s |")
    print("|" + "---|" * (len(works) + 5))
    for batch, rows in found["rows"].items():
        tiles = rows[0]["tiles"]
        ms = {work: min(by_work(row)[work] for row in rows) / tiles * 1e3 for work in works}
        total = sum(value for work, value in ms.items() if work != "posterior")
        best = min(rows, key=lambda row: row["wall_s"])
        cells = " | ".join(f"{ms[work]:.3f}" for work in works[:-1])
        print(
            f"| {batch} | {tiles} | {best['tiles'] / best['device_s']:.0f} | {best['busy_s'] / best['device_s']:.1%} "
            f"| {cells} | {total:.3f} | {total * rate / 1e3:.2f} |"
        )
    rows = [row for found_ in found["rows"].values() for row in found_]
    passes = min(row["cpu"]["posterior"] for row in rows) / found["slides"]
    hashing = min(row["cpu_s_gb"] for row in found["hashing"])
    print(f"\nCPU ms are a tile's, the least of the rounds. Beside: 50 passes {passes:.2f} CPU s a slide of ", end="")
    print(f"{rows[0]['tiles'] // found['slides']} tiles; hashing {hashing:.2f} CPU s a GB. {loads({'a': rows})}")


def loads(rows):
    seen = [row["load"] for found in rows.values() for row in found]
    return f"Load of the machine after each round: {min(seen)} to {max(seen)} on {os.cpu_count()} cores."


PARTS = {
    "arms": (measure_arms, show_arms, {"slides": 6, "side": 20480}),
    "loss": (measure_loss, show_loss, {"slides": 2, "side": 24576}),
    "cores": (measure_cores, show_cores, {"slides": 3, "side": 49152}),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=PARTS, nargs="+", default=list(PARTS))
    parser.add_argument("--arm", choices=ARMS, nargs="+", default=list(ARMS), help="of the part `arms`")
    parser.add_argument("--times", type=int, nargs="+", default=[1, 4], help="of `loss`: runs of the encoder a batch")
    parser.add_argument("--batch", type=int, nargs="+", default=[64, 128, 256], help="of `cores`")
    parser.add_argument("--slots", type=int, default=8, help="of `cores`")
    parser.add_argument("--slides", type=int)
    parser.add_argument("--side", type=int, help="px of level 0")
    parser.add_argument("--readers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        name, job = json.loads(options.one)
        print(json.dumps(ONE[name](job)))
        return
    found, spec = {}, small_spec()
    for part in options.part:
        measure, show, defaults = PARTS[part]
        chosen = argparse.Namespace(**vars(options))
        for name, value in defaults.items():
            setattr(chosen, name, getattr(options, name) or value)
        with tempfile.TemporaryDirectory() as folder:
            found[part] = measure(Path(folder), chosen, spec)
        print(f"\n{part}\n")
        show(found[part])
        if options.json:
            options.json.write_text(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
