"""Domain types to plain JSON and back, with every field checked."""

from typing import Any, TypeVar

T = TypeVar("T")


_adapters: dict[Any, Any] = {}


def _adapter(kind: Any) -> Any:
    if kind not in _adapters:
        from pydantic import TypeAdapter

        _adapters[kind] = TypeAdapter(kind)
    return _adapters[kind]


def to_plain(value: Any) -> Any:
    """Plain JSON types of a dataclass, enum or container of such; floats stay as they are."""
    return _adapter(type(value)).dump_python(value, mode="json")


def from_plain(kind: type[T], value: Any) -> T:
    """Rebuild a `kind` from plain JSON types.

    Raises:
        pydantic.ValidationError: a field is missing or has the wrong type.
    """
    result: T = _adapter(kind).validate_python(value)
    return result
