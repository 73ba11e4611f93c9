"""Tiles straight from the slides, one slide a step, read while the encoder is busy with the step before."""

import math
import time
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

import numpy as np
from numpy.typing import NDArray

from pellucid.core.errors import PellucidError
from pellucid.core.telemetry import logs
from pellucid.domain.encoder import EncoderSpec
from pellucid.engine.buffers import Buffers, shape_bytes
from pellucid.engine.config import Modules
from pellucid.engine.messages import BufferShape
from pellucid.training.draws import draw_tiles
from pellucid.training.stream.errors import SlidesFailing, StreamPlanInvalid
from pellucid.training.stream.failures import FailureBook, SlideFailure
from pellucid.training.stream.files import Files
from pellucid.training.stream.layout import lay_out, most_tiles
from pellucid.training.stream.parts import Part, agreed
from pellucid.training.stream.plan import StreamPlan
from pellucid.training.stream.readers import Readers
from pellucid.training.stream.reads import SlideRead
from pellucid.training.stream.slide_tiles import SlideTiles, slide_tiles
from pellucid.training.stream.turns import Turns, failure_of
from pellucid.training.survey import SurveyedScan

if TYPE_CHECKING:
    from pellucid.training.ranks import Ranks

_PAUSE_S: Final = 10.0


class TileStream:
    """The tiles of each step, from any step on, with the next slides read ahead by processes of their own.

    Memory for tiles is a fixed number of slots of one slide's tiles each, made once: the slide in use and `plan.ahead`
    more, fewer where `plan.max_bytes` has no room for them. A slot takes t x tile_px x tile_px x 3 bytes, t being
    the most tiles that a rank has of a slide: 2,208 tiles of 224 px on one rank are 332 MB, on 23 ranks 14 MB. Each
    reader process takes some 100 MB more (two open slides with up to 32 MB of decoded blocks each, one superblock).

    What a step gives is a function of the plan, the scans and the failures recorded in the book; neither the number of
    readers, nor what was read before, nor the number of ranks changes a tile. A slide fails where a rank can't open it,
    its reading ends `plan.kills` processes, or more than `plan.max_unreadable` of the drawn tiles can't be decoded.
    Then the ranks take a substitute; once that is read, the failure is in the book, on disk, before any of it is used.

    `get` and `release` are called from one thread; `get` is collective over the ranks.

    Args:
        scans: those to learn from, with digests all different.
        plan: what is drawn, and how it is read.
        spec: the tiles that its encoder takes.
        ranks: who trains together.
        failures: the run's book.
        readers: reader processes of this rank.
        reader_module: their program, run as `python -m`.

    Raises:
        StreamPlanInvalid: there is no scan, or no room for the tiles of one slide.
    """

    def __init__(
        self,
        scans: Sequence[SurveyedScan],
        plan: StreamPlan,
        *,
        spec: EncoderSpec,
        ranks: "Ranks",
        failures: FailureBook,
        readers: int,
        reader_module: str = Modules().reader,
    ) -> None:
        if not scans or readers < 1:
            raise StreamPlanInvalid(f"{len(scans)} scans can't be read by {readers} readers.")
        self._plan, self._spec, self._ranks, self._book = plan, spec, ranks, failures
        self._turns = Turns(scans, plan, failures)
        self._shape = _shape(scans, plan, spec, ranks.world)
        self._scans, self._n_readers, self._module = tuple(scans), readers, reader_module
        self._reads: dict[int, SlideRead] = {}
        self._held: list[tuple[SlideTiles, SlideRead]] = []
        self._files: Files | None = None
        self._buffers: Buffers | None = None
        self._readers: Readers | None = None

    @property
    def epoch_steps(self) -> int:
        """Steps of an epoch."""
        return self._turns.epoch_steps

    @property
    def n_steps(self) -> int:
        """Steps of all epochs."""
        return self._turns.n_steps

    @property
    def n_bytes(self) -> int:
        """Bytes of memory for tiles, all slots together."""
        return shape_bytes(self._shape)

    @property
    def reader_pids(self) -> list[int]:
        """The numbers of the reader processes that run."""
        return [] if self._readers is None else self._readers.pids

    def get(self, step: int) -> SlideTiles:
        """The tiles of a step; the next slides are read meanwhile, and from then on.

        Args:
            step: from 0; any, though only ascending ones without gaps find their slides read ahead.

        Raises:
            SlidesFailing: too many slides failed; what failed at this step was not recorded.
            PellucidError: the readers can't go on, or the book can't be written.
        """
        start = time.perf_counter()
        if not 0 <= step < self.n_steps:
            raise ValueError(f"there is no step {step} of {self.n_steps}")
        if len(self._held) >= self._shape.n_slots:
            steps = [taken.step for taken, _ in self._held]
            raise ValueError(f"the tiles of steps {steps} hold all memory: release them")
        read, readable, found = self._patiently(step)
        if found:
            self._book.record(found)
        taken = slide_tiles(
            read.turn,
            read.layout,
            self._ranks.rank,
            readable=readable,
            pixels=self._pixels(read),
            failures=found,
            waited_s=time.perf_counter() - start,
        )
        self._held.append((taken, self._reads.pop(step)))
        return taken

    def release(self, taken: SlideTiles) -> None:
        """The memory of these tiles may be used again; releasing twice is harmless."""
        for held in [held for held in self._held if held[0] is taken]:
            self._held.remove(held)
            self._started().forget(held[1])

    def close(self) -> None:
        """End the reader processes and let go of the memory; tiles that are held stay valid until they are dropped."""
        if self._readers is not None:
            self._readers.close()
            self._readers = None
        self._reads.clear()
        self._held.clear()
        if self._buffers is not None:
            self._buffers.close()
            self._buffers = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _started(self) -> Readers:
        if self._files is None:
            self._files = Files(self._scans)
        if self._readers is None:
            self._buffers = Buffers.create(self._shape)
            self._readers = Readers(
                self._plan,
                self._spec,
                self._files,
                self._buffers,
                n_readers=self._n_readers,
                module=self._module,
            )
        return self._readers

    def _patiently(self, step: int) -> tuple[SlideRead, NDArray[np.bool_], list[SlideFailure]]:
        """Agree on a step's slide; as long as too many can't be read, try them all again after a pause.

        How often is counted, not timed, so that all ranks give up at the same time.
        """
        left = math.ceil(self._plan.patience_s / _PAUSE_S)
        while True:
            try:
                return self._agree(step)
            except SlidesFailing as error:
                if left == 0:
                    raise
                logs.get_logger("training").warning("slides can't be read", step=step, code=error.code, tries_left=left)
            left -= 1
            for read in self._reads.values():
                self._started().forget(read)
            self._reads.clear()
            time.sleep(_PAUSE_S)

    def _agree(self, step: int) -> tuple[SlideRead, NDArray[np.bool_], list[SlideFailure]]:
        """The slide that all ranks can read, which of its drawn tiles, and who failed before it."""
        found: list[SlideFailure] = []
        while True:
            read = self._reading(step, found)
            self._look_ahead(step)
            parts = self._ranks.gather(self._settled(read))
            readable, error = agreed(parts, read.layout, self._plan.max_unreadable)
            if error is None:
                return read, readable, found
            found.append(failure_of(read.turn, error))
            self._turns.check(found)

    def _reading(self, step: int, found: Sequence[SlideFailure] = ()) -> SlideRead:
        """The read of a step's scan, begun where it isn't; one of another scan, chosen too early, is given up."""
        turn = self._turns.of(step, {one.scan for one in found})
        read = self._reads.get(step)
        if read is not None and (read.turn.scan is not turn.scan or read.turn.attempt != turn.attempt):
            self._started().forget(read)
            read = None
        if read is None:
            grid, plan = turn.scan.grid, self._plan
            drawn = draw_tiles(plan.seed, turn.epoch, turn.scan.digest, len(grid), plan.tiles, attempt=turn.attempt)
            read = SlideRead(turn, lay_out(grid, drawn, plan.chunk, self._ranks.world), self._ranks.rank)
            self._reads[step] = read
            self._started().ask(read)
        return read

    def _look_ahead(self, step: int) -> None:
        # never more than there are slots for: a slide read ahead must not hold the one that is waited for
        last = min(step + self._shape.n_slots - len(self._held) - 1, self.n_steps - 1)
        for other in [other for other in self._reads if not step <= other <= last]:
            self._started().forget(self._reads.pop(other))
        for coming in range(step + 1, last + 1):
            self._reading(coming)

    def _settled(self, read: SlideRead) -> Part:
        """What came of a read on this rank; an error that ends the training goes to the other ranks too."""
        try:
            self._started().wait(read)
        except PellucidError as error:
            return Part(readable=read.readable, error=error, is_fatal=True)
        return Part(readable=read.readable, error=read.error)

    def _pixels(self, read: SlideRead) -> NDArray[np.uint8]:
        """The readable tiles, moved up to the front of their slot."""
        edge = self._spec.tile_px
        if read.slot is None or self._buffers is None:
            return np.empty((0, edge, edge, 3), np.uint8)
        tiles = self._buffers.tiles(read.slot.number)
        kept = np.flatnonzero(read.readable)
        for place, tile in enumerate(kept):
            if place != tile:
                tiles[place] = tiles[tile]
        return tiles[: len(kept)]


def _shape(scans: Sequence[SurveyedScan], plan: StreamPlan, spec: EncoderSpec, world: int) -> BufferShape:
    """As many slots as there is room for, at most the one in use and those ahead."""
    most = max(most_tiles(min(len(scan.grid), plan.tiles), plan.chunk, world) for scan in scans)
    one = BufferShape(n_slots=1, batch=most, tile_px=spec.tile_px, dim=0)
    n_slots = min(1 + plan.ahead, plan.max_bytes // shape_bytes(one))
    if n_slots < 1:
        raise StreamPlanInvalid(
            f"max_bytes is {plan.max_bytes}, but {most} tiles of a slide take {shape_bytes(one)} bytes."
        )
    return BufferShape(n_slots=n_slots, batch=most, tile_px=spec.tile_px, dim=0)
