import os
import pickle
import struct
from dataclasses import fields, is_dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pellucid.domain.grid import TileGrid
from pellucid.domain.quality import Quality, QualityMeasure, Sense
from pellucid.domain.reasons import Reason
from pellucid.domain.scan import Scale, ScaleSource, ScanIdentity, ScanInfo
from pellucid.engine.messages import Encoded, Identified, Prepared, Ready, Refused, Sampled, TilesRead
from pellucid.engine.wire import Decoder, WireBroken, encode

GRID = TileGrid(
    coords=np.arange(6, dtype=np.int32).reshape(3, 2)[::-1],
    tissue_fraction=np.ones(3, np.float32),
    level0_px=448,
    tile_px=224,
    mpp=0.5,
    columns=9,
    rows=8,
)
SCALE = Scale(mpp_x=0.25, mpp_y=0.25, source=ScaleSource.FILE, detail="openslide.mpp-x")
INFO = ScanInfo(
    width=1, height=2, level_downsamples=(1.0, 4.0), vendor="v", reader="r", scale=SCALE, claimed_mpp=None,
    objective_power=None, scanner=None, synthetic=True,
)  # fmt: skip
MEASURE = QualityMeasure(
    name="n", label="l", value=np.float64(0.5), unit="", limit=1.0, sense=Sense.AT_MOST, reason=Reason.POOR_FOCUS
)
MESSAGES = [
    Ready(detail="cpu"),
    Refused(job=1, code="PEL-SLIDE-001", message="é"),
    Identified(job=2, identity=ScanIdentity(digest="ab", size_bytes=1 << 40), fingerprint="f"),
    TilesRead(job=3, readable=np.array([True, False]), seconds=0.5, cpu_s=0.4),
    Encoded(job=4, finite=np.zeros(0, bool), seconds=0.1, waited_s=0.0, chunk=4),
    Prepared(
        job=5, info=INFO, grid=GRID, quality=Quality(measures=(MEASURE,)), seen={"a": np.float32(1)},
        pictures={"p": b"\x89PNG" * 100}, seconds={},
    ),
    Sampled(
        job=6, logits=np.linspace(0, 1, 5), dropout_free_logit=0.1, attention_mean=np.ones(3, np.float32),
        attention_sd=np.ones(3, np.float32)[::-1], embedding=np.zeros(2, np.float32), seconds=1.0,
    ),
    Sampled(
        job=7, logits=np.linspace(0, 1, 5), dropout_free_logit=0.1, attention_mean=np.ones(3, np.float32),
        attention_sd=np.ones(3, np.float32), embedding=np.zeros(2, np.float32), seconds=1.0,
        ensemble_logits=np.linspace(-1, 1, 5), tumour=np.linspace(0, 1, 3, dtype=np.float32),
    ),
]  # fmt: skip


@settings(deadline=None, max_examples=50)
@given(st.lists(st.sampled_from(MESSAGES), max_size=5), st.lists(st.integers(1, 300), min_size=1, max_size=20))
def test_messages_come_whole_and_in_order_however_the_stream_is_cut(messages, sizes):
    stream = b"".join(encode(message) for message in messages)
    decoder, got, at, turn = Decoder(trusted=False), [], 0, 0
    while at < len(stream):
        size = sizes[turn % len(sizes)] * (1 + turn)
        got += decoder.feed(stream[at : at + size])
        at, turn = at + size, turn + 1
    assert [plain(one) for one in got] == [plain(one) for one in messages]


def plain(value):
    """Types and values, arrays as lists."""
    if isinstance(value, np.ndarray):
        return str(value.dtype), value.tolist()
    if is_dataclass(value):
        return type(value).__name__, [plain(getattr(value, one.name)) for one in fields(value)]
    if isinstance(value, tuple):
        return [plain(one) for one in value]
    return type(value).__name__, value


def framed(body: bytes) -> bytes:
    return struct.pack("<Q", len(body)) + body


class Command:
    def __reduce__(self):
        return (os.system, ("true",))


@pytest.mark.parametrize(
    "body",
    [
        pickle.dumps(Command()),
        pickle.dumps(Ready(detail=Command())),
        pickle.dumps(eval),
        b"cpellucid.engine.messages\nPath\n(S'/etc'\ntR.",
        b"cpellucid.engine.messages\nnp.load\n(S'/etc'\ntR.",
        b"cpellucid.domain.scan\ndataclass\n.",
        b"cos\nsystem\n(S'true'\ntR.",
        b"garbage",
        b"",
        pickle.dumps(Ready())[:-3],
        pickle.dumps({"a": "dict"}),
        pickle.dumps(SCALE),
    ],
)
def test_a_process_can_name_messages_and_nothing_else(body):
    with pytest.raises(WireBroken):
        Decoder(trusted=False).feed(framed(body))


def test_a_length_beyond_all_bounds_is_refused_before_it_is_waited_for():
    with pytest.raises(WireBroken, match="announced"):
        Decoder(trusted=True).feed(struct.pack("<Q", 1 << 40))
