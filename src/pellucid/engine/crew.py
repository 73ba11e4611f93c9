"""The engine's processes: started, watched, replaced; and what each of them has in hand."""

import asyncio
import time
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

from pellucid.core.errors import PellucidError
from pellucid.core.telemetry import logs
from pellucid.engine.buffers import Buffers
from pellucid.engine.children import Child, Ending, start_child
from pellucid.engine.config import EngineConfig, Models
from pellucid.engine.ends import ProcessesDie, error_of
from pellucid.engine.messages import Alive, Answer, Factory, Job, Message, Ready, Role, Setup, Unfit

_AT_ONCE = 2  # a process finds its next job in its socket when it ends one: it never waits for the supervisor
_STILLBORN = 8
_GOOD_BYE_S = 2.0
_BACK_OFF_S = (0.0, 0.0, 0.1, 0.5, 1.0, 2.0, 4.0, 8.0)


@dataclass(slots=True, eq=False)
class Assignment:
    """A job given to a process. `about` is whose it is; `kills` counts the processes it ended when alone in them."""

    job: Job
    about: Any
    kills: int = 0
    tries: int = 0


@dataclass(slots=True, eq=False)
class Member:
    """A process and what it has in hand, in the order in which it does it."""

    role: Role
    number: int
    child: Child | None = None
    hand: deque[Assignment] = field(default_factory=deque)
    last_step: float = field(default_factory=time.monotonic)
    done: int = 0
    leaving: bool = False

    @property
    def ready(self) -> bool:
        """Whether it takes jobs."""
        return self.child is not None and self.child.ready and not self.leaving

    @property
    def room(self) -> int:
        """How many more jobs it may be given. One that killed its process before has the next one for itself."""
        if not self.ready or any(one.kills for one in self.hand):
            return 0
        return _AT_ONCE - len(self.hand)


class CrewEvents(Protocol):
    """What the engine is told of its processes."""

    def answered(self, member: Member, assignment: Assignment, answer: Answer) -> None:
        """A job is done, or refused."""

    def bereaved(self, member: Member, ending: Ending, hand: list[Assignment]) -> None:
        """A process ended with jobs in hand; the first is the one it was doing."""

    def wake(self) -> None:
        """Something changed."""

    def fail(self, error: BaseException) -> None:
        """The engine can't go on."""


class Crew:
    """All processes of an engine."""

    def __init__(self, models: Models, config: EngineConfig, buffers: Buffers, events: CrewEvents) -> None:
        self._models, self._config, self._buffers, self._events = models, config, buffers, events
        self.members: list[Member] = []
        self.restarts: Counter[tuple[str, str]] = Counter()
        self.target_readers = config.readers
        self._tasks: set[asyncio.Task[None]] = set()
        self._stillborn: Counter[Role] = Counter()
        self._closing = False
        self._numbers = iter(range(1, 1 << 30))

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
        if not member.hand:
            member.last_step = time.monotonic()
        member.hand.append(assignment)
        assignment.tries += 1
        member.child.send(assignment.job)

    def adjust(self) -> None:
        """Bring the number of readers to the target: more at once, fewer as they fall idle."""
        staying = [member for member in self.of(Role.READER) if not member.leaving]
        for _ in range(self.target_readers - len(staying)):
            self._launch(Member(Role.READER, next(self._numbers)))
        idle = [member for member in staying if not member.hand and member.ready]
        for member in idle[: max(0, len(staying) - self.target_readers)]:
            self._dismiss(member)

    def watch(self) -> None:
        """Replace what makes no step, and what is due to be recycled."""
        now = time.monotonic()
        for member in list(self.members):
            if member.child is None:
                continue
            reading = member.role is Role.READER
            limit = self._config.stall_s if reading and member.child.ready else self._config.device_stall_s
            if (member.hand or not member.child.ready) and now - member.last_step > limit:
                member.child.kill(f"stalled: no step for {limit:g} s")
            elif reading and member.ready and not member.hand and self._is_worn(member):
                self.restarts[(member.role.value, "recycled")] += 1
                self._dismiss(member)
        self.adjust()

    async def close(self) -> None:
        """End every process; what they still had in hand is forgotten."""
        self._closing = True
        for task in self._tasks:
            task.cancel()
        for member in self.members:
            if member.child is not None and not member.hand and member.ready:
                member.child.stop()
            elif member.child is not None:
                member.child.kill("the engine ends")
        if not await self._gone(_GOOD_BYE_S):
            for member in self.members:
                if member.child is not None:
                    member.child.kill("the engine ends")
            await self._gone(10.0)

    async def _gone(self, patience_s: float) -> bool:
        deadline = time.monotonic() + patience_s
        while any(member.child is not None for member in self.members):
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(0.01)
        return True

    def _is_worn(self, member: Member) -> bool:
        config = self._config
        if config.recycle_jobs and member.done >= config.recycle_jobs:
            return True
        return bool(config.recycle_bytes and member.child and member.child.rss_bytes > config.recycle_bytes)

    def _dismiss(self, member: Member) -> None:
        member.leaving = True
        if member.child is not None:
            member.child.stop()

    def _launch(self, member: Member, delay: float = 0.0) -> None:
        self.members.append(member)
        task = asyncio.get_running_loop().create_task(self._start(member, delay))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _start(self, member: Member, delay: float) -> None:
        try:
            await asyncio.sleep(delay)
            member.last_step = time.monotonic()
            member.child = await start_child(
                self._setup(member),
                self._buffers,
                module=getattr(self._config.modules, member.role.value),
                on_message=lambda _child, message: self._heard(member, message),
                on_end=lambda _child, ending: self._ended(member, ending),
            )
            member.last_step = time.monotonic()
        except PellucidError as error:
            self._events.fail(error)

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
        if isinstance(message, Ready):
            self._stillborn[member.role] = 0
            logs.get_logger("engine").info("process ready", role=member.role.value, detail=message.detail)
        elif isinstance(message, Unfit):
            self._events.fail(error_of(message.code, message.message, message.remedy))
        elif isinstance(message, Answer) and member.hand and member.hand[0].job.job == message.job:
            member.done += 1
            self._events.answered(member, member.hand.popleft(), message)
        elif not isinstance(message, Alive):
            logs.get_logger("engine").warning("unexpected message", role=member.role.value, kind=type(message).__name__)
        self._events.wake()

    def _ended(self, member: Member, ending: Ending) -> None:
        born = member.child is None or member.child.ready
        member.child = None
        self.members.remove(member)
        if self._closing:
            return
        if not (ending.expected or member.leaving):
            self.restarts[(member.role.value, ending.cause)] += 1
            logs.get_logger("engine").warning("process ended", role=member.role.value, cause=ending.cause)
        self._replace(member, born=born)
        if member.hand:
            self._events.bereaved(member, ending, list(member.hand))
        self._events.wake()

    def _replace(self, member: Member, *, born: bool) -> None:
        if not born:
            self._stillborn[member.role] += 1
        failures = self._stillborn[member.role]
        if failures >= _STILLBORN:
            self._events.fail(
                ProcessesDie(f"{failures} {member.role.value} processes in a row ended before they were ready.")
            )
        elif member.role is not Role.READER:
            self._launch(Member(member.role, member.number), _BACK_OFF_S[failures])
        elif sum(not other.leaving for other in self.of(Role.READER)) < self.target_readers:
            self._launch(Member(Role.READER, next(self._numbers)), _BACK_OFF_S[failures])
