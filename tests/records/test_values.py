import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pellucid.records import ValueUnrecordable, task_key
from pellucid.records.seals import row_digest
from pellucid.records.values import from_text, pack_floats, to_text, unpack_floats

finite = st.floats(allow_nan=False, allow_infinity=False)
scalars = st.none() | st.integers() | finite | st.text() | st.binary()


@given(st.lists(finite))
def test_floats_survive_packing_bit_by_bit(values):
    unpacked = unpack_floats(pack_floats(values, what="logits"))
    assert np.array(unpacked).tobytes() == np.array(values, dtype=float).tobytes()


@given(st.recursive(finite | st.text() | st.booleans() | st.none(), lambda inner: st.dictionaries(st.text(), inner)))
def test_plain_values_survive_as_text(value):
    assert from_text(to_text(value, what="value")) == value


def test_arrays_of_other_shapes_are_refused():
    with pytest.raises(ValueUnrecordable):
        pack_floats([[0.0]], what="logits")


PARTS = {"scan": "s", "model": "m", "overrides": {"mpp": 0.25, "a": 1}, "purpose": "score"}


def test_task_key_ignores_the_order_of_overrides():
    assert task_key(**PARTS) == task_key(**(PARTS | {"overrides": {"a": 1, "mpp": 0.25}}))
    assert len(task_key(**PARTS)) == 64


@pytest.mark.parametrize(
    "change",
    [{"scan": "t"}, {"model": "n"}, {"overrides": {"mpp": 0.5, "a": 1}}, {"purpose": "train"}],
)
def test_task_key_depends_on_each_part(change):
    assert task_key(**(PARTS | change)) != task_key(**PARTS)


@given(st.dictionaries(st.text(min_size=1), scalars, min_size=1), st.data())
def test_seal_shows_any_change_of_a_value(row, data):
    name = data.draw(st.sampled_from(sorted(row)))
    other = data.draw(scalars)
    same = type(other) is type(row[name]) and repr(other) == repr(row[name])
    assert (row_digest(b"k", "t", row | {name: other}) == row_digest(b"k", "t", row)) == same


def test_seal_ignores_a_column_that_a_later_schema_adds_empty():
    assert row_digest(b"k", "t", {"a": 1}) == row_digest(b"k", "t", {"a": 1, "b": None})


def test_seal_depends_on_key_and_table():
    digests = {row_digest(key, table, {"a": 1}) for key in (b"k", b"l") for table in ("t", "u")}
    assert len(digests) == 4
