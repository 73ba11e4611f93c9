"""The status as text for a terminal, and as plain JSON."""

from dataclasses import asdict
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from pellucid.cli.jobs import EngineReport, Life, RunReport, ScanReport, Status
from pellucid.cli.quantities import listed, size, span
from pellucid.cli.queue_view import counts, pause_line, summary_lines
from pellucid.cli.train_status_view import report_view
from pellucid.core.serial import to_plain

_COLOURS = {
    Life.ALIVE: "green",
    Life.SILENT: "yellow",
    Life.DEAD: "red",
    Life.ENDED: "dim",
    Life.UNKNOWN: "yellow",
}
_OWNER = {
    Life.ALIVE: "alive",
    Life.SILENT: "its lease ran out",
    Life.DEAD: "dead; the next worker takes it over",
}
_MEANING = {
    Life.ALIVE: "alive",
    Life.SILENT: "SILENT: it hangs, or its machine is gone",
    Life.DEAD: "DEAD: its process is gone; the same command goes on where it stopped",
    Life.ENDED: "ended",
    Life.UNKNOWN: "not known from here",
}


def status_plain(status: Status) -> dict[str, Any]:
    """The status as plain JSON."""
    queue = status.queue
    return {
        "problem": status.problem,
        "engine": None
        if status.engine is None
        else {
            "life": status.engine.life.value,
            "age_s": round(status.engine.age_s, 1),
            "snapshot": to_plain(status.engine.snapshot),
        },
        "runs": to_plain(status.runs),
        "scans": to_plain(status.scans),
        "queue": None
        if queue is None
        else {
            "counts": counts(queue),
            "oldest_waiting_s": queue.oldest_waiting_s,
            "oldest_stat_s": queue.oldest_stat_s,
        },
        "pauses": [asdict(one) for one in status.pauses],
        "quarantined": to_plain(status.quarantined),
        "trainings": to_plain(status.trainings),
    }


def status_view(status: Status) -> RenderableType:
    """The status for a terminal."""
    parts: list[RenderableType] = []
    if status.problem is not None:
        parts.append(Text(status.problem, style="red"))
    parts += _engine(status.engine)
    if status.runs:
        parts += [_heading("Runs recorded as running"), *(_run(run) for run in status.runs)]
    if status.scans:
        parts.append(_heading("Scans begun"))
        for scan in status.scans:
            parts += _scan(scan)
    elif status.problem is None and not status.trainings:
        parts.append(Text("No scan is begun: a kill or a power cut loses nothing."))
    if status.queue is not None:
        parts += [_heading("Queue"), *summary_lines(status.queue)]
    else:
        parts += [pause_line(one) for one in status.pauses]
    if status.quarantined:
        parts.append(_heading("In quarantine, until somebody looks and requeues"))
        parts += [
            Text(f"{one.scan}  {one.code or ''}  since {span(one.since_s)}: {one.cause}") for one in status.quarantined
        ]
    if status.trainings:
        parts += [_heading("Trainings here"), *(report_view(report) for report in status.trainings)]
    return Group(*parts)


def _engine(engine: EngineReport | None) -> list[RenderableType]:
    if engine is None:
        return [Text("No engine has written its status here.")]
    snapshot = engine.snapshot
    lines: list[RenderableType] = [
        Text.assemble(
            f"Engine of run {snapshot.run_id}: ",
            (_MEANING[engine.life], _COLOURS[engine.life]),
            f". It last said {snapshot.state.value}, {span(engine.age_s)} ago.",
        )
    ]
    if snapshot.paused_because:
        lines.append(Text(f"Paused, nothing is lost: {snapshot.paused_because}", style="yellow"))
    if engine.life in {Life.ALIVE, Life.SILENT}:
        lines.append(
            Text(
                f"{snapshot.tiles_per_s:.0f} tiles/s, {snapshot.slides_per_h:.1f} scans/h, device "
                f"{snapshot.device_busy_share:.0%} busy in the last minute, {snapshot.device_busy_share_run:.0%} of "
                f"the run; {snapshot.readers} readers; processes: {_processes(snapshot.processes)}"
            )
        )
        lines.append(Text(snapshot.lost_if_killed))
    restarts = {f"{one.role} {one.cause.value}": one.count for one in snapshot.restarts}
    if restarts:
        lines.append(Text(f"Processes replaced: {listed(restarts)}", style="yellow"))
    return lines


def _processes(processes: tuple[Any, ...]) -> str:
    return f"{len(processes)}, {size(sum(process.rss_bytes for process in processes))}"


def _run(run: RunReport) -> Text:
    return Text.assemble(
        f"{run.run_id}  {run.command}, started {span(run.started_s)} ago, {run.in_hand} scans in hand: ",
        (_MEANING[run.life], _COLOURS[run.life]),
    )


def _scan(scan: ScanReport) -> list[RenderableType]:
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    total = "?" if scan.tiles_total is None else scan.tiles_total
    step = "no step kept yet" if scan.last_step_s is None else f"last durable step {span(scan.last_step_s)} ago"
    who = f", by {scan.owner} ({_OWNER.get(scan.life, 'not known from here')})" if scan.owner is not None else ""
    alone = ", alone" if scan.alone else ""
    table.add_row(scan.scan, f"{scan.state}{alone}: {scan.tiles_kept} of {total} tiles, {step}{who}")
    table.add_row("", f"A kill loses {scan.kill}.")
    table.add_row("", f"A power cut loses {scan.power_cut}.")
    return [table]


def _heading(text: str) -> Text:
    return Text(text, style="bold underline")
