"""The scans in hand: each one's way from its claim to its one end."""

import contextlib
import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import numpy as np

from pellucid.core.digests import digest_json
from pellucid.core.errors import PellucidError
from pellucid.core.serial import to_plain
from pellucid.core.telemetry import logs
from pellucid.domain.encoder import EncoderSpec
from pellucid.engine.checkpoint import Checkpoint, CheckpointHeader
from pellucid.engine.config import EngineConfig
from pellucid.engine.desk import Desk
from pellucid.engine.disk import Disk
from pellucid.engine.ends import LeaseGone, NothingReadable, NoTissue, UnexpectedFailure, error_of
from pellucid.engine.flow import Flow, Stage
from pellucid.engine.ledger import Ledger, Work
from pellucid.engine.messages import Prepared, Refused
from pellucid.engine.tasks import Tasks


class ScanEvents(Protocol):
    """What is told of the scans in hand."""

    def taken(self, flow: Flow) -> None:
        """One was taken up."""

    def embedded(self, number: int, *, before: bool) -> None:
        """So many more tiles are embedded; `before`: by an earlier attempt."""

    def dropped(self, flow: Flow) -> None:
        """Nothing more is to be done for it: what waits of it must be forgotten."""

    def ended(self, flow: Flow) -> None:
        """It left, with an end that the ledger knows, or because somebody else has it."""


class Scans:
    """What becomes of each scan; every one ends once.

    Args:
        spec: the encoder.
        samples: whether a scan ends with its passes; else with its embeddings.
        config: sizes and limits.
        ledger: is told of ends.
        desk: where the ledger is asked.
        disk: where embeddings go.
        tasks: where what must wait for the ledger runs.
        events: is told what happens.
    """

    def __init__(
        self,
        spec: EncoderSpec,
        config: EngineConfig,
        ledger: Ledger,
        *,
        samples: bool,
        desk: Desk,
        disk: Disk,
        tasks: Tasks,
        events: ScanEvents,
    ) -> None:
        self._spec, self._samples, self._checkpoints = spec, samples, config.checkpoints
        self._ledger, self._desk, self._disk, self._tasks, self._events = ledger, desk, disk, tasks, events
        # how many threads share a product decides its last bits: one bag has them all of one number
        self._embedder = f"{spec.digest}, {config.device_threads} threads"
        self._flows: dict[int, Flow] = {}
        self._numbers = itertools.count(1)

    def __iter__(self) -> Iterator[Flow]:
        return iter(self._flows.values())

    def __len__(self) -> int:
        return len(self._flows)

    def get(self, number: object) -> Flow | None:
        """The scan of a number, where it is still in hand."""
        return self._flows.get(number) if isinstance(number, int) else None

    @property
    def backlog(self) -> int:
        """Tiles that no reader has yet."""
        return sum(flow.waiting for flow in self)

    def take(self, work: Work) -> None:
        """Take a scan up."""
        flow = Flow(next(self._numbers), work)
        self._flows[flow.number] = flow
        self._events.taken(flow)

    # Its way

    def prepared(self, flow: Flow, prepared: Prepared) -> None:
        """It was looked at."""
        if len(prepared.grid) == 0:
            flow.prepared, flow.pictures = prepared, dict(prepared.pictures)
            self.fail(flow, NoTissue("No tile of the scan holds enough tissue to answer from."))
            return
        self._disk.keep(lambda: self._lay_out(flow, prepared))

    def _lay_out(self, flow: Flow, prepared: Prepared) -> None:
        if flow.stage is not Stage.PREPARE:
            return
        header = CheckpointHeader(
            scan=flow.work.scan,
            spec=self._embedder,
            grid=_grid_digest(prepared),
            n_tiles=len(prepared.grid),
            dim=self._spec.dim,
        )
        flow.lay_out(prepared, Checkpoint.open(self._checkpoints / f"{flow.work.key}.embeddings", header))
        self._events.embedded(flow.n_done, before=True)
        self.advanced(flow)

    def advanced(self, flow: Flow) -> None:
        """Tiles of it were embedded; once all are, its next stage begins."""
        if flow.stage is not Stage.TILES or not flow.is_embedded:
            return
        if not flow.readable.any():
            self.fail(flow, NothingReadable(f"None of the scan's {flow.n_tiles} tissue tiles could be decoded."))
        elif self._samples:
            flow.stage, flow.asked = Stage.PASSES, False
        else:
            self.commit(flow)

    def wrote(self, flow: Flow, tiles: int) -> None:
        """So many tiles of it are in its checkpoint for the first time."""
        flow.last_write = time.monotonic()
        self._events.embedded(tiles, before=False)

    # Its end

    def commit(self, flow: Flow) -> None:
        """It has its answer."""
        if flow.is_over:
            return
        flow.stage = Stage.COMMIT
        answer = flow.answer()
        self._tasks.spawn(self._end(flow, lambda: self._ledger.answered(flow.work, answer)))

    def fail(self, flow: Flow, error: Exception) -> None:
        """It has no answer."""
        if flow.is_over:
            return
        coded = error if isinstance(error, PellucidError) else UnexpectedFailure(f"{type(error).__name__} was raised.")
        account = flow.account(looked_at=isinstance(coded, NoTissue | NothingReadable))
        self._give_up(flow, lambda: self._ledger.unanswered(flow.work, coded, account))

    def quarantine(self, flow: Flow, kills: int) -> None:
        """Its work ended a process so often."""
        if flow.is_over:
            return
        cause = f"Its work ended a process {kills} times ({flow.circumstances.get('restarted', 'unknown')})."
        account = flow.account(looked_at=False)
        self._give_up(flow, lambda: self._ledger.quarantined(flow.work, cause, account))

    def _give_up(self, flow: Flow, tell: Callable[[], None]) -> None:
        flow.stage = Stage.ENDED
        self._events.dropped(flow)
        self._tasks.spawn(self._end(flow, tell))

    async def _end(self, flow: Flow, tell: Callable[[], None]) -> None:
        try:
            await self._desk.ask(tell)
        except LeaseGone as error:
            self._lose(flow, error)
            return
        flow.stage = Stage.ENDED
        self._leave(flow)
        if flow.checkpoint is not None:
            try:
                flow.checkpoint.remove()
            except OSError as error:  # the answer is recorded; the file is in nobody's way
                logs.get_logger("engine").warning("embeddings are left behind", reason=error.strerror)

    def _lose(self, flow: Flow, error: PellucidError) -> None:
        """Somebody else has the scan; what was embedded is left to them."""
        logs.get_logger("engine").warning("lease lost", scan=flow.work.name, code=error.code)
        flow.stage = Stage.ENDED
        self._events.dropped(flow)
        if flow.checkpoint is not None:
            flow.checkpoint.close()
        self._leave(flow)

    def _leave(self, flow: Flow) -> None:
        if self._flows.pop(flow.number, None) is not None:
            self._events.ended(flow)

    # From time to time

    async def keep_leases(self, held: Sequence[Work]) -> set[str]:
        """Prolong the leases of the scans in hand and of those that are held back; returns the keys that are lost."""
        flows = list(self)
        progressed = {flow.work.key for flow in flows if flow.n_done > flow.durable}
        done = {flow.number: flow.n_done for flow in flows}
        works = [*(flow.work for flow in flows), *held]
        if not works:
            return set()
        lost = await self._desk.ask(self._ledger.keep, works, progressed)
        for flow in flows:
            flow.durable = max(flow.durable, done[flow.number])
            # one that is being recorded learns it from the ledger, or has ended well meanwhile
            if flow.work.key in lost and not flow.is_over:
                self._lose(flow, LeaseGone("The scan's lease was taken over while it was worked on."))
        return lost

    async def sync(self) -> None:
        """Bring embeddings onto the disk."""
        checkpoints = [flow.checkpoint for flow in self if flow.checkpoint is not None and flow.stage is Stage.TILES]
        await self._disk.sync([one for one in checkpoints if one.n_synced < one.n_done])

    def let_go(self) -> list[Work]:
        """The engine ends: the scans that are to be given back. What was embedded stays for the next attempt."""
        works = [flow.work for flow in self]
        for flow in self:
            if flow.checkpoint is not None:
                with contextlib.suppress(OSError):
                    flow.checkpoint.close()
        self._flows.clear()
        return works


def error_of_refusal(answer: Refused) -> PellucidError:
    """The error that a process refused a job with; a traceback goes to the log."""
    if answer.trace:
        logs.get_logger("engine").error("unexpected failure", trace=answer.trace)
    return error_of(answer.code, answer.message, answer.remedy)


def _grid_digest(prepared: Prepared) -> str:
    """What embeddings depend on beside scan and encoder: tiles and scale."""
    grid = prepared.grid
    coords = np.ascontiguousarray(grid.coords, np.int32).tobytes().hex()
    return digest_json([coords, grid.level0_px, grid.tile_px, grid.mpp, to_plain(prepared.info.scale)])
