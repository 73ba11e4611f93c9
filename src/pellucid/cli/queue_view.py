"""The queue as a table, as lines and as plain JSON; scans by pseudonym, never by path or name."""

import time
from collections.abc import Collection
from dataclasses import asdict
from datetime import datetime
from functools import cache
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from pellucid.cli.finding import scan_name
from pellucid.cli.quantities import listed, span
from pellucid.core.telemetry.logs import redact
from pellucid.records import STAT_PRIORITY, Pause, QueueSummary, Records, Task, TaskState, is_dead

STATES = ("leased", "queued", "backoff", "quarantined", "failed", "done")
"""The states in the order of the list; `backoff` is queued, but not before some time."""
_ANY_ORDER = 2000
"""Of a state with more tasks than this, those created first are looked at: the list is for people."""
_SHOWN_LANE = 8


def read_tasks(
    records: Records, states: Collection[str], *, lane: str | None = None, at_most: int | None = None
) -> list[Task]:
    """Tasks of these states in the order of the list: by state, and queued ones in the order of their turn."""
    now = time.time()
    wanted = {TaskState.QUEUED if state == "backoff" else TaskState(state) for state in states}
    tasks = [task for state in wanted for task in records.tasks(state=state, lane=lane, limit=at_most)]
    return sorted((task for task in tasks if state_of(task, now) in states), key=lambda task: _place(task, now))


def state_of(task: Task, now: float) -> str:
    """The state as a person reads it."""
    return "backoff" if task.state is TaskState.QUEUED and (task.not_before or 0.0) > now else task.state.value


def queue_plain(records: Records, states: Collection[str], *, lane: str | None, limit: int) -> dict[str, Any]:
    """The list as plain JSON."""
    summary, now = records.queue_summary(lane), time.time()
    tasks = read_tasks(records, states, lane=lane, at_most=max(limit, _ANY_ORDER))[:limit]
    return {
        "counts": counts(summary),
        "oldest_waiting_s": summary.oldest_waiting_s,
        "oldest_stat_s": summary.oldest_stat_s,
        "lanes": {name: {state.value: number for state, number in own.items()} for name, own in summary.lanes.items()},
        "pauses": [asdict(one) for one in summary.pauses],
        "tasks": [task_plain(records, task, now) for task in tasks],
    }


def counts(summary: QueueSummary) -> dict[str, int]:
    """How many tasks are in each state of the list."""
    numbers = {state.value: number for state, number in summary.counts.items()}
    numbers |= {"queued": numbers["queued"] - summary.in_backoff, "backoff": summary.in_backoff}
    return {state: numbers[state] for state in STATES}


def task_plain(records: Records, task: Task, now: float) -> dict[str, Any]:
    """One task as plain JSON."""
    return {
        "scan": scan_name(records, task),
        "specimen": records.pseudonym("specimen", task.specimen),
        "key": task.key,
        "lane": task.lane,
        "state": state_of(task, now),
        "priority": task.priority,
        "stat": task.priority >= STAT_PRIORITY,
        "attempts": task.attempts,
        "deaths": task.deaths,
        "kills": task.kills,
        "alone": task.alone,
        "run": task.run,
        "owner": task.owner,
        "owner_dead": None if task.owner is None else is_dead(task.owner),
        "lease_left_s": None if task.lease_until is None else round(task.lease_until - now, 1),
        "again_in_s": None if task.not_before is None else round(max(0.0, task.not_before - now), 1),
        "enqueued_at": task.enqueued_at,
        "finished_at": task.finished_at,
        "error_code": task.error_code,
        "cause": _cause(task),
        "remedy": _remedy(task),
    }


def task_lines(records: Records, task: Task, now: float) -> list[str]:
    """One task in words."""
    stat = ", STAT" if task.priority >= STAT_PRIORITY else ""
    lines = [
        f"Scan {scan_name(records, task)} of specimen {records.pseudonym('specimen', task.specimen)}",
        f"  key        {task.key}",
        f"  lane       {task.lane or '(none)'}",
        f"  state      {state_of(task, now)}{', ' + note if (note := _note(task, now)) else ''}",
        f"  priority   {task.priority}{stat}",
        f"  entered    {task.enqueued_at}, {span(_age(task.enqueued_at, now))} ago, last for run {task.run or 'none'}",
    ]
    if task.finished_at is not None:
        lines.append(f"  ended      {task.finished_at}, {span(_age(task.finished_at, now))} ago")
    lines.append(
        f"  attempts   {task.attempts}; its owners died {task.deaths} times since its last step"
        f"{', it is worked on alone' if task.alone else ''}; {task.kills} of {task.max_attempts} processes died of it"
    )
    if task.error_code is not None or _cause(task) is not None:
        lines.append(f"  trouble    {task.error_code or ''} {_cause(task) or ''}".rstrip())
    if (remedy := _remedy(task)) is not None:
        lines.append(f"  -> {remedy}")
    return lines


def list_view(records: Records, states: Collection[str], *, lane: str | None, limit: int) -> RenderableType:
    """The list for a terminal."""
    summary, now = records.queue_summary(lane), time.time()
    tasks = read_tasks(records, states, lane=lane, at_most=max(limit, _ANY_ORDER))
    parts: list[RenderableType] = [*summary_lines(summary)]
    if tasks:
        parts.append(_table(records, tasks[:limit], now, several=len(summary.lanes) > 1))
    number = sum(counts(summary)[state] for state in states)
    if number > min(limit, len(tasks)):
        parts.append(Text(f"{number - min(limit, len(tasks))} more; --limit shows more.", style="dim"))
    return Group(*parts)


def summary_lines(summary: QueueSummary) -> list[Text]:
    """The queue in numbers, and every pause."""
    text = f"Queue: {listed(counts(summary), none='empty')}."
    if summary.oldest_stat_s:
        text += f" The oldest STAT scan has waited for {span(summary.oldest_stat_s)}."
    if summary.oldest_waiting_s:
        text += f" The oldest routine one has waited for {span(summary.oldest_waiting_s)}."
    lines = [Text(text), *(pause_line(one) for one in summary.pauses)]
    if len(summary.lanes) > 1:
        for lane, own in summary.lanes.items():
            numbers = listed({state.value: number for state, number in own.items()})
            lines.append(Text(f"Lane {lane or '(none)'}: {numbers}", style="dim"))
    return lines


def pause_line(pause: Pause) -> Text:
    """A pause, by whom and why."""
    what = "The queue" if pause.lane is None else f"Lane {pause.lane[:_SHOWN_LANE]}"
    return Text(f"PAUSED: {what}, since {pause.paused_at} by {pause.actor}: {redact(pause.reason)}", style="yellow")


def _table(records: Records, tasks: list[Task], now: float, *, several: bool) -> Table:
    table = Table(box=None, padding=(0, 1), pad_edge=False, header_style="dim")
    table.add_column("scan", no_wrap=True)
    table.add_column("state", no_wrap=True)
    table.add_column("priority", justify="right", no_wrap=True)
    table.add_column("entered", justify="right", no_wrap=True)
    table.add_column("tries", justify="right", no_wrap=True)
    if several:
        table.add_column("lane", no_wrap=True)
    table.add_column("", overflow="fold")
    for task in tasks:
        table.add_row(
            scan_name(records, task),
            state_of(task, now),
            "STAT" if task.priority >= STAT_PRIORITY else str(task.priority),
            f"{span(_age(task.enqueued_at, now))} ago",
            str(task.attempts),
            *([task.lane[:_SHOWN_LANE]] if several else []),
            _note(task, now) or task.error_code or "",
        )
    return table


def _note(task: Task, now: float) -> str:
    """What matters of a task in its state."""
    cause = _cause(task) or ""
    match state_of(task, now):
        case "leased":
            return f"{_owner(task)}{', alone' if task.alone else ''}, {_lease(task, now)}"
        case "backoff":
            return f"again in {span((task.not_before or now) - now)}: {cause}"
        case "queued" if task.deaths or task.kills:
            return f"owners died {task.deaths} times, {task.kills} of it"
        case "failed" | "quarantined":
            return f"{task.error_code or ''} {cause}".strip()
        case _:
            return ""


def _owner(task: Task) -> str:
    owner = task.owner or ""
    place = ":".join(owner.split(":")[:-1]) or owner
    return f"by {place}, which is dead" if is_dead(owner) else f"by {place}"


def _lease(task: Task, now: float) -> str:
    left = (task.lease_until or now) - now
    return f"lease for {span(left)} more" if left > 0 else f"lease over since {span(-left)}"


def _cause(task: Task) -> str | None:
    said = task.cause or task.error_message
    return None if said is None else redact(said)


def _remedy(task: Task) -> str | None:
    return None if task.error_code is None else _remedies().get(task.error_code)


@cache
def _remedies() -> dict[str, str]:
    from pellucid.cli.error_list import all_errors

    return {code: remedy for code, _, remedy in all_errors()}


def _age(at: str, now: float) -> float:
    return max(0.0, now - datetime.fromisoformat(at).timestamp())


def _place(task: Task, now: float) -> tuple[int, float]:
    """STAT first, then by priority and waiting, as claims go; other states by when they were entered, latest first."""
    state = state_of(task, now)
    entered = datetime.fromisoformat(task.enqueued_at).timestamp()
    if state not in {"queued", "backoff"}:
        return STATES.index(state), -entered
    return STATES.index(state), entered - task.priority * 3600.0
