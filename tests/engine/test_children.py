import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from pellucid.engine.buffers import Buffers
from pellucid.engine.messages import (
    BufferShape,
    Identify,
    Illustrated,
    ReadTiles,
    Ready,
    Refused,
    Role,
    Target,
    Unfit,
)

PARTS = Path(__file__).parent / "parts"


def act(words: str, job: int = 1) -> Identify:
    return Identify(job=job, path=Path(words))


def names(folder: str) -> set[str]:
    return {path.name for path in Path(folder).iterdir()}


def is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def zombies() -> list[int]:
    own = os.getpid()
    children = Path(f"/proc/{own}/task/{own}/children").read_text().split()
    return [int(pid) for pid in children if is_gone(int(pid))]


def test_a_process_says_it_is_ready_answers_and_ends_when_asked(play):
    async def scene(start):
        one = await start(role=Role.POSTERIOR)
        assert not one.child.ready
        assert await one.ready() == Ready(detail="posterior 0")
        assert one.child.ready
        assert isinstance(await one.ask(act("steps 3")), Illustrated)
        assert one.steps == 3
        one.child.send(act("nothing", 2))
        one.child.stop()
        ending = await one.end()
        assert one.said[-1].job == 2
        return ending

    ending = play(scene)
    assert (ending.expected, ending.returncode, ending.cause) == (True, 0, "exit 0")


@pytest.mark.parametrize(
    ("words", "cause", "last"),
    [
        ("segfault", "SIGSEGV", "Segmentation fault"),
        ("die 9", "SIGKILL", ""),
        ("die 7", "SIGBUS", "Bus error"),
        ("leave 3", "exit 3", ""),
        ("leave 0", "exit 0", ""),
        ("starve", "exit 1", "MemoryError: no room for 7 GB"),
    ],
)
def test_an_ending_says_its_cause_and_its_last_words(play, words, cause, last):
    async def scene(start):
        one = await start()
        assert await one.ask(act(words)) is (await one.end())
        assert one.said == [Ready(detail="reader 0")]
        return one.endings[0]

    ending = play(scene)
    assert ending.cause == cause
    assert last in ending.last_words
    assert not ending.expected


def test_one_jobs_fault_is_refused_and_the_process_goes_on(play):
    async def scene(start):
        one = await start()
        refused = await one.ask(act("refuse"))
        assert refused == Refused(job=1, code="PEL-CORE-001", message="There is no room.", remedy="Make room.")
        fault = await one.ask(act("fault", 2))
        assert (fault.job, fault.code, fault.message) == (2, "", "KeyError: 'a fault'")
        assert "in fault" in fault.trace
        assert isinstance(await one.ask(act("nothing", 3)), Illustrated)

    play(scene)


def test_a_process_that_another_could_not_replace_says_so(play):
    async def scene(start):
        one = await start(factory="unfit")
        assert await one.ready() == Unfit(code="PEL-CORE-001", message="There is no room.", remedy="Make room.")
        assert (await one.end()).returncode == 0
        assert not one.child.ready
        other = await start(factory="stillborn")
        ending = await other.end()
        assert (ending.cause, other.said) == ("exit 1", [])
        assert ending.last_words.endswith("RuntimeError: a fault at the start")

    play(scene)


@pytest.mark.parametrize("state", ["stopped", "hung", "idle"])
def test_a_kill_ends_a_process_whatever_it_does_and_the_first_cause_counts(play, state):
    async def scene(start):
        one = await start()
        await one.ready()
        if state == "stopped":
            os.kill(one.child.pid, signal.SIGSTOP)
        elif state == "hung":
            one.child.send(act("hang"))
            await asyncio.sleep(0.1)
        one.child.kill("stalled: no step for 3 s")
        one.child.kill("another")
        ending = await one.end()
        one.child.kill("too late")
        assert one.child.pid not in zombies()
        return ending

    ending = play(scene)
    assert (ending.cause, ending.returncode) == ("killed: stalled: no step for 3 s", -signal.SIGKILL)


def test_what_a_process_said_before_it_died_is_heard_before_its_end(play):
    async def scene(start):
        one = await start()
        await one.ready()
        one.child.send(act("answer_then_die"))
        time.sleep(0.6)  # the loop stands still while the process answers and dies
        one.child.send(act("nothing", 2))  # and then writes before it reads
        ending = await one.end()
        assert [type(message) for message in one.said] == [Ready, Illustrated]
        assert one.said[1].pictures == {"last": b"answer"}
        return ending

    assert play(scene).cause == "SIGKILL"


def test_sending_to_a_dead_process_is_nothing(play):
    async def scene(start):
        one = await start()
        await one.ready()
        os.kill(one.child.pid, signal.SIGKILL)
        for number in range(200):
            one.child.send(act("nothing" + " " * 10_000, number))
        await one.end()
        one.child.send(act("nothing"))
        one.child.stop()
        assert (one.child.rss_bytes, one.child.n_files, one.child.cpu_s) == (0, 0, 0.0)

    play(scene)


def test_messages_of_many_megabytes_pass_both_ways_and_never_block_the_sender(play, geometry):
    async def scene(start):
        one = await start()
        answer = await one.ask(act("large 9000000"))
        assert len(answer.pictures["large"]) == 9_000_000
        os.kill(one.child.pid, signal.SIGSTOP)
        coords = np.zeros((2_000_000, 2), np.int32)
        before = time.monotonic()
        one.child.send(
            ReadTiles(job=2, file=None, geometry=geometry, level0_px=1, coords=coords, targets=(Target(0, 0, 1),))
        )
        one.child.send(act("nothing", 3))
        assert time.monotonic() - before < 2
        os.kill(one.child.pid, signal.SIGCONT)
        await one.until(lambda: len(one.said) == 4)
        assert [message.job for message in one.said[2:]] == [2, 3]

    play(scene)


def test_a_process_in_somebody_elses_hands_runs_nothing_here(play, tmp_path):
    target = tmp_path / "owned"

    async def scene(start):
        causes = []
        for words in (f"attack {str(target).replace('/', '|')}", "babble", "boast"):
            one = await start()
            causes.append((await one.ask(act(words))).cause)
        return causes

    causes = play(scene)
    assert all(cause.startswith("killed: sent what is no message") for cause in causes), causes
    assert "system may not be named" in causes[0]
    assert not target.exists()


def test_signals_of_a_terminal_or_a_job_reach_no_process_even_as_it_starts(play):
    async def scene(start):
        one = await start()
        for _ in range(20):
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR2):
                os.kill(one.child.pid, number)
            await asyncio.sleep(0.02)
        assert isinstance(await one.ask(act("nothing")), Illustrated)

    play(scene)


def test_what_a_process_prints_is_kept_in_part_and_never_shown(play, capfd):
    async def scene(start):
        one = await start()
        assert isinstance(await one.ask(act("talk 100000")), Illustrated)
        one.child.send(act("leave 2"))
        return await one.end()

    ending = play(scene)
    assert ending.last_words.endswith("line 99999")
    assert 1000 < len(ending.last_words) <= 8192
    out, err = capfd.readouterr()
    assert "line" not in out
    assert "line 5000" not in err


def test_vitals_count_a_processs_own_memory_and_not_the_shared_one(play):
    memory = Buffers.create(BufferShape(n_slots=8, batch=64, tile_px=224, dim=192))

    async def scene(start):
        one = await start(memory=memory)
        await one.ready()
        before = one.child.rss_bytes
        await one.ask(act("touch"))
        assert (memory.tiles(7) == 7).all()
        assert (memory.features(7) == 0.5).all()
        assert 1 << 20 < one.child.rss_bytes < before + (30 << 20)
        assert 4 <= one.child.n_files < 20
        assert 0.02 < one.child.cpu_s < 60

    play(scene)
    memory.close()


@pytest.mark.parametrize("turns", [6, pytest.param(40, marks=pytest.mark.slow)])
def test_processes_come_and_go_and_leave_nothing_behind(play, turns):
    async def scene(start):
        await (await start()).ready()
        before = len(names("/proc/self/fd")), threading.active_count()
        for turn in range(turns):
            some = [await start() for _ in range(4)]
            for number, one in enumerate(some):
                await one.ready()
                if (turn + number) % 2:
                    one.child.stop()
                else:
                    os.kill(one.child.pid, signal.SIGKILL)
            for one in some:
                await one.end()
        assert len(names("/proc/self/fd")) == before[0]
        assert threading.active_count() == before[1]
        assert zombies() == []
        assert not [name for name in names("/dev/shm") if "pellucid" in name]

    play(scene)


def test_a_process_is_taken_before_its_supervisor_when_memory_runs_out_and_dumps_no_pixels(play):
    async def scene(start):
        one = await start()
        await one.ready()
        own = int(Path("/proc/self/oom_score_adj").read_text())
        assert int(Path(f"/proc/{one.child.pid}/oom_score_adj").read_text()) > own
        core = next(line for line in Path(f"/proc/{one.child.pid}/limits").read_text().splitlines() if "core" in line)
        assert core.split()[4] == "0"
        assert Path(f"/proc/{one.child.pid}/comm").read_text().strip() == "pel-reader"

    play(scene)


def test_libraries_are_told_the_number_of_threads_before_they_load(play):
    async def scene(start):
        one = await start(threads=3)
        return (await one.ask(act("environment"))).pictures

    environment = play(scene)
    assert environment["OMP_NUM_THREADS"] == environment["OPENBLAS_NUM_THREADS"] == b"3"


SUPERVISOR = """
import asyncio, sys
from pathlib import Path
from pellucid.engine.buffers import Buffers
from pellucid.engine.children import start_child
from pellucid.engine.messages import BufferShape, Identify, Role, Setup

async def main():
    shape = BufferShape(n_slots=2, batch=2, tile_px=8, dim=4)
    memory = Buffers.create(shape)
    ready = asyncio.Queue()
    for number in range(3):
        setup = Setup(role=Role.READER, number=number, buffers=shape)
        child = await start_child(setup, memory, module="actor",
            on_message=lambda child, _: ready.put_nowait(child), on_end=lambda *_: None)
    for _ in range(3):
        child = await ready.get()
        print(child.pid, flush=True)
        if child.number == 1:
            child.send(Identify(job=1, path=Path("hang")))
    await asyncio.sleep(600)

asyncio.run(main())
"""


def test_processes_die_with_their_supervisor_even_busy_or_stopped_ones():
    environment = os.environ | {"PYTHONPATH": str(PARTS)}
    with subprocess.Popen(
        [sys.executable, "-c", SUPERVISOR], stdout=subprocess.PIPE, text=True, env=environment
    ) as supervisor:
        pids = [int(supervisor.stdout.readline()) for _ in range(3)]
        os.kill(pids[0], signal.SIGSTOP)
        time.sleep(0.1)
        supervisor.kill()
    deadline = time.monotonic() + 10
    while not all(is_gone(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert all(is_gone(pid) for pid in pids)


def test_a_process_that_outlives_sigkill_is_given_up_once(play, monkeypatch):
    """A tracer keeps a killed process from being waited for, as a dead network share would."""
    monkeypatch.setattr("pellucid.engine.children._UNKILLABLE_S", 0.3)
    script = (
        "import ctypes, sys, time; libc = ctypes.CDLL(None, use_errno=True)\n"
        "libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]\n"
        "print(libc.ptrace(0x4206, int(sys.argv[1]), None, None), flush=True); time.sleep(60)"
    )

    async def scene(start):
        one = await start()
        await one.ready()
        with subprocess.Popen(
            [sys.executable, "-c", script, str(one.child.pid)], stdout=subprocess.PIPE, text=True
        ) as tracer:
            if int(tracer.stdout.readline()) != 0:
                tracer.kill()
                pytest.skip("this system lets no process trace another")
            one.child.kill("stalled")
            ending = await one.end()
            assert (ending.returncode, ending.expected) == (None, False)
            assert ending.cause.startswith("unkillable")
            tracer.kill()
        await asyncio.sleep(0.5)
        assert len(one.endings) == 1
        assert one.child.pid not in zombies()

    play(scene)


def test_the_system_refusing_a_process_is_an_error_and_leaves_nothing_open(play, monkeypatch):
    monkeypatch.setattr(sys, "executable", "/nowhere/python")

    async def scene(start):
        before = len(names("/proc/self/fd"))
        with pytest.raises(FileNotFoundError):
            await start()
        assert len(names("/proc/self/fd")) == before

    play(scene)
