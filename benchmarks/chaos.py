"""Kill a run's processes a hundred times at random moments: is every answer there, once, and to the bit?

An undisturbed run gives the answers. Then the same scans are run with blows at readers, device, posterior and
supervisor (SIGKILL, SIGSEGV, SIGSTOP for a second and for longer than the stall limit), and at the PostgreSQL server;
whenever the supervisor dies it is started again. Blows are spread over the run by its progress, so that all are struck
before the last scan ends, however fast the machine is.
"""

import argparse
import contextlib
import json
import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from benchmarks import _blows, _trial
from benchmarks._blows import CRASH, KILL, Striker
from pellucid.engine.snapshot import STATUS_NAME, read_snapshot

STALL_S, DEVICE_STALL_S = 12.0, 90.0
STUCK_S = 300.0
_EARLY_S = (0.2, 1.5)
_GOOD_ENDS = {"exit 0", "killed: the engine ends"}
_STRUCK_BY = 0.9  # of the progress: the last blow is well before the last scan


@dataclass(slots=True)
class Log:
    """What `run.jsonl` tells, read as it grows."""

    path: Path
    tiles: int = 0
    ends: int = 0
    ready: list[tuple[float, str]] = field(default_factory=list)
    causes: Counter = field(default_factory=Counter)
    _at: int = 0

    def read(self):
        if not self.path.exists():
            return
        with self.path.open("rb") as file:
            file.seek(self._at)
            for line in file:
                if not line.endswith(b"\n"):
                    break
                self._at += len(line)
                self._take(line)

    def _take(self, line):
        try:
            event = json.loads(line)
        except ValueError:  # a process was killed while it wrote
            return
        what = event.get("event")
        if what in {"scan scored", "scan failed"}:
            self.ends += 1
            self.tiles += event.get("tiles", 0)
        elif what == "process ready":
            at = datetime.fromisoformat(event["timestamp"]).timestamp()
            self.ready.append((at, event["role"]))
        elif what in {"a process died", "a process ended"} and event["cause"] not in _GOOD_ENDS:
            self.causes[f"{event['role']}: {event['cause']}"] += 1


class Chaos:
    """One disturbed run, to its end."""

    def __init__(self, spec, trial, blows, striker, n_tiles, draw, between_s):
        self.spec, self.trial, self.blows, self.striker, self.n_tiles = spec, trial, blows, striker, n_tiles
        self.log = Log(spec.out / "run.jsonl")
        self.draw, self.starts, self.problems = draw, 0, []
        self._n_blows, self._between_s = len(blows), between_s
        self._not_before = 0.0
        self._best, self._moved_at = -1.0, time.monotonic()

    def run(self):
        process = self._start()
        while True:
            self.striker.go_on()
            code = process.poll()
            if code == 0:
                break
            if code is not None:
                self._judge(code)
                process = self._start()
            self._look(process)
            if self.blows and self._is_due() and self.striker.strike(process.pid, self.blows[0]):
                self.blows.pop(0)
                early = bool(self.blows) and self.blows[0].early
                self._not_before = time.monotonic() + self.draw.uniform(*(_EARLY_S if early else self._between_s))
            time.sleep(0.05)
        self.log.read()

    def _start(self):
        self.starts += 1
        self._moved_at = time.monotonic()
        return _trial.start(self.spec, self.trial)

    def _judge(self, code):
        """A supervisor that ended and was not struck is a defect."""
        expected = {-9, -11}
        if code in expected and self.striker.struck and self.striker.struck[-1][1].target == _blows.SUPERVISOR:
            return
        said = (self.spec.out / "said.txt").read_text(errors="replace")[-1500:]
        self.problems.append(f"the supervisor ended by itself with {code}: {said}")
        if len(self.problems) > 5:
            raise SystemExit("\n".join(self.problems))

    def _look(self, process):
        """Notice what stands still: nothing may for this long."""
        self.log.read()
        done = self._progress()
        if done > self._best or self.striker.is_holding:
            self._best, self._moved_at = max(done, self._best), time.monotonic()
        if time.monotonic() - self._moved_at > STUCK_S:
            status = (self.spec.out / STATUS_NAME).read_text()
            self.problems.append(f"no progress for {STUCK_S:.0f} s; status: {status}")
            self._moved_at = time.monotonic()
            process.kill()
            process.wait()

    def _progress(self):
        """The share of tiles that are embedded, of scans that ended and in hand."""
        snapshot = read_snapshot(self.spec.out / STATUS_NAME)
        in_hand = 0 if snapshot is None else sum(scan.tiles_done for scan in snapshot.scans)
        return (self.log.tiles + in_hand) / self.n_tiles

    def _is_due(self):
        if time.monotonic() < self._not_before:
            return False
        struck = self._n_blows - len(self.blows)
        return self.blows[0].early or self._best >= struck / self._n_blows * _STRUCK_BY


def replacements(log, struck):
    """Seconds from a process's kill to the next one of its role being ready, where none other was struck in between."""
    times = {role: [] for role in _blows.ROLES}
    for nth, (at, blow) in enumerate(struck):
        if blow.how not in {KILL, CRASH} or blow.target not in times:
            continue
        after = struck[nth + 1 :]
        until = next((when for when, other in after if other.target in {blow.target, _blows.SUPERVISOR}), float("inf"))
        ready = next((one for one, role in log.ready if role == blow.target and one > at), None)
        if ready is not None and ready < until:
            times[blow.target].append(round(ready - at, 2))
    return times


def compare(calm, wild):
    """How the disturbed run's records differ from those of the undisturbed one."""
    problems = list(wild.problems)
    keys = calm.states.keys() | wild.states.keys()
    problems += [
        f"{key[:12]} is {wild.states.get(key)}, undisturbed {calm.states.get(key)}"
        for key in keys
        if calm.states.get(key) != wild.states.get(key)
    ]
    problems += [
        f"logits of {key[:12]} differ" for key in calm.logits if calm.logits[key] != wild.logits.get(key, calm.logits)
    ]
    return problems


def trial(root, arguments):
    """Both runs, and what came of them."""
    bundle, key = _trial.make_bundle(root)
    _trial.make_large_scans(root / "scans", arguments.scans, side=arguments.side, seed=arguments.seed)
    options = {"readers": 2, "stall_s": STALL_S, "recycle_jobs": 0}
    kinds = {"scans": root / "scans", "bundle": bundle, "key": key, "options": options}
    calm = _trial.RunSpec(out=root / "calm", device_stall_s=DEVICE_STALL_S, **kinds)
    begun = time.monotonic()
    if _trial.start(calm, root).wait():
        raise SystemExit(f"the undisturbed run failed: {(calm.out / 'said.txt').read_text()[-3000:]}")
    calm_s = time.monotonic() - begun
    expected = _trial.read_records(calm.out / "records.sqlite")
    with _server(arguments.database) as server:
        address = None if server is None else server.url(server.fresh_database())
        wild = _trial.RunSpec(out=root / "wild", database=address, device_stall_s=DEVICE_STALL_S, **kinds)
        draw = random.Random(arguments.seed)
        limits = {"reader": STALL_S, "device": DEVICE_STALL_S, "posterior": DEVICE_STALL_S, "supervisor": STALL_S}
        striker = Striker(draw=draw, limits=limits, server=server)
        blows = _blows.plan(arguments.kills, seed=arguments.seed, database=server is not None)
        chaos = Chaos(wild, root, blows, striker, expected.n_tiles, draw, arguments.between)
        segments, begun = _trial.segments(), time.monotonic()
        chaos.run()
        wild_s = time.monotonic() - begun
        time.sleep(1.0)
        problems = [*expected.problems, *chaos.problems, *_trial.left_behind(root, wild.out, segments)]
        recorded = _trial.read_records(address or wild.out / "records.sqlite")
        problems += compare(expected, recorded)
    return {
        "database": arguments.database,
        "seed": arguments.seed,
        "scans": len(expected.states),
        "states": dict(Counter(recorded.states.values())),
        "tiles": expected.n_tiles,
        "blows": dict(sorted(Counter(f"{blow.target} {blow.how}" for _, blow in striker.struck).items())),
        "n_blows": len(striker.struck),
        "not_struck": len(chaos.blows),
        "starts": chaos.starts,
        "ended": dict(chaos.log.causes.most_common()),
        "calm_s": round(calm_s, 1),
        "wild_s": round(wild_s, 1),
        "replaced_after_s": replacements(chaos.log, striker.struck),
        "load": round(os.getloadavg()[0], 1),
        "files_left": _trial.files_left(wild.out),
        "problems": problems,
    }


@contextlib.contextmanager
def _server(database):
    if database == "sqlite":
        yield None
        return
    from tests.postgres_server import running_server

    with running_server() as server:
        yield server


def show(result):
    print(f"{result['n_blows']} blows at a run of {result['scans']} scans ({result['tiles']} tiles) ", end="")
    print(f"on {result['database']}, seed {result['seed']}: {result['wild_s']} s, undisturbed {result['calm_s']} s; ")
    print(f"{result['starts']} starts of the supervisor; {result['states']}; load {result['load']}\n")
    print("| blow | number |\n|---|---|")
    for what, number in result["blows"].items():
        print(f"| {what} | {number} |")
    print("\n| end of a process, as the supervisor logged it | number |\n|---|---|")
    for what, number in result["ended"].items():
        print(f"| {what} | {number} |")
    print("\n| replaced after a kill | number | median s | longest s |\n|---|---|---|---|")
    for role, times in result["replaced_after_s"].items():
        ordered = sorted(times)
        if ordered:
            print(f"| {role} | {len(ordered)} | {ordered[len(ordered) // 2]} | {ordered[-1]} |")
    print(f"\nblows that were left when the last scan ended: {result['not_struck']}")
    print(f"files of work under way that are left: {len(result['files_left'])}")
    for problem in result["problems"]:
        print(f"PROBLEM: {problem}")
    print("no problem" if not result["problems"] else "")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--database", choices=("sqlite", "postgres"), default="sqlite")
    parser.add_argument("--scans", type=int, default=80, help="good scans; six bad ones come on top")
    parser.add_argument("--side", type=int, default=4096, help="of the good scans, pixels")
    # Faster than readers are replaced, nothing goes on, and any job looks deadly.
    parser.add_argument("--between", type=float, nargs=2, default=(1.5, 3.0), help="seconds between blows, at least")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--folder", type=Path, help="where to work; kept afterwards")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    root = arguments.folder or Path(tempfile.mkdtemp(prefix="pellucid-chaos-"))
    root.mkdir(parents=True, exist_ok=True)
    try:
        result = trial(root, arguments)
    finally:
        if arguments.folder is None:
            shutil.rmtree(root, ignore_errors=True)
    print(json.dumps(result)) if arguments.json else show(result)
    return 1 if result["problems"] else 0


if __name__ == "__main__":
    sys.exit(main())
