"""Blows at the processes of a run: which, in what order, and how they are struck."""

import random
import signal
import time
from contextlib import suppress
from dataclasses import dataclass, field

import psutil

ROLES = ("reader", "device", "posterior")
SUPERVISOR, DATABASE = "supervisor", "database"
KILL, CRASH, PAUSE, STALL, RESTART, IMMEDIATE = "SIGKILL", "SIGSEGV", "stop 1 s", "stop past limit", "restart", "crash"

_TARGETS = {"reader": 60, "device": 13, "posterior": 13, SUPERVISOR: 14}
_HOWS = {"reader": {KILL: 45, CRASH: 25, PAUSE: 15, STALL: 15}, "other": {KILL: 45, CRASH: 30, PAUSE: 25}}
_PAUSE_S = 1.0
_OUTAGE_S = (0.5, 6.0)
_EARLY = 0.1


@dataclass(frozen=True, slots=True)
class Blow:
    """One blow. An `early` one doesn't wait for progress since the one before."""

    target: str
    how: str
    early: bool = False


def plan(number, *, seed, database):
    """So many blows in random order; with a server as database a twentieth as many at that, too."""
    draw = random.Random(seed)
    blows = []
    for _ in range(number):
        target = draw.choices(list(_TARGETS), list(_TARGETS.values()))[0]
        hows = _HOWS.get(target, _HOWS["other"])
        blows.append(Blow(target, draw.choices(list(hows), list(hows.values()))[0], draw.random() < _EARLY))
    if number >= 50:  # they cost a minute each
        for target in ("device", "posterior", SUPERVISOR):
            blows[blows.index(next(blow for blow in blows if blow.target == target))] = Blow(target, STALL)
    for nth in range(max(1, number // 20) if database else 0):
        blows.insert(draw.randrange(1, len(blows)), Blow(DATABASE, (RESTART, IMMEDIATE)[nth % 2]))
    return blows


@dataclass(slots=True, kw_only=True)
class Striker:
    """Strikes at the processes of one trial.

    `limits` are the seconds after which a process of a role that stands still is replaced; `server` is the database's.
    """

    draw: random.Random
    limits: dict[str, float]
    server: object = None
    struck: list[tuple[float, Blow]] = field(default_factory=list)
    _to_continue: list[tuple[float, psutil.Process]] = field(default_factory=list)

    def strike(self, supervisor, blow):
        """Strike a blow; False where there is no such process now."""
        if blow.target == DATABASE:
            self.struck.append((time.time(), blow))
            self.server.stop(signal.SIGQUIT if blow.how == IMMEDIATE else signal.SIGINT)
            time.sleep(self.draw.uniform(*_OUTAGE_S))
            self.server.start()
            return True
        victims = [psutil.Process(supervisor)] if blow.target == SUPERVISOR else children(supervisor, blow.target)
        if not victims:
            return False
        victim = self.draw.choice(victims)
        try:
            if blow.how in {PAUSE, STALL}:
                victim.suspend()
                length = _PAUSE_S if blow.how == PAUSE else self.limits[blow.target] + 5.0
                self._to_continue.append((time.monotonic() + length, victim))
            else:
                victim.send_signal(signal.Signals[blow.how])
        except psutil.NoSuchProcess:
            return False
        self.struck.append((time.time(), blow))
        return True

    def go_on(self, *, all_of_them=False):
        """Let go on what was stopped for long enough."""
        now = time.monotonic()
        due = [one for one in self._to_continue if all_of_them or one[0] <= now]
        self._to_continue = [one for one in self._to_continue if one not in due]
        for _, process in due:
            with suppress(psutil.NoSuchProcess):
                process.resume()

    @property
    def is_holding(self):
        """Whether something is stopped."""
        return bool(self._to_continue)


def children(supervisor, role):
    """The supervisor's processes of a role, whether of use yet or not."""
    found = []
    with suppress(psutil.NoSuchProcess):
        for child in psutil.Process(supervisor).children():
            with suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
                if f"pellucid.engine.{role}" in child.cmdline():
                    found.append(child)
    return found
