"""`pellucid queue`: look at the queue, and change what waits in it; each change is an audit event under your name."""

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pellucid.cli.places import ConfigOption, DatabaseOption, OutOption, acting_user, open_existing

if TYPE_CHECKING:
    from rich.console import RenderableType

    from pellucid.records import Records

app = typer.Typer(no_args_is_help=True, help="Look at the queue of scans; requeue, quarantine, prioritise, pause.")

_Scans = Annotated[list[str], typer.Argument(help="Pseudonyms such as F-7K3QW9TD, or keys, or their beginnings.")]
_Lane = Annotated[str | None, typer.Option("--lane", help="Only this lane (the work of one model and policy).")]
_Json = Annotated[bool, typer.Option("--json", help="Answer as JSON.")]
_Out = Path("out")
_Reason = Annotated[str, typer.Option("--reason", help="Why; kept with the queue. No patient's data.")]


@app.command("list")
def list_tasks(
    database: DatabaseOption = None,
    out: OutOption = _Out,
    config: ConfigOption = None,
    lane: _Lane = None,
    state: Annotated[
        str | None, typer.Option("--state", help="Only queued, backoff, leased, failed, quarantined or done.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Finished scans too.")] = False,
    limit: Annotated[int, typer.Option("--limit", min=1, help="At most so many scans.")] = 50,
    watch: Annotated[bool, typer.Option("--watch", help="Look again every 2 seconds until Ctrl-C.")] = False,
    as_json: _Json = False,
) -> None:
    """Show what is worked on, what waits in the order of its turn, and what was set aside."""
    from rich.console import Console

    from pellucid.cli.queue_view import STATES, list_view, queue_plain
    from pellucid.cli.watching import keep_saying, keep_showing

    if state is not None and state not in STATES:
        raise typer.BadParameter(f"{state!r} is no state; use one of {', '.join(STATES)}", param_hint="--state")
    chosen = {state} if state is not None else set(STATES) if everything else set(STATES) - {"done"}
    with open_existing(database, out, config) as records:
        only = _lane_of(records, lane)

        def draw() -> "RenderableType":
            return list_view(records, chosen, lane=only, limit=limit)

        def plain() -> dict[str, Any]:
            return queue_plain(records, chosen, lane=only, limit=limit)

        if as_json and watch:
            keep_saying(lambda: json.dumps(plain()))
        elif as_json:
            typer.echo(json.dumps(plain(), indent=2))
        elif watch:
            keep_showing(draw)
        else:
            Console(highlight=False).print(draw())


@app.command()
def show(
    scan: Annotated[str, typer.Argument(help="A pseudonym such as F-7K3QW9TD, or a key, or its beginning.")],
    database: DatabaseOption = None,
    out: OutOption = _Out,
    config: ConfigOption = None,
    lane: _Lane = None,
    as_json: _Json = False,
) -> None:
    """Tell all of one scan's work: attempts, owners, what went wrong last and what to do about it."""
    from pellucid.cli.finding import find_tasks
    from pellucid.cli.queue_view import task_lines, task_plain

    with open_existing(database, out, config) as records:
        tasks = find_tasks(records, [scan], lane=_lane_of(records, lane))
        now = time.time()
        if as_json:
            typer.echo(json.dumps([task_plain(records, task, now) for task in tasks], indent=2))
        else:
            typer.echo("\n\n".join("\n".join(task_lines(records, task, now)) for task in tasks))


@app.command()
def requeue(
    scans: Annotated[
        list[str] | None, typer.Argument(help="Pseudonyms such as F-7K3QW9TD, or keys, or their beginnings.")
    ] = None,
    database: DatabaseOption = None,
    out: OutOption = _Out,
    config: ConfigOption = None,
    lane: _Lane = None,
    state: Annotated[str | None, typer.Option("--state", help="All that are failed, quarantined or backoff.")] = None,
    priority: Annotated[int | None, typer.Option("--priority", help="And give them this priority.")] = None,
) -> None:
    """Queue failed or quarantined scans again as if new, and let those in back-off go on at once."""
    from pellucid.cli.finding import find_tasks
    from pellucid.cli.queue_view import read_tasks

    if bool(scans) == (state is not None):
        raise typer.BadParameter("name scans, or give --state")
    if state is not None and state not in {"failed", "quarantined", "backoff"}:
        raise typer.BadParameter("only failed, quarantined or backoff can be requeued", param_hint="--state")
    with open_existing(database, out, config) as records:
        only = _lane_of(records, lane)
        tasks = find_tasks(records, scans, lane=only) if scans else read_tasks(records, {str(state)}, lane=only)
        number = records.requeue([task.key for task in tasks], actor=acting_user(), priority=priority)
    typer.echo(f"{_scans(number)} queued again; {len(tasks) - number} left as they were.")


@app.command()
def quarantine(
    scans: _Scans,
    reason: _Reason,
    database: DatabaseOption = None,
    out: OutOption = _Out,
    config: ConfigOption = None,
    lane: _Lane = None,
) -> None:
    """Take scans out of the queue until somebody requeues them; one that is worked on is taken from its owner."""
    from pellucid.cli.finding import find_tasks

    with open_existing(database, out, config) as records:
        tasks = find_tasks(records, scans, lane=_lane_of(records, lane))
        number = records.quarantine_tasks([task.key for task in tasks], actor=acting_user(), reason=reason)
    typer.echo(f"{_scans(number)} quarantined; {len(tasks) - number} left as they were.")


@app.command()
def prioritise(
    scans: _Scans,
    stat: Annotated[bool, typer.Option("--stat", help="Urgent: before all that isn't.")] = False,
    priority: Annotated[
        int | None, typer.Option("--priority", help="Or this priority; one hour of waiting counts as one step.")
    ] = None,
    database: DatabaseOption = None,
    out: OutOption = _Out,
    config: ConfigOption = None,
    lane: _Lane = None,
) -> None:
    """Change when it is a scan's turn."""
    from pellucid.cli.finding import find_tasks
    from pellucid.records import STAT_PRIORITY

    if stat == (priority is not None):
        raise typer.BadParameter("give --stat or --priority, one of them")
    wanted = STAT_PRIORITY if priority is None else priority
    with open_existing(database, out, config) as records:
        tasks = find_tasks(records, scans, lane=_lane_of(records, lane))
        number = records.prioritise([task.key for task in tasks], wanted, actor=acting_user())
    typer.echo(f"{_scans(number)} at priority {wanted}; {len(tasks) - number} left as they were.")


@app.command()
def pause(
    reason: _Reason,
    database: DatabaseOption = None,
    out: OutOption = _Out,
    config: ConfigOption = None,
    lane: _Lane = None,
) -> None:
    """Give out no more scans, of one lane or of all; what is worked on goes on to its end."""
    with open_existing(database, out, config) as records:
        only = _lane_of(records, lane)
        new = records.pause(lane=only, reason=reason, actor=acting_user())
    typer.echo(f"{_what(only)} is paused." if new else f"{_what(only)} was paused already.")


@app.command()
def resume(
    database: DatabaseOption = None,
    out: OutOption = _Out,
    config: ConfigOption = None,
    lane: _Lane = None,
) -> None:
    """End a pause: the one of the whole queue, or with --lane that of a lane."""
    from pellucid.cli.errors import PauseUnknown
    from pellucid.cli.finding import find_lane

    with open_existing(database, out, config) as records:
        lanes = [*records.queue_summary().lanes, *(one.lane for one in records.pauses() if one.lane is not None)]
        only = None if lane is None else find_lane(dict.fromkeys(lanes), lane)
        if not records.resume(lane=only, actor=acting_user()):
            raise PauseUnknown(f"{_what(only)} is not paused.")
        left = records.pauses()
    typer.echo(f"{_what(only)} goes on." + "".join(f" Still paused: {_what(one.lane)}." for one in left))


def _lane_of(records: "Records", beginning: str | None) -> str | None:
    from pellucid.cli.finding import find_lane

    return None if beginning is None else find_lane(records.queue_summary().lanes, beginning)


def _scans(number: int) -> str:
    return f"{number} {'scan is' if number == 1 else 'scans are'}"


def _what(lane: str | None) -> str:
    return "The queue" if lane is None else f"Lane {lane}"
