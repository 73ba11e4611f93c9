"""A training's settings from a TOML file, with every mistake in it reported at once."""

import difflib
import tomllib
import types
from collections.abc import Iterator
from dataclasses import MISSING, fields, is_dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

from pellucid.training.config import TrainingConfig
from pellucid.training.errors import TrainingConfigInvalid


def load_config(path: Path) -> TrainingConfig:
    """The settings that a file names; all others have their defaults. Relative paths are relative to the file.

    Raises:
        TrainingConfigInvalid: no TOML, unknown keys (each with the nearest known one), or values that can't be used.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise TrainingConfigInvalid(f"{path} can't be read: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise TrainingConfigInvalid(f"{path} is not a TOML file: {error}.") from error
    problems: list[str] = []
    config = _build(TrainingConfig, table, path.absolute().parent, "", problems)
    if problems or config is None:
        raise TrainingConfigInvalid(f"{path}: {'; '.join(problems)}.", problems=len(problems))
    assert isinstance(config, TrainingConfig)
    return config


def template() -> str:
    """A file with every setting at its default, commented out."""
    return (
        "\n".join(["# Settings of `pellucid train`; docs/training.md explains them.", *_lines(TrainingConfig, "")])
        + "\n"
    )


def _lines(kind: type, section: str) -> Iterator[str]:
    hints = get_type_hints(kind)
    if section:
        yield f"\n[{section}]"
    nested = []
    for item in fields(kind):
        default = item.default_factory() if item.default_factory is not MISSING else item.default
        if is_dataclass(hints[item.name]):
            nested.append((hints[item.name], item.name))
        else:
            yield f"# {item.name} = {_toml(default)}"
    for inner, name in nested:
        yield from _lines(inner, f"{section}.{name}" if section else name)


def _toml(value: Any) -> str:
    if value is None:
        return '""  # left out'
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple | list):
        return "[" + ", ".join(_toml(one) for one in value) + "]"
    return f'"{value}"' if isinstance(value, str | Path) else repr(value)


def _build(kind: type, table: dict[str, Any], folder: Path, where: str, problems: list[str]) -> Any:
    hints = get_type_hints(kind)
    values: dict[str, Any] = {}
    before = len(problems)
    for name, value in table.items():
        if name not in hints:
            problems.append(f"unknown key {where}{name}{_nearest(name, list(hints))}")
            continue
        values[name] = _value(hints[name], value, folder, f"{where}{name}", problems)
    if len(problems) > before:
        _check_alone(kind, {name: value for name, value in values.items() if value is not None}, where, problems)
        return None
    try:
        return kind(**values)
    except TrainingConfigInvalid as error:
        problems.append(f"{where}{error.message.rstrip('.')}")
        return None


def _check_alone(kind: type, values: dict[str, Any], where: str, problems: list[str]) -> None:
    """Report what is wrong with the values that could be read, though others could not."""
    try:
        kind(**values)
    except TrainingConfigInvalid as error:
        problems.append(f"{where}{error.message.rstrip('.')}")


def _value(hint: Any, value: Any, folder: Path, name: str, problems: list[str]) -> Any:
    if is_dataclass(hint):
        if isinstance(value, dict):
            return _build(hint, value, folder, f"{name}.", problems)  # type: ignore[arg-type]
        problems.append(f"{name} must be a table, not {value!r}")
        return None
    if get_origin(hint) in (types.UnionType, Union):
        hint = next(one for one in get_args(hint) if one is not type(None))
    if get_origin(hint) is tuple:
        return _several(get_args(hint)[0], value, folder, name, problems)
    return _plain(hint, value, folder, name, problems)


def _several(hint: Any, value: Any, folder: Path, name: str, problems: list[str]) -> tuple[Any, ...]:
    if not isinstance(value, list):
        problems.append(f"{name} must be a list, not {value!r}")
        return ()
    return tuple(_value(hint, one, folder, f"{name}[{nth}]", problems) for nth, one in enumerate(value))


def _plain(hint: Any, value: Any, folder: Path, name: str, problems: list[str]) -> Any:
    if hint is Path and isinstance(value, str) and value:
        return folder / Path(value).expanduser()
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        known = [one.value for one in hint]
        if value in known:
            return hint(value)
        problems.append(f"{name} is {value!r}, which is none of {', '.join(known)}{_nearest(str(value), known)}")
        return None
    if isinstance(hint, type) and type(value) is hint:
        return value
    problems.append(f"{name} must be {_WORDS.get(hint, str(hint))}, not {value!r}")
    return None


def _nearest(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name.lower().replace("-", "_"), known, n=1, cutoff=0.5)
    return f" (did you mean {near[0]}?)" if near else f" (known are {', '.join(known)})"


_WORDS = {int: "a whole number", float: "a number", str: "a text", bool: "true or false", Path: "a path"}
