"""Randomness is a function of named parts, the same on every machine."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pellucid.core.seeds import derive_seed, generator

_PARTS = st.lists(st.integers() | st.text(st.characters(exclude_characters="\x1f", codec="utf-8")), max_size=4)


def test_a_seed_is_the_same_for_ever() -> None:
    assert derive_seed("cohort", 7) == 0xFA2FCFCF96CC407D3502BF15D52ADF0A
    drawn = generator("cohort", 7).bit_generator.random_raw(3)
    assert drawn.tolist() == [11060135905229087827, 2260724590632286584, 13918771827335897800]


@given(_PARTS, _PARTS)
def test_other_parts_give_another_seed(first: list[str | int], second: list[str | int]) -> None:
    same = [(type(a), a) for a in first] == [(type(b), b) for b in second]
    assert (derive_seed(*first) == derive_seed(*second)) is same


def test_a_number_is_not_its_text_and_parts_are_not_joined() -> None:
    assert len({derive_seed(1), derive_seed("1"), derive_seed("1", ""), derive_seed("", "1"), derive_seed("ab"),
                derive_seed("a", "b")}) == 6  # fmt: skip


@given(_PARTS)
def test_a_seed_has_128_bits(parts: list[str | int]) -> None:
    assert 0 <= derive_seed(*parts) < 2**128


def test_generators_of_the_same_parts_draw_the_same() -> None:
    assert np.array_equal(generator("a", 1).integers(0, 2**63, 100), generator("a", 1).integers(0, 2**63, 100))
    assert not np.array_equal(generator("a", 1).random(8), generator("a", 2).random(8))


def test_a_generator_leaves_the_global_one_alone() -> None:
    before = np.random.get_state()[1].copy()  # noqa: NPY002 (the global generator is what is looked at)
    generator("a").random(1000)
    assert np.array_equal(before, np.random.get_state()[1])  # noqa: NPY002


@pytest.mark.parametrize("index", [0, 5])
def test_a_generator_is_counter_based_on_the_whole_seed(index: int) -> None:
    stream = generator("model", index)
    assert isinstance(stream.bit_generator, np.random.Philox)
    key = stream.bit_generator.state["state"]["key"]
    assert int(key[0]) | int(key[1]) << 64 == derive_seed("model", index)
