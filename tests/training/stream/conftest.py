import shutil
from dataclasses import replace
from pathlib import Path

import pytest

import tile_slides
from pellucid.training.ranks import Ranks
from pellucid.training.stream import FailureBook, StreamPlan, TileStream

PLAN = StreamPlan(seed=3, epochs=4, share=0.5, tiles=40, chunk=8, ahead=2, max_failed=0.34, patience_s=0.0)


@pytest.fixture(scope="session")
def pristine_slides(tmp_path_factory):
    return tile_slides.fill(tmp_path_factory.mktemp("slides"))


@pytest.fixture
def slides(pristine_slides, tmp_path):
    """A folder of six slides that a test may spoil."""
    return Path(shutil.copytree(pristine_slides, tmp_path / "slides"))


@pytest.fixture
def make_stream(tmp_path, monkeypatch):
    """Streams over a folder's slides, with a book that outlives them."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent / "parts"))
    streams = []

    def make(scans, *, readers=1, book="failures.jsonl", program=None, **changes):
        ranks = Ranks()
        stream = TileStream(
            scans,
            replace(PLAN, **changes),
            spec=tile_slides.spec(),
            ranks=ranks,
            failures=FailureBook(tmp_path / book, ranks),
            readers=readers,
            **({} if program is None else {"reader_module": program}),
        )
        streams.append(stream)
        return stream

    yield make
    for stream in streams:
        stream.close()
