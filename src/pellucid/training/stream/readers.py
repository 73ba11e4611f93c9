"""The reader processes of a stream, and the thread that keeps them busy."""

import asyncio
import contextlib
import itertools
import threading
import time
from pathlib import Path
from typing import Any, Final

from pellucid.core.telemetry import logs
from pellucid.domain.encoder import EncoderSpec
from pellucid.engine.buffers import Buffers
from pellucid.engine.children import Ending
from pellucid.engine.config import EngineConfig, Models, Modules
from pellucid.engine.crew import Crew
from pellucid.engine.ends import StorageHangs
from pellucid.engine.member import Assignment, Member
from pellucid.engine.messages import (
    Answer,
    Geometry,
    Identified,
    Identify,
    Job,
    ReadTiles,
    Refused,
    Role,
    Target,
    TilesRead,
)
from pellucid.engine.scans import error_of_refusal
from pellucid.slides.fingerprint import FileChanged
from pellucid.training.stream.errors import SlideKillsReaders
from pellucid.training.stream.files import Files
from pellucid.training.stream.plan import StreamPlan
from pellucid.training.stream.reads import Piece, SlideRead, Slot

_POLL_S: Final = 0.25
_START_S: Final = 60.0
_RESTS_S: Final = (0.3, 3.0)
"""How long a piece rests after it ended its first process, and its second: kills from outside come in bursts."""
_OWN_PIECES: Final = 8
"""Pieces that a slide has left for each of its readers before another helps it: opening a slide costs as much."""


class Readers:
    """Reads slides into the slots of shared memory, the earliest step first.

    One thread owns all that is mutable here, and starts the processes: they die with it, and so with the training,
    whatever ends that. It runs the engine's crew, which replaces what dies, hangs or is worn.

    Args:
        plan: patience, and how many deaths a slide is forgiven.
        spec: the tiles that its encoder takes.
        files: the scans' files.
        buffers: a slot for each slide in memory.
        n_readers: how many processes there are.
        module: their program.
    """

    def __init__(
        self,
        plan: StreamPlan,
        spec: EncoderSpec,
        files: Files,
        buffers: Buffers,
        *,
        n_readers: int,
        module: str,
    ) -> None:
        self._plan, self._files, self._buffers = plan, files, buffers
        self._geometry = Geometry(
            tile_px=spec.tile_px, mpp=spec.mpp, tolerance=spec.mpp_tolerance, decoding=spec.decoding
        )
        self._models = Models(spec=spec, devices=(), sampler=None)
        # nothing is embedded here, so that no folder of checkpoints is ever opened
        self._config = EngineConfig(
            checkpoints=Path(),
            readers=n_readers,
            max_readers=n_readers,
            stall_s=plan.stall_s,
            modules=Modules(reader=module),
        )
        self._slots = [Slot(number) for number in range(buffers.shape.n_slots)]
        self._reads: list[SlideRead] = []
        self._numbers = itertools.count(1)
        self._awaited: tuple[SlideRead, float] | None = None
        self._failure: BaseException | None = None
        self._closing = False
        self._up = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pellucid-tiles", daemon=True)
        self._thread.start()
        if not self._up.wait(_START_S):
            raise TimeoutError("the thread of the tile readers does not start")
        if self._failure is not None:
            raise self._failure

    # Called by the training

    def ask(self, read: SlideRead) -> None:
        """Have a slide read."""
        self._call(lambda: self._reads.append(read))

    def forget(self, read: SlideRead) -> None:
        """Give up a slide that is being read, or the memory of one that was."""
        self._call(lambda: self._forget(read))

    def wait(self, read: SlideRead) -> None:
        """Until a slide is read, or can't be.

        Raises:
            PellucidError: the readers can't go on.
        """
        self._awaited = read, time.monotonic()
        while not read.settled.wait(_POLL_S):
            if self._failure is not None:
                raise self._failure
            if not self._thread.is_alive():
                raise RuntimeError("the thread of the tile readers ended")

    @property
    def pids(self) -> list[int]:
        """The numbers of the running processes."""
        return [member.child.pid for member in list(self._crew.members) if member.child is not None]

    def close(self) -> None:
        """End every process and the thread; what was asked for is never read."""
        self._closing = True
        self._call(self.wake)
        self._thread.join()

    def _call(self, what: Any) -> None:
        def call() -> None:
            what()
            self.wake()

        with contextlib.suppress(RuntimeError):  # its thread has ended, and `wait` says so
            self._loop.call_soon_threadsafe(call)

    # The thread

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:  # noqa: BLE001 - the thread's boundary: whoever waits for tiles gets it
            self._failure = self._failure or error
        finally:
            self._up.set()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._loop.set_exception_handler(lambda _loop, context: self._surprised(context))
        self._wakeup = asyncio.Event()
        self._crew = Crew(self._models, self._config, self._buffers, self)
        self._up.set()
        self._crew.start()
        watched = time.monotonic()
        try:
            while not self._closing and self._failure is None:
                if time.monotonic() - watched > 1.0:
                    watched = time.monotonic()
                    self._watch()
                self._deal()
                await self._doze()
        finally:
            await self._crew.close()

    async def _doze(self) -> None:
        alarm = asyncio.get_running_loop().call_later(_POLL_S, self.wake)
        await self._wakeup.wait()
        alarm.cancel()
        self._wakeup.clear()

    def _surprised(self, context: dict[str, Any]) -> None:
        """An exception in a callback: without this the training would wait for ever for what it was to do."""
        error = context.get("exception")
        logs.get_logger("training").error("unexpected failure", what=context.get("message"), exc_info=error)
        self.fail(error if isinstance(error, BaseException) else RuntimeError(str(context.get("message"))))

    def _watch(self) -> None:
        self._crew.watch()
        if self._is_starved() or (self._crew.is_stuck and not any(self._crew.of(Role.READER))):
            self.fail(
                StorageHangs(
                    "Readers of tiles hang in the system and can't be ended: the storage of the slides doesn't answer.",
                    remedy="Bring the storage back, then start the same command again.",
                )
            )

    def _is_starved(self) -> bool:
        """Whether the slide that is waited for has long found no slot, since a hanging process may write to one."""
        if self._awaited is None or not any(slot.haunts for slot in self._slots):
            return False
        read, since = self._awaited
        return read.slot is None and not read.settled.is_set() and time.monotonic() - since > self._plan.stall_s

    # What is read next

    def _deal(self) -> None:
        """Slots to slides, then pieces to readers."""
        self._reads.sort(key=lambda read: read.turn.step)
        free = [slot for slot in self._slots if slot.is_free]
        for read in self._reads:
            if free and read.slot is None and not read.settled.is_set():
                read.slot = free.pop(0)
                read.slot.read = read
        for member in sorted(self._crew.of(Role.READER), key=lambda one: len(one.hand)):
            while member.room > 0 and (assignment := self._next(member)) is not None:
                self._crew.give(member, assignment)

    def _next(self, member: Member) -> Assignment | None:
        read = self._choose(member)
        if read is None:
            return None
        piece = read.waiting.popleft()
        read.given += 1
        read.readers.add(member.number)
        return Assignment(job=self._job(piece), about=piece, kills=piece.kills)

    def _job(self, piece: Piece) -> Job:
        scan, slot = piece.read.turn.scan, piece.read.slot
        if piece.is_look:
            return Identify(job=next(self._numbers), path=scan.entry.path)
        assert slot is not None
        return ReadTiles(
            job=next(self._numbers),
            file=self._files.of(scan),
            geometry=self._geometry,
            level0_px=scan.grid.level0_px,
            coords=scan.grid.coords[piece.read.mine[piece.first : piece.first + piece.count]],
            targets=(Target(slot.number, piece.first, piece.count),),
        )

    def _choose(self, member: Member) -> SlideRead | None:
        able = [read for read in self._reads if self._may_read(member, read)]
        for read in able:
            if member.number in read.readers or len(read.waiting) >= _OWN_PIECES * len(read.readers):
                return read
        return able[0] if able else None

    def _may_read(self, member: Member, read: SlideRead) -> bool:
        piece = read.next
        if piece is None or (piece.is_look and member.hand) or any(one.about.is_look for one in member.hand):
            return False  # behind a long job nothing is put that another could do
        # one that ended its process is alone in the next, so that no other is blamed for it
        return piece.kills == 0 or (not member.hand and piece.rests_until <= time.monotonic())

    # What the crew tells

    def answered(self, member: Member, assignment: Assignment, answer: Answer) -> None:  # noqa: ARG002 - of the crew
        """A reader did its job, or refused it."""
        piece: Piece = assignment.about
        read = piece.read
        if isinstance(answer, TilesRead):
            read.landed(piece, answer.readable)
        elif isinstance(answer, Identified):
            self._identified(read, answer)
        elif isinstance(answer, Refused) and answer.code == FileChanged.code and isinstance(assignment.job, ReadTiles):
            read.put_back(piece)
            if assignment.job.file == self._files.of(read.turn.scan):
                read.doubt()
        elif isinstance(answer, Refused):
            read.fail(error_of_refusal(answer))
        self._back(read)

    def bereaved(self, member: Member, ending: Ending, hand: list[Assignment]) -> None:
        """A reader ended; only the first of the jobs in its hand, which it was doing, can have ended it."""
        for assignment in reversed(hand):
            piece: Piece = assignment.about
            read = piece.read
            read.readers.discard(member.number)
            if ending.returncode is None and read.slot is not None:
                read.slot.haunts.add(ending.pid)
            if assignment is hand[0] and not ending.expected:
                self._blame(piece, ending)
            read.put_back(piece)
            self._back(read)

    def laid(self, pid: int) -> None:
        """A process that could not be ended is gone after all."""
        for slot in self._slots:
            slot.haunts.discard(pid)

    def wake(self) -> None:
        """Something changed."""
        self._wakeup.set()

    def fail(self, error: BaseException) -> None:
        """The readers can't go on."""
        self._failure = self._failure or error
        self.wake()

    def _back(self, read: SlideRead) -> None:
        """A reader has put a piece down."""
        read.given -= 1
        self._free(read)

    def _blame(self, piece: Piece, ending: Ending) -> None:
        piece.kills += 1
        piece.rests_until = time.monotonic() + _RESTS_S[min(piece.kills, len(_RESTS_S)) - 1]
        if piece.kills >= self._plan.kills:
            what = f"Reading tiles of the slide ended {piece.kills} processes, the last one so: {ending.cause}."
            piece.read.fail(SlideKillsReaders(what))

    def _identified(self, read: SlideRead, answer: Identified) -> None:
        """Other times or inodes needn't be other bytes: a file that was brought back goes on."""
        read.is_doubtful = False
        if answer.identity.digest == read.turn.scan.digest:
            self._files.renew(read.turn.scan, answer.fingerprint)
        else:
            read.fail(FileChanged("The file's bytes are no longer those that the training began with."))

    def _forget(self, read: SlideRead) -> None:
        read.is_unwanted = True
        read.waiting.clear()
        read.settled.set()
        if read in self._reads:
            self._reads.remove(read)
        self._free(read)

    def _free(self, read: SlideRead) -> None:
        if read.is_unwanted and read.given == 0 and read.slot is not None:
            read.slot.read = None
            read.slot = None
