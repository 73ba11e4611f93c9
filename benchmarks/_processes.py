"""Memory and CPU of processes and of all that they start, as the kernel counts them."""

import contextlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil


def pss_mib(pid):
    """Proportional memory in MiB: what is shared counts in parts. 0 once the process is gone."""
    with contextlib.suppress(OSError, ProcessLookupError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1024
    return 0.0


def tree(pid):
    """A process and its descendants: (pid, name)."""
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(pid)
        return [(one.pid, name_of(one.pid)) for one in (process, *process.children(recursive=True))]
    return []


def name_of(pid):
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def run_apart(arguments, *, every_s=0.25, on_sample=None):
    """Run `python -m ...` whose last line of output is JSON; adds the highest sum of proportional memory of its tree.

    Args:
        arguments: after `python`.
        every_s: seconds between samples.
        on_sample: called with the seconds since the start, and MiB by (pid, name).
    """
    process = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.PIPE, text=True, env=environment())
    peak, start = 0.0, time.monotonic()
    while process.poll() is None:
        sizes = {one: pss_mib(one[0]) for one in tree(process.pid)}
        peak = max(peak, sum(sizes.values()))
        if on_sample is not None:
            on_sample(time.monotonic() - start, sizes)
        time.sleep(every_s)
    output = process.stdout.read()
    if process.returncode:
        raise SystemExit(f"{' '.join(arguments)} ended with {process.returncode}")
    return json.loads(output.strip().splitlines()[-1]) | {"peak_mib": peak}


def environment():
    """One thread a process, and this folder's modules for the engine's processes."""
    paths = [str(Path(__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
    return os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(paths)}


def load():
    return round(os.getloadavg()[0], 1)
