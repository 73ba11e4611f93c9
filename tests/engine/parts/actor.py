"""A process of the engine that does what its jobs' paths name: answer, die in many ways, or misbehave."""

import os
import pickle
import signal
import struct
import sys
import threading
import time

from pellucid.core.errors import StorageFull
from pellucid.engine.child import run
from pellucid.engine.messages import Illustrated, TilesRead


class Actor:
    def __init__(self, setup, buffers):
        self.setup, self.buffers = setup, buffers
        path = None if setup.factory is None else setup.factory.path
        if path == "unfit":
            raise StorageFull("There is no room.", remedy="Make room.")
        if path == "stillborn":
            raise RuntimeError("a fault at the start")

    @property
    def detail(self):
        return f"{self.setup.role} {self.setup.number}"

    def do(self, job, *, step, waited_s):
        words = job.path.name.split(" ")
        pictures = getattr(self, words[0])(job, step, *words[1:]) or {}
        return Illustrated(job=job.job, pictures=pictures, seconds=waited_s)

    def rest(self):
        pass

    def nothing(self, job, step):
        pass

    def die(self, job, step, number):
        os.kill(os.getpid(), int(number))
        time.sleep(60)

    def leave(self, job, step, code):
        sys.exit(int(code))

    def segfault(self, job, step):
        import ctypes

        ctypes.string_at(0)

    def fault(self, job, step):
        raise KeyError("a fault")

    def refuse(self, job, step):
        raise StorageFull("There is no room.", remedy="Make room.")

    def starve(self, job, step):
        raise MemoryError("no room for 7 GB")

    def hang(self, job, step):
        time.sleep(600)

    def steps(self, job, step, n):
        for _ in range(int(n)):
            step()

    def talk(self, job, step, lines):
        for number in range(int(lines)):
            sys.stderr.write(f"line {number}\n")

    def large(self, job, step, n_bytes):
        return {"large": bytes(int(n_bytes))}

    def answer_then_die(self, job, step):
        threading.Timer(0.1, lambda: os.kill(os.getpid(), signal.SIGKILL)).start()
        return {"last": b"answer"}

    def touch(self, job, step):
        for slot in range(self.buffers.shape.n_slots):
            self.buffers.tiles(slot)[:] = 7
            self.buffers.features(slot)[:] = 0.5

    def environment(self, job, step):
        return {name: value.encode() for name, value in os.environ.items()}

    def attack(self, job, step, target):
        """Say something that would make a plain unpickler run a command."""

        class Evil:
            def __reduce__(self):
                return (os.system, (f"touch {target.replace('|', '/')}",))

        body = pickle.dumps(TilesRead(job=job.job, readable=Evil(), seconds=0.0, cpu_s=0.0))
        self._say(body)

    def babble(self, job, step):
        self._say(b"\x80\x05 no message")

    def boast(self, job, step):
        os.write(self._fd(), struct.pack("<Q", 1 << 60))
        time.sleep(600)

    def _say(self, body):
        os.write(self._fd(), struct.pack("<Q", len(body)) + body)
        time.sleep(600)

    def _fd(self):
        return int(sys.argv[sys.argv.index("--fd") + 1])


if __name__ == "__main__":
    run(Actor)
