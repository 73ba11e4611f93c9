"""Two thousand small slides through one run: does anything grow with their number?

Private memory and open files of every process are sampled once a second while nothing is recycled. Growth is the slope
of a least-squares line of bytes over finished slides, the first fifth left out. A second, shorter run recycles readers
every 50 jobs and counts what is left behind. Encoder, head, readers and records are the real ones, the model is small.
"""

import argparse
import json
import platform
import shutil
import sys
import tempfile
import time
from collections import Counter, defaultdict
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from benchmarks import _trial
from pellucid.engine.snapshot import STATUS_NAME, read_snapshot

GOAL_KB = 5.0
WARM_UP = 0.2
BATCH = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """One process over a run: how much its private memory grew with each slide, and its open files."""

    role: str
    samples: int
    first_mb: float
    last_mb: float
    kb_a_slide: float
    files_first: int
    files_last: int
    files_most: int


def private_bytes(pid):
    """Anonymous resident memory: neither mapped files nor shared buffers. 0 once the process is gone."""
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


def open_files(pid):
    try:
        return len(list(Path(f"/proc/{pid}/fd").iterdir()))
    except OSError:
        return 0


def watch(process, out):
    """Samples until the run ends: (slides finished, bytes, files) by (role, process number)."""
    samples, seen = defaultdict(list), None
    while process.poll() is None:
        time.sleep(0.5)
        snapshot = read_snapshot(out / STATUS_NAME)
        if snapshot is None or snapshot.at == seen:
            continue
        seen = snapshot.at
        finished = sum(snapshot.queue.get(state, 0) for state in ("done", "failed", "quarantined"))
        for one in snapshot.processes:
            bytes_now = private_bytes(one.pid)
            if bytes_now:
                samples[one.role, one.pid].append((finished, bytes_now, open_files(one.pid)))
    return samples


def growth_of(role, samples):
    """The line through one process's samples once a fifth of all slides is done."""
    points = np.array(samples, float)
    slides, memory = points[:, 0], points[:, 1] / 1024
    slope = float(np.polyfit(slides, memory, 1)[0]) if np.ptp(slides) > 0 else 0.0
    return Growth(
        role=role,
        samples=len(points),
        first_mb=round(memory[0] / 1024, 1),
        last_mb=round(memory[-1] / 1024, 1),
        kb_a_slide=round(slope, 2),
        files_first=int(points[0, 2]),
        files_last=int(points[-1, 2]),
        files_most=int(points[:, 2].max()),
    )


def soak(root, name, n_slides, *, recycle_jobs, seed, readers):
    """One run over freshly made slides; figures and all that is wrong."""
    trial = root / name
    _trial.make_small_scans(trial / "scans", n_slides, seed=seed)
    spec = _trial.RunSpec(
        scans=trial / "scans",
        bundle=root / "bundle",
        key=root / "key.pem.pub",
        out=trial / "out",
        options={"readers": readers, "recycle_jobs": recycle_jobs},
    )
    segments, begun = _trial.segments(), time.monotonic()
    process = _trial.start(spec, trial)
    samples = watch(process, spec.out)
    seconds = time.monotonic() - begun
    if process.returncode:
        raise SystemExit(f"the run ended with {process.returncode}: {(spec.out / 'said.txt').read_text()[-2000:]}")
    recorded = _trial.read_records(spec.out / "records.sqlite")
    problems = [*recorded.problems, *_trial.left_behind(trial, spec.out, segments)]
    if len(recorded.states) != n_slides:
        problems.append(f"{len(recorded.states)} tasks of {n_slides} slides")
    warm = n_slides * WARM_UP
    kept = {key: [one for one in points if warm <= one[0] < n_slides] for key, points in samples.items()}
    longest = max(10, *map(len, kept.values()))
    snapshot = read_snapshot(spec.out / STATUS_NAME)
    return {
        "run": name,
        "slides": n_slides,
        "seconds": round(seconds, 1),
        "slides_per_h": round(n_slides / seconds * 3600),
        "tiles": recorded.n_tiles,
        "states": dict(Counter(recorded.states.values())),
        "restarts": {f"{one.role} {one.cause}": one.count for one in snapshot.restarts},
        # One that was replaced is still filling its caches: its line says nothing.
        "growth": [
            asdict(growth_of(role, points)) for (role, _), points in kept.items() if len(points) >= 0.8 * longest
        ],
        "processes_sampled": len(samples),
        "files_left": _trial.files_left(spec.out),
        "problems": problems,
    }


def show(result):
    print(f"\n{result['run']}: {result['slides']} slides ({result['tiles']} tiles) in {result['seconds']} s, ", end="")
    print(f"{result['slides_per_h']} slides/h; {result['states']}; restarts {result['restarts'] or 'none'}")
    print("| process | samples | private MB, first to last | kB a slide | open files, first / last / most |")
    print("|---|---|---|---|---|")
    for one in result["growth"]:
        print(
            f"| {one['role']} | {one['samples']} | {one['first_mb']} to {one['last_mb']} | {one['kb_a_slide']} "
            f"| {one['files_first']} / {one['files_last']} / {one['files_most']} |"
        )
    print(f"files of work under way that are left: {len(result['files_left'])}")
    for problem in result["problems"]:
        print(f"PROBLEM: {problem}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slides", type=int, default=2000)
    parser.add_argument("--recycled-slides", type=int, default=200, help="of the run that recycles; 0 leaves it out")
    parser.add_argument("--readers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--folder", type=Path, help="where to work; kept afterwards")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    root = arguments.folder or Path(tempfile.mkdtemp(prefix="pellucid-soak-"))
    root.mkdir(parents=True, exist_ok=True)
    try:
        _trial.make_bundle(root, batch_size=BATCH)
        runs = [("recycling off", arguments.slides, 0), ("recycling every 50 jobs", arguments.recycled_slides, 50)]
        results = []
        for name, number, jobs in runs:
            if number:
                made = soak(
                    root, name, number, recycle_jobs=jobs, seed=arguments.seed + jobs, readers=arguments.readers
                )
                results.append(made)
                if not arguments.json:
                    show(made)
    finally:
        if arguments.folder is None:
            shutil.rmtree(root, ignore_errors=True)
    if arguments.json:
        print(json.dumps({"runs": results, "seed": arguments.seed, "machine": platform.machine()}))
    grown = [one for one in results[:1] for one in one["growth"] if one["kb_a_slide"] > GOAL_KB]
    for one in grown:
        print(f"ABOVE THE GOAL: {one['role']} grows by {one['kb_a_slide']} kB a slide", file=sys.stderr)
    return 1 if grown or any(one["problems"] for one in results) else 0


if __name__ == "__main__":
    sys.exit(main())
