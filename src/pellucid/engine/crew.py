"""The engine's processes: started, watched, replaced."""

import asyncio
import time
from collections import Counter
from collections.abc import Iterator
from typing import Protocol

from pellucid.core.errors import PellucidError
from pellucid.core.telemetry import logs
from pellucid.engine.buffers import Buffers
from pellucid.engine.children import Ending, start_child
from pellucid.engine.config import EngineConfig, Models
from pellucid.engine.ends import ProcessesDie, error_of
from pellucid.engine.hanging import is_gone, waits_in_system
from pellucid.engine.member import Assignment, Member
from pellucid.engine.messages import Alive, Answer, Factory, Message, Ready, Role, Setup, Unfit
from pellucid.engine.snapshot import RestartCause, restart_cause
from pellucid.engine.tasks import Tasks

_IN_VAIN = 8
_GOOD_BYE_S = 2.0
_KILLED_S = 10.0
_BACK_OFF_S = (0.0, 0.0, 0.1, 0.5, 1.0, 2.0, 4.0, 8.0)
_ABSENT_S = 5.0


class CrewEvents(Protocol):
    """What the engine is told of its processes."""

    def answered(self, member: Member, assignment: Assignment, answer: Answer) -> None:
        """A job is done, or refused."""

    def bereaved(self, member: Member, ending: Ending, hand: list[Assignment]) -> None:
        """A process ended, or can't be ended, with jobs in hand; the first is the one it was doing."""

    def laid(self, pid: int) -> None:
        """A process that could not be ended is gone after all."""

    def wake(self) -> None:
        """Something changed."""

    def fail(self, error: BaseException) -> None:
        """The engine can't go on."""


class Crew:
    """All processes of an engine.

    Attributes:
        members: those that run or are about to.
        restarts: how often a process was replaced, by role and cause.
        target_readers: how many readers there should be.
        unkillable: numbers of processes that outlived SIGKILL; the system holds them until some device answers.
    """

    def __init__(self, models: Models, config: EngineConfig, buffers: Buffers, events: CrewEvents) -> None:
        self._models, self._config, self._buffers, self._events = models, config, buffers, events
        self.members: list[Member] = []
        self.restarts: Counter[tuple[str, RestartCause]] = Counter()
        self.target_readers = config.readers
        self.unkillable: set[int] = set()
        self._starting = Tasks(events.fail, events.wake)
        self._in_vain: Counter[Role] = Counter()
        self._closing = False
        self._numbers = iter(range(1, 1 << 30))
        self._watched = time.monotonic()

    def start(self) -> None:
        """Start every process; each is ready later."""
        for number in range(len(self._models.devices)):
            self._launch(Member(Role.DEVICE, number))
        if self._models.sampler is not None:
            self._launch(Member(Role.POSTERIOR, 0))
        self.adjust()

    def of(self, role: Role) -> Iterator[Member]:
        """The processes of a role."""
        return (member for member in self.members if member.role is role)

    def give(self, member: Member, assignment: Assignment) -> None:
        """Give a job to a process that has room."""
        if member.child is None:
            raise ValueError("a process that is not running was given a job")
        member.take(assignment)
        member.child.send(assignment.job)

    def adjust(self) -> None:
        """Bring the number of readers to the target; those that leave do what they have in hand before."""
        staying = [member for member in self.of(Role.READER) if not member.leaving]
        if not self.is_stuck:
            for _ in range(self.target_readers - len(staying)):
                self._launch(Member(Role.READER, next(self._numbers)))
        surplus = max(0, len(staying) - self.target_readers)
        for member in sorted(filter(_is_ready, staying), key=lambda one: len(one.hand))[:surplus]:
            self._dismiss(member)

    @property
    def is_stuck(self) -> bool:
        """Whether so many processes hang in the system that a further reader would only hang there too."""
        return len(self.unkillable) >= max(2, self._config.max_readers)

    def watch(self) -> None:
        """Replace what makes no step, and what is worn. To be called about once a second."""
        self._excuse()
        for member in list(self.members):
            if member.child is None:
                continue
            limit = self._limit(member)
            busy = member.hand or member.leaving or not member.child.ready
            if busy and self._watched - member.last_step > limit:
                self._end_stalled(member, limit)
        self._recycle()
        for pid in [pid for pid in self.unkillable if is_gone(pid)]:
            self.unkillable.discard(pid)
            self._events.laid(pid)
        self.adjust()

    async def close(self) -> None:
        """End every process; what they still had in hand is forgotten."""
        self._closing = True
        self._starting.cancel()
        for member in self.members:
            if member.child is not None and not member.hand and member.child.ready:
                member.child.stop()
            elif member.child is not None:
                member.child.kill("the engine ends")
        if not await self._gone(_GOOD_BYE_S):
            for member in self.members:
                if member.child is not None:
                    member.child.kill("the engine ends")
            await self._gone(_KILLED_S)

    async def _gone(self, patience_s: float) -> bool:
        deadline = time.monotonic() + patience_s
        while any(member.child is not None for member in self.members):
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(0.01)
        return True

    def _limit(self, member: Member) -> float:
        """Seconds without a step after which a process is replaced; longer for one that loads a model."""
        ready = member.child is not None and member.child.ready
        return self._config.stall_s if member.role is Role.READER and ready else self._config.device_stall_s

    def _excuse(self) -> None:
        """Time in which this process was itself suspended is nobody's fault: all may have been suspended with it."""
        now = time.monotonic()
        absent = now - self._watched
        self._watched = now
        if absent > _ABSENT_S:
            for member in self.members:
                member.last_step = min(now, member.last_step + absent)

    def _end_stalled(self, member: Member, limit: float) -> None:
        if member.child is None:
            return
        member.hangs = waits_in_system(member.child.pid)
        where = " in the system" if member.hangs else ""
        member.child.kill(f"stalled{where}: no step for {limit:g} s")

    def _recycle(self) -> None:
        """Let a worn reader go, one at a time, while all others are there."""
        readers = list(self.of(Role.READER))
        if not all(member.ready for member in readers):
            return
        worn = next((member for member in readers if self._is_worn(member)), None)
        if worn is not None:
            self.restarts[(worn.role.value, RestartCause.RECYCLED)] += 1
            self._dismiss(worn)

    def _is_worn(self, member: Member) -> bool:
        config = self._config
        if config.recycle_jobs and member.done >= config.recycle_jobs:
            return True
        return bool(config.recycle_bytes and member.child and member.child.rss_bytes > config.recycle_bytes)

    def _dismiss(self, member: Member) -> None:
        """It ends after what it was sent before."""
        member.leaving = True
        member.last_step = time.monotonic()
        if member.child is not None:
            member.child.stop()

    def _launch(self, member: Member, delay: float = 0.0) -> None:
        self.members.append(member)
        self._starting.spawn(self._start(member, delay))

    async def _start(self, member: Member, delay: float) -> None:
        await asyncio.sleep(delay)
        member.last_step = time.monotonic()
        try:
            member.child = await start_child(
                self._setup(member),
                self._buffers,
                module=getattr(self._config.modules, member.role.value),
                on_message=lambda _child, message: self._heard(member, message),
                on_end=lambda _child, ending: self._ended(member, ending),
            )
        except OSError as error:  # no memory or no process number at the moment
            self.members.remove(member)
            self._replace(member, in_vain=True, cause=f"it can't be started: {error.strerror}")

    def _setup(self, member: Member) -> Setup:
        factory: Factory | None = None
        if member.role is Role.DEVICE:
            factory = self._models.devices[member.number]
        elif member.role is Role.POSTERIOR:
            factory = self._models.sampler
        threads = self._config.device_threads if member.role is Role.DEVICE else 1
        return Setup(
            role=member.role, number=member.number, buffers=self._buffers.shape, threads=threads, factory=factory
        )

    def _heard(self, member: Member, message: Message) -> None:
        member.last_step = time.monotonic()
        if isinstance(message, Alive) or self._closing:
            return
        if isinstance(message, Ready):
            if member.role is Role.READER:
                self._in_vain[member.role] = 0
            logs.get_logger("engine").info("process ready", role=member.role.value, detail=message.detail)
        elif isinstance(message, Unfit):
            self._events.fail(_unfit(message))
        elif isinstance(message, Answer) and member.hand and member.hand[0].is_answered_by(message):
            self._in_vain[member.role] = 0
            self._events.answered(member, member.put_down(), message)
        elif member.child is not None:
            member.child.kill(f"sent what it was not asked for: {type(message).__name__}")
        self._events.wake()

    def _ended(self, member: Member, ending: Ending) -> None:
        born = member.child is None or member.child.ready
        member.child = None
        self.members.remove(member)
        if self._closing:
            return
        if ending.returncode is None:
            self.unkillable.add(ending.pid)
        if not ending.expected:
            self.restarts[(member.role.value, restart_cause(ending.cause))] += 1
        in_vain = not ending.expected if member.role is not Role.READER else not born
        self._replace(member, in_vain=in_vain, cause=ending.cause)
        if member.hand:
            self._events.bereaved(member, ending, list(member.hand))
        self._events.wake()

    def _replace(self, member: Member, *, in_vain: bool, cause: str) -> None:
        """Start another in its place, later each time where the last ones were of no use."""
        self._in_vain[member.role] += in_vain
        failures = self._in_vain[member.role]
        if failures >= _IN_VAIN:
            which = f"{failures} {member.role.value} processes in a row ended without a job done"
            self._events.fail(ProcessesDie(f"{which}, the last one so: {cause}."))
        elif member.role is not Role.READER:
            self._launch(Member(member.role, member.number), _BACK_OFF_S[failures])
        elif sum(not other.leaving for other in self.of(Role.READER)) < self.target_readers and not self.is_stuck:
            self._launch(Member(Role.READER, next(self._numbers)), _BACK_OFF_S[failures])


def _is_ready(member: Member) -> bool:
    return member.ready


def _unfit(message: Unfit) -> PellucidError:
    return error_of(message.code, message.message, message.remedy)
