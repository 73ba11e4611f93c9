"""Messages as bytes: a length, then a pickle.

What a process says is read with a list of the only things it may name, because a process that decodes files of unknown
origin may be in somebody else's hands: it can send a wrong message, never make the supervisor run code.
"""

import io
import pickle
import struct
import sys
from dataclasses import is_dataclass
from enum import Enum
from functools import cache
from typing import Any, Final

from pellucid.engine.messages import Message

_LENGTH: Final = struct.Struct("<Q")
_MAX_BYTES: Final = 1 << 30
_OWN_MODULES: Final = ("pellucid.engine.messages", "pellucid.domain.")
_FOREIGN: Final = {
    ("numpy", "dtype"),
    ("numpy", "ndarray"),
    *((f"numpy.{core}.numeric", "_frombuffer") for core in ("_core", "core")),
    *((f"numpy.{core}.multiarray", name) for core in ("_core", "core") for name in ("_reconstruct", "scalar")),
    *((module, "PosixPath") for module in ("pathlib", "pathlib._local")),
    ("_codecs", "encode"),  # how pickle writes the bytes of small arrays
}


class WireBroken(ValueError):
    """What came is no message."""


def encode(message: Message) -> bytes:
    """A message's bytes on the wire."""
    body = pickle.dumps(message, protocol=5)
    return _LENGTH.pack(len(body)) + body


class Decoder:
    """Puts messages together from the pieces of a stream.

    Args:
        trusted: whether whoever sends may name any class, as the supervisor may.
    """

    def __init__(self, *, trusted: bool) -> None:
        self._trusted = trusted
        self._pending = bytearray()

    def feed(self, data: bytes | memoryview) -> list[Message]:
        """The messages that are whole with these bytes.

        Raises:
            WireBroken: the bytes are no message.
        """
        self._pending += data
        messages, at = [], 0
        while len(self._pending) - at >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._pending, at)
            if length > _MAX_BYTES:
                raise WireBroken(f"a message of {length} bytes was announced")
            end = at + _LENGTH.size + length
            if end > len(self._pending):
                break
            messages.append(self._load(bytes(memoryview(self._pending)[at + _LENGTH.size : end])))
            at = end
        del self._pending[:at]
        return messages

    def _load(self, body: bytes) -> Message:
        if self._trusted:
            message: Message = pickle.loads(body)  # noqa: S301 - the supervisor's own words
            return message
        try:
            loaded: Message = _Limited(io.BytesIO(body)).load()
        except (
            pickle.UnpicklingError,
            AttributeError,
            EOFError,
            ImportError,
            IndexError,
            TypeError,
            ValueError,
        ) as error:
            raise WireBroken(f"{type(error).__name__}: {error}") from error
        if type(loaded).__module__ != _OWN_MODULES[0]:
            raise WireBroken(f"a {type(loaded).__name__} is no message")
        return loaded


class _Limited(pickle.Unpickler):
    """An unpickler that knows messages, what they are made of, and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        return _find(module, name)


@cache
def _find(module: str, name: str) -> Any:
    if (module, name) in _FOREIGN:
        return getattr(sys.modules.get(module) or __import__(module, fromlist=[name]), name)
    if module.startswith(_OWN_MODULES) and "." not in name:
        found = getattr(__import__(module, fromlist=[name]), name)
        is_own = isinstance(found, type) and found.__module__ == module
        if is_own and (is_dataclass(found) or issubclass(found, Enum)):
            return found
    raise pickle.UnpicklingError(f"{module}.{name} may not be named")
