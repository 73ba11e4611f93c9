"""`pellucid run --live`: the engine at work, redrawn each second on a terminal; lines elsewhere."""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Self

import typer
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from pellucid.cli.progress import RunProgress
from pellucid.cli.quantities import listed, size, span
from pellucid.core.errors import PellucidError
from pellucid.engine.snapshot import EngineSnapshot, EngineState, ProcessState, ScanProgress

_ENDS = 6
_LINE_EVERY_S = 30.0
_WIDE = 100
_STATES = {
    EngineState.STARTING: "cyan",
    EngineState.RUNNING: "green",
    EngineState.PAUSED: "yellow",
    EngineState.DRAINING: "yellow",
    EngineState.ENDED: "dim",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A scan's end: with a probability, with its embeddings alone, or with an error code."""

    scan: str
    probability: float | None
    code: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """All that the view shows. `ends` are the latest, last first; `tiles` and `done` count since the start."""

    snapshot: EngineSnapshot | None = None
    hashed: tuple[int, int] = (0, 0)
    waiting: int = 0
    known: int = 0
    done: int = 0
    failed: int = 0
    tiles: int = 0
    elapsed_s: float = 0.0
    paused_because: str | None = None
    ends: tuple[Ended, ...] = ()


class LiveView:
    """Draws the engine's snapshots on a terminal; where there is none, writes lines now and then."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True)
        self._since = time.monotonic()
        self._scene = Scene()
        self._changing = threading.Lock()  # ends and queue are told from another thread than snapshots
        self._lines = None if self._console.is_terminal else RunProgress()
        self._line_at = self._since
        self._live = Live(console=self._console, auto_refresh=False, vertical_overflow="crop")

    def __enter__(self) -> Self:
        if self._lines is None:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._lines is None:
            self._draw()
            self._live.stop()

    def hashed(self, done: int, total: int) -> None:
        """`done` of `total` files were hashed."""
        self._change(lambda scene: replace(scene, hashed=(done, total)))
        if self._lines is not None:
            self._lines.hashed(done, total)

    def queued(self, waiting: int, known: int) -> None:
        """`waiting` scans are to be done; `known` were finished before."""
        self._change(lambda scene: replace(scene, waiting=waiting, known=known))
        if self._lines is not None:
            self._lines.queued(waiting, known)

    def started(self, scan: str) -> None:
        """Work on the scan of this pseudonym begins."""
        if self._lines is not None:
            self._lines.started(scan)

    def tiles(self, number: int) -> None:
        """So many more tiles are embedded."""
        self._change(lambda scene: replace(scene, tiles=scene.tiles + number))
        if self._lines is not None:
            self._lines.tiles(number)

    def paused(self, because: PellucidError | None) -> None:
        """The run waits for its disk or database; None: it goes on."""
        text = None if because is None else f"{because.code}  {because.message}"
        self._change(lambda scene: replace(scene, paused_because=text))
        if self._lines is not None:
            self._lines.paused(because)

    def snapshot(self, snapshot: EngineSnapshot) -> None:
        """The engine, about once a second."""
        elapsed = time.monotonic() - self._since
        self._change(lambda scene: replace(scene, snapshot=snapshot, elapsed_s=elapsed))
        if self._lines is None:
            self._draw()
        elif time.monotonic() - self._line_at > _LINE_EVERY_S:
            self._line_at = time.monotonic()
            typer.echo(line(snapshot), err=True)

    def ended(self, scan: str, probability: float | None, code: str | None) -> None:
        """The scan ended with an answer, or with an error code."""
        last = Ended(scan=scan, probability=probability, code=code)
        self._change(
            lambda scene: replace(
                scene,
                done=scene.done + 1,
                failed=scene.failed + (code is not None),
                ends=(last, *scene.ends)[:_ENDS],
            )
        )
        if self._lines is not None:
            self._lines.ended(scan, probability, code)

    def say(self, text: str) -> None:
        """A line for the person, above the view."""
        if self._lines is None:
            self._live.console.print(text, style="bold", highlight=False)
        else:
            self._lines.say(text)

    def _change(self, changed: Callable[[Scene], Scene]) -> None:
        with self._changing:
            self._scene = changed(self._scene)

    def _draw(self) -> None:
        self._live.update(render(self._scene, width=self._console.width), refresh=True)


def line(snapshot: EngineSnapshot) -> str:
    """The engine in one line, for a log."""
    because = f" ({snapshot.paused_because})" if snapshot.paused_because else ""
    return (
        f"{snapshot.state.value}{because}: {snapshot.tiles_per_s:.0f} tiles/s, device {snapshot.device_busy_share:.0%} "
        f"busy, {len(snapshot.scans)} scans in hand, queue: {listed(snapshot.queue, none='empty')}"
    )


def render(scene: Scene, *, width: int) -> RenderableType:
    """The whole view for a terminal of `width` columns."""
    snapshot = scene.snapshot
    if snapshot is None:
        done, total = scene.hashed
        return Text(f"Starting. {done} of {total} files identified." if total else "Starting.")
    parts: list[RenderableType] = [_title(scene, snapshot), _figures(scene, snapshot, width)]
    if snapshot.scans:
        parts += [_heading("Scans in hand"), _scans(snapshot.scans, width)]
    if snapshot.processes:
        parts += [_heading("Processes"), _processes(snapshot.processes, width)]
    if scene.ends:
        parts += [_heading("Last ends"), *_ends(scene.ends)]
    parts.append(Text(snapshot.lost_if_killed, style="dim"))
    return Group(*parts)


def _title(scene: Scene, snapshot: EngineSnapshot) -> Text:
    title = Text.assemble(
        ("Pellucid ", "bold"),
        (snapshot.state.value.upper(), f"bold {_STATES[snapshot.state]}"),
        f"  run {snapshot.run_id}, {span(scene.elapsed_s)}. Research use only.",
    )
    because = scene.paused_because or snapshot.paused_because
    if because:
        title.append(f"\nPaused, nothing is lost: {because}", style="yellow")
    return title


def _figures(scene: Scene, snapshot: EngineSnapshot, width: int) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold", max_width=width - 11)
    waited = ", ".join(
        f"{reason.value} {span(seconds)}" for reason, seconds in sorted(snapshot.waited_for.items()) if seconds >= 0.5
    )
    table.add_row("device", _busy(snapshot, min(20, width // 5)))
    table.add_row("waited", f"for {waited}" if waited else "for nothing")
    table.add_row("slots", _slots(snapshot))
    table.add_row(
        "rate",
        f"{snapshot.tiles_per_s:.0f} tiles/s, {snapshot.slides_per_h:.1f} scans/h, "
        f"{snapshot.readers} readers ({snapshot.readers_target} wanted)",
    )
    table.add_row("done", _done(scene))
    table.add_row("queue", _queue(snapshot))
    restarts = ", ".join(f"{one.role} {one.cause.value} {one.count}" for one in snapshot.restarts)
    table.add_row("restarts", Text(restarts or "none", style="yellow" if restarts else "dim"))
    return table


def _busy(snapshot: EngineSnapshot, width: int) -> Table:
    row = Table.grid(padding=(0, 1))
    row.add_row(
        ProgressBar(total=1.0, completed=snapshot.device_busy_share, width=width),
        f"{snapshot.device_busy_share:.0%} busy in the last minute, {snapshot.device_busy_share_run:.0%} of the run",
    )
    return row


def _slots(snapshot: EngineSnapshot) -> Text:
    slots = snapshot.slots
    return Text.assemble(
        ("#" * slots.at_device, "green"),
        ("+" * slots.ready, "cyan"),
        ("-" * slots.filling, "blue"),
        ("." * slots.free, "dim"),
        f"  # {slots.at_device} at the device, + {slots.ready} ready, - {slots.filling} filling, . {slots.free} free",
    )


def _done(scene: Scene) -> str:
    counted = f"{scene.done} of {max(scene.waiting, scene.done)} scans, {scene.failed} failed, {scene.tiles} tiles"
    known = f"; {scene.known} finished before" if scene.known else ""
    done, total = scene.hashed
    return f"{counted}{known}" + (f"; {done}/{total} files identified" if done < total else "")


def _queue(snapshot: EngineSnapshot) -> str:
    text = listed(snapshot.queue, none="empty")
    if snapshot.oldest_waiting_s:
        text += f"; oldest {span(snapshot.oldest_waiting_s)}"
    return text + (f"; STAT waits {span(snapshot.oldest_stat_s)}" if snapshot.oldest_stat_s else "")


def _scans(scans: tuple[ScanProgress, ...], width: int) -> Table:
    table = Table(box=None, padding=(0, 1), pad_edge=False, header_style="dim")
    table.add_column("scan", no_wrap=True)
    table.add_column("stage", no_wrap=True)
    table.add_column("", no_wrap=True)
    table.add_column("tiles", justify="right", no_wrap=True)
    table.add_column("on disk", justify="right", no_wrap=True)
    table.add_column("for", justify="right", no_wrap=True)
    if width >= _WIDE:
        table.add_column("last durable step", justify="right", no_wrap=True)
    for scan in scans:
        cells: list[RenderableType] = [
            f"{scan.name}{' STAT' if scan.stat else ''}{' alone' if scan.alone else ''}",
            scan.stage,
            ProgressBar(total=max(1, scan.tiles_total), completed=scan.tiles_done, width=max(8, min(30, width // 8))),
            f"{scan.tiles_done}/{scan.tiles_total}",
            str(scan.tiles_durable),
            span(scan.started_s),
        ]
        table.add_row(*cells, *([f"{span(scan.durable_s)} ago"] if width >= _WIDE else []))
    return table


def _processes(processes: tuple[ProcessState, ...], width: int) -> Table:
    table = Table(box=None, padding=(0, 1), pad_edge=False, header_style="dim")
    table.add_column("process", no_wrap=True)
    for name in ("pid", "memory", "files", "cpu"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("doing", no_wrap=True, overflow="ellipsis", max_width=max(10, width - 55))
    for process in processes:
        table.add_row(
            f"{process.role} {process.number}",
            str(process.pid),
            size(process.rss_bytes),
            str(process.n_files),
            span(process.cpu_s),
            process.doing or "-",
        )
    return table


def _ends(ends: tuple[Ended, ...]) -> Iterator[Text]:
    for end in ends:
        if end.probability is not None:
            yield Text.assemble(f"{end.scan}  ", (f"{end.probability:.2f}", "green"))
        else:
            said = ("embedded", "green") if end.code is None else (f"failed {end.code}", "yellow")
            yield Text.assemble(f"{end.scan}  ", said)


def _heading(text: str) -> Text:
    return Text(text, style="bold underline")
