"""What is taken next: scans from the ledger, and files whose bytes must be hashed."""

import time
from pathlib import Path

from pellucid.core.errors import PellucidError
from pellucid.core.telemetry import logs
from pellucid.engine.desk import Desk
from pellucid.engine.ends import LeaseGone
from pellucid.engine.flow import Stage
from pellucid.engine.ledger import Ledger, Work
from pellucid.engine.messages import Identified
from pellucid.engine.pace import Pace
from pellucid.engine.reading import Reading
from pellucid.engine.scans import Scans
from pellucid.engine.tasks import Tasks

_POLL_S = 0.5


class Claims:
    """Takes scans as others leave, and files as long as readers have none.

    Args:
        ledger: what is to be done.
        desk: where the ledger is asked.
        tasks: where what must wait for the ledger runs.
        scans: the scans in hand.
        pace: says when another is needed although enough are open, because they are small.
        open_scans: scans that wait for a reader at once; as many again may be on their way to their commit.
        files: files that wait for a reader at once.
    """

    def __init__(
        self, ledger: Ledger, desk: Desk, tasks: Tasks, scans: Scans, pace: Pace, *, open_scans: int, files: int
    ) -> None:
        self._ledger, self._desk, self._tasks, self._scans, self._pace = ledger, desk, tasks, scans, pace
        self._open_scans, self._files = open_scans, files
        self._held: Work | None = None
        self._n_hashing = 0
        self._next_claim = self._next_file = 0.0
        self._stopped = False
        self.reading: Reading
        self.over = False
        """Whether the ledger said that nothing more will come, and nothing was told to it since."""

    @property
    def held(self) -> list[Work]:
        """What was taken and waits until all else has left."""
        return [] if self._held is None else [self._held]

    def stop(self) -> None:
        """Take nothing more, and give back what only waits."""
        self._stopped = True
        self.reading.forget_files()
        if self._held is not None:
            work, self._held = self._held, None
            self._tasks.spawn(self._give_back(work))

    def step(self) -> None:
        """Take what can be taken now."""
        if self._held is not None and not len(self._scans):
            work, self._held = self._held, None
            self._scans.take(work)
        if self._stopped or self._desk.because is not None:
            return
        now = time.monotonic()
        if now >= self._next_claim and self._has_room():
            self._tasks.once("claim", self._claim)
        if now >= self._next_file and self.reading.n_to_identify < self._files:
            self._tasks.once("file", self._find_file)

    def again(self) -> None:
        """Something changed in the ledger: ask it at once."""
        self._next_claim = self._next_file = 0.0
        self.over = False

    def lost(self, keys: set[str]) -> None:
        """Leases were lost; of what was held back nothing was done."""
        if self._held is not None and self._held.key in keys:
            self._held = None

    def identified(self, path: Path, answer: Identified | PellucidError) -> None:
        """A file was hashed, or can't be."""
        self._tasks.spawn(self._name(path, answer))

    def _has_room(self) -> bool:
        if self._held is not None or len(self._scans) >= 2 * self._open_scans:
            return False
        if any(flow.work.alone for flow in self._scans):
            return False
        looking = sum(flow.stage is Stage.PREPARE for flow in self._scans)
        if looking + sum(bool(flow.blocks) for flow in self._scans) < self._open_scans:
            return True
        return not looking and self._pace.runs_out(unhashed=False)

    async def _claim(self) -> None:
        self.over = False
        try:
            work = await self._desk.ask(self._ledger.claim)
        except LeaseGone:  # of one that the ledger ended by itself
            return
        self.reading.hungry = work is None
        if work is None:
            self._next_claim = time.monotonic() + _POLL_S
            # whatever ends or is named while the ledger is asked makes it look again
            self.over = True
            finished = not self._n_hashing and await self._desk.ask(lambda: self._ledger.finished)
            self.over = self.over and finished
        elif self._stopped:
            await self._give_back(work)
        elif work.alone and len(self._scans):
            self._held = work
        else:
            self._scans.take(work)

    async def _find_file(self) -> None:
        path = await self._desk.ask(self._ledger.to_identify)
        self._next_claim = 0.0
        if path is None:
            self._next_file = time.monotonic() + _POLL_S
        elif not self._stopped:
            self._n_hashing += 1
            self.reading.identify(path)

    async def _name(self, path: Path, answer: Identified | PellucidError) -> None:
        if isinstance(answer, Identified):
            await self._desk.ask(self._ledger.identified, path, answer.identity, answer.fingerprint)
        else:
            await self._desk.ask(self._ledger.unidentified, path, answer)
        self._n_hashing -= 1
        self.again()

    async def _give_back(self, work: Work) -> None:
        try:
            await self._desk.ask(self._ledger.release, work)
        except LeaseGone:
            logs.get_logger("engine").info("a scan was given back that somebody else has", scan=work.name)
