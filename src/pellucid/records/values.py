"""Values as they are stored: canonical JSON text, and arrays of float64."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import is_dataclass
from typing import Any

import numpy as np

from pellucid.core.digests import canonical_json, digest_json
from pellucid.core.serial import to_plain
from pellucid.records.errors import ValueUnrecordable

_FLOAT64 = "<f8"
_LARGEST_INTEGER = 2**53 - 1


def to_bytes(value: Any, *, what: str) -> bytes:
    """Canonical JSON of plain types or of a dataclass.

    Raises:
        ValueUnrecordable: a number that isn't finite or a type that JSON doesn't have.
    """
    try:
        # Plain types go as they are: untyped, pydantic would turn NaN into null without a word.
        return canonical_json(to_plain(value) if is_dataclass(value) else value)
    except ValueError as error:  # rfc8785's and pydantic's errors are both such
        raise ValueUnrecordable(f"The {what} can't be recorded: {error}.") from error


def to_text(value: Any, *, what: str) -> str:
    """As `to_bytes`, as text."""
    return to_bytes(value, what=what).decode()


def from_text(text: str) -> Any:
    """The value of a stored text."""
    return json.loads(text, parse_int=_parse_integer)


def _parse_integer(digits: str) -> int | float:
    """Canonical JSON writes a float such as 6e16 as digits too; an integer of that size is never written."""
    number = int(digits)
    return number if abs(number) <= _LARGEST_INTEGER else float(digits)


def storable(text: str) -> str:
    """A message as every database can hold it: what came out of a broken file may be no text."""
    return text.replace("\x00", "\ufffd").encode("utf-8", "replace").decode()


def pack_floats(values: Sequence[float], *, what: str) -> bytes:
    """The bytes of `(n,) float64`, little-endian, whatever the machine.

    Raises:
        ValueUnrecordable: a number that isn't finite.
    """
    array = np.asarray(values, dtype=_FLOAT64)
    if array.ndim != 1 or not np.isfinite(array).all():
        raise ValueUnrecordable(f"The {what} must be a list of finite numbers.")
    return array.tobytes()


def unpack_floats(data: bytes) -> tuple[float, ...]:
    """The numbers that `pack_floats` packed, bit by bit."""
    return tuple(np.frombuffer(data, dtype=_FLOAT64).tolist())


def task_key(*, scan: str, model: str, overrides: Mapping[str, Any], purpose: str) -> str:
    """The key under which a scan's work is done at most once: 64 hexadecimal digits over all that decides its result.

    Args:
        scan: the scan digest.
        model: the digest of the model bundle.
        overrides: what a person stated against the file, such as `{"mpp": 0.25}`; order doesn't matter.
        purpose: what the result is for.
    """
    parts = {"scan": scan, "model": model, "overrides": dict(overrides), "purpose": purpose}
    return digest_json(parts)
