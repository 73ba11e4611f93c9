# ruff: noqa: A005 - run as benchmarks.queue
"""The queue on PostgreSQL and SQLite: claims and answers a second with many workers, and latency in a full table.

Both write through to the disk, as in use. The server is one of its own, started for this.
"""

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from sqlalchemy import text
from tests.postgres_server import running_server

from pellucid.domain.decision import Versions
from pellucid.domain.observation import Observation
from pellucid.records import NewTask, open_records, process_owner

RUN = "benchmark"
FILL = """
INSERT INTO task (key, kind, lane, specimen, payload, priority, state, attempts, max_attempts, token, run, enqueued_at,
  finished_at, waiting_since, rank, deaths, kills, alone)
WITH RECURSIVE number(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < :last)
SELECT CAST(n AS text) || :state, 'scan', 'm', 'S', '{{}}', 0, :state, 1, 3, 1, '{run}', '2026-01-01T00:00:00.000Z',
  {finished}, 1.7e9 + n, -1.7e9 - n, 0, 0, {no} FROM number
"""
FIELDS = ("scanner", "mpp", "mpp_source", "distance", "mean_logit", "sd_logit", "probability", "mutual_information")


def observation(task):
    return Observation(
        scan=task.key,
        specimen=task.specimen,
        run=RUN,
        at="2026-01-01T00:00:00.000Z",
        purpose="run",
        strata={},
        n_tiles=0,
        features={},
        embedding=(),
        reasons=(),
        error=None,
        timings={},
        model="m",
        policy="p",
        software="s",
        **dict.fromkeys(FIELDS),
    )


def work(address, seconds):
    """Claim and answer until the time is over; prints how many."""
    with open_records(address) as records:
        print("ready", flush=True)
        sys.stdin.readline()
        done, end = 0, time.monotonic() + seconds
        while time.monotonic() < end:
            task = records.claim(process_owner(), lane="m")
            records.complete(task, observation=observation(task), logits=[0.1] * 50)
            done += 1
        print(done, flush=True)


def throughput(address, n_workers, seconds):
    command = [sys.executable, "-m", "benchmarks.queue", "--work", address, "--seconds", str(seconds)]
    workers = [subprocess.Popen(command, stdin=-1, stdout=-1, text=True) for _ in range(n_workers)]
    for worker in workers:
        worker.stdout.readline()
    for worker in workers:
        worker.stdin.write("\n")
        worker.stdin.flush()
    return sum(int(worker.communicate()[0]) for worker in workers) / seconds


def fill(records, state, number):
    with records._database.write() as connection:
        kind = connection.dialect.name
        statement = FILL.format(
            run=RUN,
            finished="'2026-01-01T00:00:00.000Z'" if state == "done" else "NULL",
            no="false" if kind == "postgresql" else "0",
        )
        connection.execute(text(statement), {"last": number, "state": state})


def timed(repeats, act):
    seconds = []
    for _ in range(repeats):
        begun = time.perf_counter()
        act()
        seconds.append(time.perf_counter() - begun)
    return {
        "p50_ms": round(1000 * statistics.median(seconds), 2),
        "p95_ms": round(1000 * statistics.quantiles(seconds, n=20)[-1], 2),
    }


def latency(records, repeats):
    owner, held = process_owner(), []
    claims = timed(repeats, lambda: held.append(records.claim(owner, lane="m")))
    urgent = timed(repeats, lambda: records.claim(owner, lane="m", min_priority=1000))
    extends = timed(max(20, repeats // 10), lambda: records.extend_all(held, lease_s=600, progressed=[held[0].key]))
    ends = timed(repeats, lambda: records.complete(task := held.pop(), observation=observation(task)))
    return {
        "claim": claims,
        "claim_of_stat_alone": urgent,
        f"extend_all_of_{repeats}": extends,
        "complete": ends,
        "summary": timed(20, records.queue_summary),
    }


def measure(address, n_workers, seconds, n_done, n_queued):
    versions = Versions(model="m", policy="p", software="s", software_version="0")
    with open_records(address) as records:
        records.start_run(run_id=RUN, purpose="run", versions=versions, settings={}, command="")
        records.register_specimen("S", "C", "P", [], {})
        tasks = [NewTask(key=f"k{number}", kind="scan", lane="m", specimen="S") for number in range(30_000)]
        begun = time.perf_counter()
        records.enqueue(tasks, run_id=RUN)
        entered = len(tasks) / (time.perf_counter() - begun)
        rate = throughput(address, n_workers, seconds)
        found = {"entered_a_second": round(entered), f"answered_a_second_{n_workers}_workers": round(rate, 1)}
        fill(records, "done", n_done)
        fill(records, "queued", n_queued)
        found["rows"] = sum(records.counts().values())
        return found | latency(records, 300)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, default=24)
    parser.add_argument("--seconds", type=float, default=15)
    parser.add_argument("--done", type=int, default=1_000_000)
    parser.add_argument("--queued", type=int, default=100_000)
    parser.add_argument("--work", metavar="ADDRESS", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.work:
        work(chosen.work, chosen.seconds)
        return
    print(json.dumps({"cores": len(os.sched_getaffinity(0)), "load": os.getloadavg()[0]}))
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(running_server(durable=True))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=Path.cwd())))
        addresses = {"postgresql": server.url(server.fresh_database()), "sqlite": str(folder / "records.sqlite")}
        for name, address in addresses.items():
            found = measure(address, chosen.workers, chosen.seconds, chosen.done, chosen.queued)
            print(json.dumps({name: found}, indent=2), flush=True)


if __name__ == "__main__":
    main()
