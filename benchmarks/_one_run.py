"""One run as a process that can be killed: `python -m benchmarks._one_run told.json`, which `_trial.start` writes.

Ends with 0 where the run completed. `descriptors.json` in the output folder then has the open files, before and after.
"""

import contextlib
import functools
import gc
import json
import resource
import sys
from pathlib import Path

from pellucid.bundle import load_bundle, load_trusted_keys
from pellucid.domain.policy import SitePolicy
from pellucid.pipeline import RunOptions, gather, run_cohort, stop_on_signals
from pellucid.pipeline import run as run_module


class Silent:
    """Events that nobody watches."""

    def hashed(self, done, total):
        pass

    def queued(self, waiting, known):
        pass

    def started(self, scan):
        pass

    def tiles(self, number):
        pass

    def paused(self, because):
        print("goes on" if because is None else f"paused: {because.code} {because.message}", flush=True)

    def snapshot(self, snapshot):
        pass

    def ended(self, scan, probability, code):
        pass


def open_files():
    """What each of this process's descriptors leads to, sorted."""
    gc.collect()
    found = []
    for descriptor in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            found.append(str(descriptor.readlink()))
    return sorted(found)


def main():
    told = json.loads(Path(sys.argv[1]).read_text())
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # The limit of the processes that hold models isn't among a run's options: the default of ten minutes is right for
    # everything but this.
    run_module.EngineConfig = functools.partial(run_module.EngineConfig, device_stall_s=told["device_stall_s"])
    bundle = load_bundle(Path(told["bundle"]), load_trusted_keys([Path(told["key"])]))
    cohort = gather([Path(told["scans"])])
    out, before = Path(told["out"]), open_files()
    with stop_on_signals(lambda: None) as stop:
        summary = run_cohort(
            cohort,
            bundle,
            out,
            policy=SitePolicy(name="trial"),
            events=Silent(),
            options=RunOptions(database=told["database"], **told["options"]),
            stop=stop,
        )
    (out / "descriptors.json").write_text(json.dumps({"before": before, "after": open_files()}))
    print(summary, flush=True)
    return 0 if summary.completed and not summary.left else 3


if __name__ == "__main__":
    sys.exit(main())
