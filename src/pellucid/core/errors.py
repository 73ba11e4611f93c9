"""Errors with a stable code, a sentence for people and a remedy."""

import re
from typing import ClassVar

_CODE = re.compile(r"PEL-[A-Z]+-\d{3}")
_registry: dict[str, type["PellucidError"]] = {}


class PellucidError(Exception):
    """A failure that a person can act on.

    Each way to fail is one subclass with its own `code`, which never changes once released, and a default `remedy`.

    Args:
        message: one sentence that says what is wrong, with the values at hand.
        remedy: what to do about it; the class's own remedy where omitted.
        context: values for logs and records (never a patient's data).
    """

    code: ClassVar[str]
    remedy: str = ""

    def __init_subclass__(cls, **kwargs: object) -> None:
        super().__init_subclass__(**kwargs)
        code = cls.__dict__.get("code")
        if code is None:
            return
        if not _CODE.fullmatch(code):
            raise TypeError(f"{cls.__name__}: {code!r} is no error code of the form PEL-ROOM-000")
        if code in _registry and _registry[code].__qualname__ != cls.__qualname__:
            raise TypeError(f"{cls.__name__} and {_registry[code].__name__} share the code {code}")
        _registry[code] = cls

    def __init__(self, message: str, *, remedy: str | None = None, **context: object) -> None:
        super().__init__(message)
        self.message = message
        if remedy is not None:
            self.remedy = remedy
        self.context = context

    def __str__(self) -> str:
        """Code, sentence and remedy in one line."""
        tail = f" {self.remedy}" if self.remedy else ""
        return f"[{self.code}] {self.message}{tail}"

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), self.message, self.remedy, self.context))


def _rebuild(kind: type[PellucidError], message: str, remedy: str, context: dict[str, object]) -> PellucidError:
    return kind(message, remedy=remedy, **context)


def known_errors() -> dict[str, type[PellucidError]]:
    """Every error class defined so far, by its code."""
    return dict(sorted(_registry.items()))


class StorageFull(PellucidError):
    """The disk has no room for what must be written."""

    code = "PEL-CORE-001"
    remedy = "Free space on that file system and start the same command again: it goes on where it stopped."


class SystemRefused(PellucidError):
    """The operating system refused to read or write something."""

    code = "PEL-CORE-006"
    remedy = "Check that the place exists, that this account may read and write it, and that its disk is well."


class SettingsInvalid(PellucidError):
    """A setting is unknown or its value can't be used."""

    code = "PEL-CORE-003"
    remedy = "Correct the named setting; `pellucid init` writes a commented example."


class SettingsMissing(PellucidError):
    """A settings file that was named isn't there or can't be read."""

    code = "PEL-CORE-004"
    remedy = "Give the path of an existing TOML file."
