"""One slide of real size through the engine: seconds by stage, memory of each process over time, and a kill at 90 %.

The slide has 100,000 x 80,000 px at 0.25 um/px and sensor noise, which makes it 2 GB or more. It is answered once
without a break, then by an engine whose whole process group is killed when 90 % of its tiles are on disk, and by the
engine after it, which goes on. Tiles that went through the encoder more than once are counted from its own log.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import asdict, replace
from pathlib import Path

from benchmarks import _models, _processes
from benchmarks.engine import small_spec
from pellucid.engine.checkpoint import describe

READERS, SLOTS = 2, 8
LIMIT_S = 3600.0


def answer(job):
    """One run, in a process of its own."""
    from benchmarks._engine import run_engine

    begun = str(Path(job["log"]).with_suffix(".begun"))
    spec = _models.read_spec(json.dumps(job["spec"]))
    models = _models.models(spec, log=job["log"], begun=begun, **job["encoder"])
    sizes = {"readers": READERS, "max_readers": READERS, "n_slots": SLOTS}
    found = run_engine([job["slide"]], models, Path(job["folder"]), **sizes)
    return {key: value for key, value in found.items() if key != "logits"} | {"answers": list(found["logits"].values())}


def hashing(job):
    from pellucid.slides import identify

    cpu, start = time.process_time(), time.perf_counter()
    size = identify(Path(job["slide"])).size_bytes
    return {"gb": size / 1e9, "cpu_s": time.process_time() - cpu, "seconds": time.perf_counter() - start}


def command(name, job):
    return ["-m", "benchmarks.large_slide", "--one", json.dumps([name, job])]


def uninterrupted(job):
    """A run's figures, and for each kind of process its memory in MiB over time: (seconds, MiB)."""
    sizes = defaultdict(list)

    def on_sample(seconds, of):
        for (pid, name), mib in of.items():
            sizes[f"{name} {pid}"].append((round(seconds, 1), round(mib, 1)))

    return _processes.run_apart(command("answer", job), every_s=1.0, on_sample=on_sample) | {"memory": dict(sizes)}


def killed(job, share):
    """Kill a run once so many of its tiles are on disk; the state of its checkpoint then."""
    process = subprocess.Popen(
        [sys.executable, *command("answer", job)],
        stdout=subprocess.DEVNULL,
        start_new_session=True,
        env=_processes.environment(),
    )
    deadline = time.monotonic() + LIMIT_S
    while not (state := only_checkpoint(job["folder"])) or state.n_done < share * state.header.n_tiles:
        if process.poll() is not None or time.monotonic() > deadline:
            raise SystemExit("the run ended before it could be killed")
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    time.sleep(1.0)  # its children die of its death
    return only_checkpoint(job["folder"])


def only_checkpoint(folder):
    found = list(Path(folder, "checkpoints").glob("*.embeddings"))
    return describe(found[0]) if found else None


def tiles_in(file):
    """Tiles of the batches that an encoder wrote down, without its trial of one tile."""
    return sum(int(line.split()[-1]) for line in Path(file).read_text().splitlines()) - 1


def interrupted(job, folder, share):
    logs = [folder / "before.log", folder / "after.log"]
    runs = [job | {"folder": str(folder / "killed"), "log": str(log)} for log in logs]
    (folder / "killed").mkdir()
    state = killed(runs[0], share)
    after = _processes.run_apart(command("answer", runs[1]))
    ended, begun = (sum(tiles_in(log.with_suffix(end)) for log in logs) for end in (".log", ".begun"))
    return {
        "tiles": state.header.n_tiles,
        "on_disk": state.n_done,
        "again": ended - state.header.n_tiles,
        "begun_again": begun - state.header.n_tiles,
        "resumed": after["circumstances"],
        "ready_s": after["ready_s"],
        "wall_s": after["wall_s"],
        "answers": after["answers"],
    }


def show(found):
    run, broken, file = found["run"], found["killed"], found["hashing"]
    print(f"{file['gb']:.2f} GB, {run['tiles']} tiles, batch {found['batch']}, {READERS} readers.\n")
    print("| what | seconds |")
    print("|---|---|")
    print(f"| hashing | {file['seconds']:.1f} ({file['cpu_s']:.1f} CPU s, {file['cpu_s'] / file['gb']:.2f} a GB) |")
    print(f"| start-up of the processes | {run['ready_s']:.1f} |")
    for stage, seconds in run["seconds"].items():
        print(f"| {stage}{', summed over readers' if stage == 'read' else ''} | {seconds:.1f} |")
    print(f"| from claim to answer | {run['wall_s']:.1f} |")
    print(f"| CPU: {', '.join(run['cpu'])} | {', '.join(f'{seconds:.1f}' for seconds in run['cpu'].values())} |")
    print("\n| process | MiB after a quarter of its samples | halfway | at the end | peak |")
    print("|---|---|---|---|---|")
    for name, series in run["memory"].items():
        sizes = [mib for _, mib in series if mib]
        if len(sizes) >= 4:
            parts = [sizes[len(sizes) // 4], sizes[len(sizes) // 2], sizes[-2], max(sizes)]
            print(f"| {name.split()[0]} | {' | '.join(f'{mib:.0f}' for mib in parts)} |")
    print(f"\nAll together at most {run['peak_mib']:.0f} MiB.")
    print(
        f"\nKilled at {broken['on_disk']} of {broken['tiles']} tiles on disk: {broken['again']} tiles were embedded "
        f"twice, and {broken['begun_again']} begun twice ({broken['begun_again'] / found['batch']:.1f} batches); "
        f"same answer: {'yes' if broken['answers'] == run['answers'] else 'NO'}; "
        f"{broken['wall_s']:.1f} s from claim to answer, after {broken['ready_s']:.1f} s of start-up."
    )
    print(f"Load of the machine at the end: {found['load']} on {os.cpu_count()} cores.")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, default=100_000)
    parser.add_argument("--height", type=int, default=80_000)
    parser.add_argument("--noise", type=float, default=8.0, help="of the sensor: the file's size follows it")
    parser.add_argument("--tissue", type=float, default=0.9, help="share of the slide")
    parser.add_argument("--encoder", choices=("sleeping", "small"), default="sleeping")
    parser.add_argument("--batch", type=int, default=128, help="of the sleeping encoder")
    rate = _models.H100_TILES_PER_S
    parser.add_argument("--tiles-per-s", type=float, default=rate, help="of the sleeping encoder; a low one is awaited")
    parser.add_argument("--share", type=float, default=0.9, help="of the tiles, when the run is killed")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        name, job = json.loads(options.one)
        print(json.dumps({"answer": answer, "hashing": hashing}[name](job)))
        return
    from benchmarks._slides import write_dense_slide

    sleeping = options.encoder == "sleeping"
    spec = replace(_models.SLEEPING, batch_size=options.batch) if sleeping else small_spec()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        look = {"noise": options.noise, "tissue_share": options.tissue}
        slide = write_dense_slide(folder / "large.svs", options.width, options.height, **look)
        job = {"slide": str(slide), "spec": asdict(spec), "folder": str(folder), "log": str(folder / "whole.log")}
        job["encoder"] = {"tiles_per_s": options.tiles_per_s} if sleeping else {}
        found = {"batch": spec.batch_size, "hashing": _processes.run_apart(command("hashing", job))}
        found |= {"run": uninterrupted(job), "killed": interrupted(job, folder, options.share)}
        found["load"] = _processes.load()
    show(found)
    if options.json:
        options.json.write_text(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
