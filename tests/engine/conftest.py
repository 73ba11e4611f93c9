"""Real processes of the engine to talk to."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pellucid.cohort.synthetic.large import write_large_slide
from pellucid.domain.encoder import Decoding
from pellucid.engine.buffers import Buffers
from pellucid.engine.children import Child, Ending, start_child
from pellucid.engine.messages import Alive, BufferShape, Factory, Geometry, Message, Role, ScanFile, Setup

PARTS = Path(__file__).parent / "parts"
SHAPE = BufferShape(n_slots=3, batch=8, tile_px=224, dim=192)
GEOMETRY = Geometry(tile_px=224, mpp=0.5, tolerance=0.05, decoding=Decoding.FULL_AREA)


class Correspondent:
    """A process and all that it said."""

    def __init__(self) -> None:
        self.child: Child
        self.said: list[Message] = []
        self.steps = 0
        self.endings: list[Ending] = []
        self._news = asyncio.Event()

    def heard(self, child: Child, message: Message) -> None:
        assert not self.endings, "a message after the end"
        if isinstance(message, Alive):
            self.steps += 1
        else:
            self.said.append(message)
        self._news.set()

    def ended(self, child: Child, ending: Ending) -> None:
        assert child is self.child
        self.endings.append(ending)
        self._news.set()

    async def until(self, condition: Callable[[], object], seconds: float = 30.0) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            self._news.clear()
            await asyncio.wait_for(self._news.wait(), max(deadline - time.monotonic(), 0.01))

    async def ready(self) -> Message:
        await self.until(lambda: self.said or self.endings)
        assert self.said, self.endings
        return self.said[0]

    async def ask(self, job: Any) -> Any:
        """Send a job and wait for what answers it."""
        await self.ready()
        before = len(self.said)
        self.child.send(job)
        await self.until(lambda: len(self.said) > before or self.endings)
        return self.said[before] if len(self.said) > before else self.endings[0]

    async def end(self) -> Ending:
        await self.until(lambda: self.endings)
        await asyncio.sleep(0.05)
        assert len(self.endings) == 1
        return self.endings[0]


Start = Callable[..., Awaitable[Correspondent]]


@pytest.fixture
def buffers() -> Iterator[Buffers]:
    made = Buffers.create(SHAPE)
    yield made
    made.close()


@pytest.fixture
def play(buffers: Buffers, monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[Start], Awaitable[Any]]], Any]:
    """Run a scene, which gets a function to start processes with; none outlives it."""
    monkeypatch.setenv("PYTHONPATH", str(PARTS))

    def run(scene: Callable[[Start], Awaitable[Any]]) -> Any:
        cast: list[Correspondent] = []

        async def start(
            module: str = "actor",
            *,
            role: Role = Role.READER,
            factory: str | None = None,
            memory: Buffers = buffers,
            threads: int = 1,
            **arguments: Any,
        ) -> Correspondent:
            made = None if factory is None else Factory(path=factory, arguments=arguments)
            setup = Setup(role=role, number=len(cast), buffers=memory.shape, threads=threads, factory=made)
            one = Correspondent()
            one.child = await start_child(setup, memory, module=module, on_message=one.heard, on_end=one.ended)
            cast.append(one)
            return one

        async def perform() -> Any:
            try:
                return await scene(start)
            finally:
                for one in cast:
                    one.child.kill("the scene is over")
                for one in cast:
                    await one.until(lambda one=one: one.endings)

        return asyncio.run(perform())

    return run


@pytest.fixture(scope="session")
def slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clean synthetic scan, 2048 x 2048 at 0.5 um/px."""
    return write_large_slide(tmp_path_factory.mktemp("slides") / "scan.svs", 2048, 2048, 1)


@pytest.fixture(scope="session")
def geometry() -> Geometry:
    return GEOMETRY


@pytest.fixture(scope="session")
def scan_file() -> Callable[..., ScanFile]:
    def make(path: Path, fingerprint: str | None = None) -> ScanFile:
        return ScanFile(path=path, mpp=None, mpp_detail="override", fingerprint=fingerprint)

    return make
