"""Domain types to plain JSON and back."""

import json
import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import pydantic
import pytest

from pellucid.core.clock import utc_now
from pellucid.core.serial import from_plain, to_plain


class _Colour(StrEnum):
    RED = "red"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Inner:
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Outer:
    colour: _Colour
    items: tuple[_Inner, ...]
    path: Path
    note: str | None = None


_VALUE = _Outer(colour=_Colour.RED, items=(_Inner(value=0.1), _Inner(value=1e-300)), path=Path("a/b"))


def test_a_value_comes_back_from_json_as_it_was() -> None:
    plain = json.loads(json.dumps(to_plain(_VALUE)))
    assert plain == {"colour": "red", "items": [{"value": 0.1}, {"value": 1e-300}], "path": "a/b", "note": None}
    assert from_plain(_Outer, plain) == _VALUE


@pytest.mark.parametrize("change", [{"colour": "blue"}, {"items": [{}]}, {"items": 3}, {"note": 5}])
def test_a_wrong_field_is_refused(change: dict) -> None:
    with pytest.raises(pydantic.ValidationError):
        from_plain(_Outer, to_plain(_VALUE) | change)


def test_the_clock_gives_text_that_sorts() -> None:
    first, second = utc_now(), utc_now()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", first)
    assert first <= second
