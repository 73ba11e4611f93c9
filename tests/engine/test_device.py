import asyncio
import shutil

import numpy as np
import pytest

from pellucid.bundle import SigningKey, load_bundle
from pellucid.core.seeds import generator
from pellucid.encoders import half_features
from pellucid.engine.messages import Encode, Encoded, Ready, Refused, Role

MODULE = "pellucid.engine.device"
REFUSED, INFINITE, TOO_LARGE, LOST, FAULT = 255, 254, 253, 252, 251


@pytest.fixture
def of_bundle(pristine, key):
    digest = load_bundle(pristine, [key.trusted()]).digest
    return {
        "factory": "pellucid.engine.models:encoder_of_bundle",
        "folder": pristine,
        "trusted": [key.trusted()],
        "digest": digest,
    }


def fill(buffers, slot, firsts):
    buffers.tiles(slot)[:] = 1
    for row, first in enumerate(firsts):
        buffers.tiles(slot)[row, 0, 0, 0] = first


def test_a_bundles_encoder_gives_the_bits_that_it_gives_alone(play, buffers, of_bundle, pristine, key):
    buffers.tiles(1)[:] = generator("tiles").integers(0, 256, buffers.tiles(1).shape, dtype=np.uint8)
    buffers.features(1)[:] = 7

    async def scene(start):
        one = await start(MODULE, role=Role.DEVICE, **of_bundle)
        assert await one.ready() == Ready(detail="pellucid-small on cpu, threads: 1")
        await asyncio.sleep(0.2)
        answer = await one.ask(Encode(job=5, slot=1, rows=(0, 2, 3, 4, 5, 7)))
        return answer, one.steps

    answer, steps = play(scene)
    assert isinstance(answer, Encoded)
    assert (answer.job, answer.finite.tolist(), answer.chunk, steps) == (5, [True] * 6, 4, 2)
    assert answer.waited_s > 0.1
    encoder = load_bundle(pristine, [key.trusted()]).load_encoder()
    for row in (0, 2, 3, 4, 5, 7):
        alone = half_features(encoder.encode(buffers.tiles(1)[row : row + 1]))
        assert np.array_equal(buffers.features(1)[row : row + 1], alone)
    assert (buffers.features(1)[[1, 6]] == 7).all()


def test_features_that_are_no_numbers_are_found_tile_by_tile(play, buffers):
    fill(buffers, 0, [1, REFUSED, 2, INFINITE, TOO_LARGE, 3, REFUSED, 4])

    async def scene(start):
        one = await start(MODULE, role=Role.DEVICE, factory="stand_ins:encoder")
        return await one.ask(Encode(job=1, slot=0, rows=tuple(range(8))))

    answer = play(scene)
    assert answer.finite.tolist() == [True, False, True, False, False, True, False, True]
    features = buffers.features(0)
    assert np.array_equal(np.isfinite(features).all(axis=1), answer.finite)
    assert (features[[0, 2, 5, 7]] == np.array([[1], [2], [3], [4]])).all()


@pytest.mark.parametrize("factory", ["encoder", "encoder_without_memory", "encoder_of_allocator"])
def test_fewer_tiles_go_through_at_once_when_memory_runs_out(play, buffers, factory):
    fill(buffers, 0, range(10, 18))

    async def scene(start):
        one = await start(MODULE, role=Role.DEVICE, factory=f"stand_ins:{factory}", room=3)
        first = await one.ask(Encode(job=1, slot=0, rows=(0, 1, 2, 3, 4, 6, 7)))
        return first, await one.ask(Encode(job=2, slot=0, rows=(5,)))

    first, second = play(scene)
    assert (first.chunk, first.finite.all(), second.chunk) == (2, True, 2)
    assert buffers.features(0)[:, 0].tolist() == list(range(10, 18))


@pytest.mark.parametrize(("room", "first", "last"), [(0, 1, "no room for a single tile"), (9, LOST, "illegal memory")])
def test_an_accelerator_that_can_do_nothing_more_ends_its_process_and_blames_no_tile(play, buffers, room, first, last):
    fill(buffers, 0, [first] * 8)

    async def scene(start):
        one = await start(MODULE, role=Role.DEVICE, factory="stand_ins:encoder", room=room)
        await one.ready()
        one.child.send(Encode(job=1, slot=0, rows=(0, 1, 2)))
        ending = await one.end()
        assert len(one.said) == 1
        return ending

    ending = play(scene)
    assert ending.cause == "exit 1"
    assert last in ending.last_words.splitlines()[-1]


def test_a_fault_of_an_encoder_is_refused_with_its_trace(play, buffers):
    fill(buffers, 0, [1, FAULT])

    async def scene(start):
        one = await start(MODULE, role=Role.DEVICE, factory="stand_ins:encoder")
        refused = await one.ask(Encode(job=1, slot=0, rows=(0, 1)))
        assert isinstance(refused, Refused)
        assert (refused.code, refused.message) == ("", "ValueError: a fault of the encoder")
        assert (await one.ask(Encode(job=2, slot=0, rows=(0,)))).finite.all()

    play(scene)


def test_a_device_runs_on_the_threads_it_was_given(play):
    async def scene(start):
        one = await start(MODULE, role=Role.DEVICE, threads=2, factory="stand_ins:encoder_named_for_its_threads")
        return (await one.ready()).detail

    assert play(scene).startswith("torch with 2")


def test_a_bundle_that_may_not_be_used_is_said_once_and_for_all(play, of_bundle, tmp_path):
    altered = shutil.copytree(of_bundle["folder"], tmp_path / "altered")
    with (altered / "model_card.md").open("a") as file:
        file.write("!")
    wrong = [
        ({"digest": "0" * 64}, "PEL-ENGINE-001"),
        ({"trusted": [SigningKey.generate().trusted()]}, "PEL-BUNDLE-006"),
        ({"folder": tmp_path / "nowhere"}, "PEL-BUNDLE-001"),
        ({"folder": altered}, "PEL-BUNDLE-004"),
    ]

    async def scene(start):
        codes = []
        for change, _ in wrong:
            one = await start(MODULE, role=Role.DEVICE, **(of_bundle | change))
            codes.append((await one.ready()).code)
            assert (await one.end()).returncode == 0
        return codes

    assert play(scene) == [code for _, code in wrong]


@pytest.mark.parametrize(
    ("factory", "arguments", "code"),
    [
        ("nowhere:encoder", {}, "PEL-ENGINE-002"),
        ("stand_ins:nothing", {}, "PEL-ENGINE-002"),
        ("stand_ins", {}, "PEL-ENGINE-002"),
        ("", {}, "PEL-ENGINE-002"),
        (None, {}, "PEL-ENGINE-002"),
        ("stand_ins:encoder", {"tile_px": 256}, "PEL-ENGINE-003"),
        ("stand_ins:encoder", {"dim": 1536}, "PEL-ENGINE-003"),
    ],
)
def test_a_model_that_is_not_there_or_does_not_fit_is_said(play, factory, arguments, code):
    async def scene(start):
        one = await start(MODULE, role=Role.DEVICE, factory=factory, **arguments)
        return (await one.ready()).code

    assert play(scene) == code
