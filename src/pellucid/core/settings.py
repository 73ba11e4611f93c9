"""A deployment's settings: one TOML file, overridden by `PELLUCID_*` environment variables."""

import difflib
import os
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from pellucid.core.errors import PellucidError, SettingsInvalid, SettingsMissing
from pellucid.core.files import write_text

FILE_NAME = "pellucid.toml"
_PREFIX = "PELLUCID_"
_CONFIG_VARIABLE = "PELLUCID_CONFIG"
LOG_LEVELS = ("debug", "info", "warning", "error")
_TRUE, _FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off")


class SettingsExist(PellucidError):
    """A settings file is already where the example should be written."""

    code = "PEL-CORE-005"
    remedy = "Edit the file that is there, or name another folder."


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a site decides about its deployment.

    `trusted_keys` are files or folders of public keys: whose model bundles may be used. `policy_keys` are likewise the
    site's own, whose policies may be in force: the maker of a model can't sign one. `policy` is the file of the policy
    in force; None is a policy without certificates, under which nothing is decided without a person. `database` is an
    SQLAlchemy URL, which may hold a password and is therefore kept out of `repr`; None is an SQLite file in the output
    folder. `threads` None takes what the machine allots; `metrics_port` None serves no metrics.
    """

    site: str = "local"
    trusted_keys: tuple[Path, ...] = ()
    policy_keys: tuple[Path, ...] = ()
    policy: Path | None = None
    keep_bags: bool = False
    threads: int | None = None
    log_level: str = "info"
    metrics_port: int | None = None
    database: str | None = field(default=None, repr=False)


class _WrongValueError(ValueError):
    """A value isn't what its setting expects."""


@dataclass(frozen=True, slots=True)
class _Kind:
    """How a setting is read: what it expects, from a TOML value and from an environment variable's text."""

    expected: str
    check: Callable[[Any, Path], Any]
    parse: Callable[[str], Any]


def _text(value: Any, _folder: Path) -> str:
    if not isinstance(value, str) or not value.strip():
        raise _WrongValueError
    return value.strip()


def _flag(value: Any, _folder: Path) -> bool:
    if not isinstance(value, bool):
        raise _WrongValueError
    return value


def _parse_flag(text: str) -> bool:
    word = text.strip().lower()
    if word not in _TRUE + _FALSE:
        raise _WrongValueError
    return word in _TRUE


def _level(value: Any, folder: Path) -> str:
    level = _text(value, folder).lower()
    if level not in LOG_LEVELS:
        raise _WrongValueError
    return level


def _integer(low: int, high: int) -> Callable[[Any, Path], int]:
    def check(value: Any, _folder: Path) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise _WrongValueError
        return value

    return check


def _paths(value: Any, folder: Path) -> tuple[Path, ...]:
    if not isinstance(value, list):
        raise _WrongValueError
    return tuple(_path(item, folder) for item in value)


def _path(value: Any, folder: Path) -> Path:
    return folder / Path(_text(value, folder)).expanduser()


def _parse_paths(text: str) -> list[str]:
    return [part for part in text.split(os.pathsep) if part]


_KINDS = {
    "site": _Kind("a name", _text, str),
    "trusted_keys": _Kind("a list of paths", _paths, _parse_paths),
    "policy_keys": _Kind("a list of paths", _paths, _parse_paths),
    "policy": _Kind("a path", _path, str),
    "keep_bags": _Kind("true or false", _flag, _parse_flag),
    "threads": _Kind("a whole number from 1 to 1024", _integer(1, 1024), int),
    "log_level": _Kind("one of " + ", ".join(LOG_LEVELS), _level, str),
    "metrics_port": _Kind("a port from 1 to 65535", _integer(1, 65535), int),
    "database": _Kind("a database URL", _text, str),
}
_SECRET = {"database"}


def load_settings(
    path: Path | None = None, *, environ: Mapping[str, str] | None = None, folder: Path | None = None
) -> Settings:
    """The settings of this deployment; what the environment says wins over the file, and the file over the defaults.

    Relative paths in the file are relative to its folder, those in the environment to the working folder; the
    environment separates paths as PATH does.

    Args:
        path: the settings file; where None, the one PELLUCID_CONFIG names, else `pellucid.toml` in `folder` if there.
        environ: the environment; the process's own where None.
        folder: the working folder; the process's own where None.

    Raises:
        SettingsMissing: a file that was named isn't there or can't be read.
        SettingsInvalid: not TOML, unknown settings or wrong values: all of them, each with where it stands.
    """
    environ = os.environ if environ is None else environ
    folder = Path.cwd() if folder is None else folder
    source = _find_file(path, environ, folder)
    problems: list[str] = []
    values: dict[str, Any] = {}
    if source is not None:
        values |= _read_file(source, problems)
    values |= _read_environment(environ, folder, problems)
    if problems:
        raise SettingsInvalid("; ".join(problems) + ".", problems=len(problems))
    return Settings(**values)


def _find_file(path: Path | None, environ: Mapping[str, str], folder: Path) -> Path | None:
    if path is None and (named := environ.get(_CONFIG_VARIABLE)):
        path = folder / named
    if path is not None:
        return path
    default = folder / FILE_NAME
    return default if default.is_file() else None


def _read_file(source: Path, problems: list[str]) -> dict[str, Any]:
    try:
        table = tomllib.loads(source.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsMissing(f"The settings file {source} can't be read: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsInvalid(f"{source} is not a TOML file: {error}.") from error
    values: dict[str, Any] = {}
    for name, value in table.items():
        if name not in _KINDS:
            problems.append(f"{source}: unknown setting {name}{_nearest(name)}")
            continue
        kind = _KINDS[name]
        try:
            values[name] = kind.check(value, source.absolute().parent)
        except _WrongValueError:
            problems.append(f"{source}: {name} must be {kind.expected}, not {_shown(name, value)}")
    return values


def _read_environment(environ: Mapping[str, str], folder: Path, problems: list[str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for variable, text in sorted(environ.items()):
        if not variable.startswith(_PREFIX) or variable == _CONFIG_VARIABLE:
            continue
        name = variable.removeprefix(_PREFIX).lower()
        if name not in _KINDS or variable != variable.upper():
            problems.append(f"unknown environment variable {variable}{_nearest(name, variable=True)}")
            continue
        kind = _KINDS[name]
        try:
            values[name] = kind.check(kind.parse(text), folder.absolute())
        except ValueError:
            problems.append(f"{variable} must be {kind.expected}, not {_shown(name, text)}")
    return values


def _nearest(name: str, *, variable: bool = False) -> str:
    near = difflib.get_close_matches(name.lower().replace("-", "_"), _KINDS, n=1, cutoff=0.5)
    known = near or list(_KINDS)
    shown = [_PREFIX + key.upper() for key in known] if variable else known
    return f" (did you mean {shown[0]}?)" if near else f" (known are {', '.join(shown)})"


def _shown(name: str, value: Any) -> str:
    return "the given value" if name in _SECRET else repr(value)


_COMMENTS = {
    "site": "The name of this site: one of the strata that results are reported by.",
    "trusted_keys": (
        "Public keys whose model bundles may be used here: files, or folders of *.pub files, relative to this file.\n"
        "Get a key from the maker of a bundle by another way than the bundle itself."
    ),
    "policy_keys": (
        "Public keys of the people at this site who may sign its policies, files or folders as above: never a key of\n"
        "the maker of a model."
    ),
    "policy": (
        "The policy in force, as `pellucid policy activate` wrote it. Left out: nothing is decided without a person."
    ),
    "keep_bags": "Keep each scan's embeddings, about 37 MB a slide for a large encoder.",
    "threads": "Threads to compute with. Left out: what the machine allots.",
    "log_level": "How much to log: " + ", ".join(LOG_LEVELS) + ".",
    "metrics_port": "Serve Prometheus metrics on this port. Left out: none are served.",
    "database": "Where records are kept. Left out: an SQLite file in the output folder.",
}
_EXAMPLES = {
    "site": '"local"',
    "trusted_keys": '["keys"]',
    "policy_keys": '["site-keys"]',
    "policy": '"policy.json"',
    "keep_bags": "false",
    "threads": "4",
    "log_level": '"info"',
    "metrics_port": "9464",
    "database": '"sqlite:///records.sqlite"',
}


def template() -> str:
    """A settings file with every setting explained and commented out."""
    lines = ["# Settings of a Pellucid deployment. An environment variable PELLUCID_<NAME> overrides a line here.", ""]
    for setting in fields(Settings):
        lines += [f"# {line}" for line in _COMMENTS[setting.name].splitlines()]
        lines += [f"# {setting.name} = {_EXAMPLES[setting.name]}", ""]
    return "\n".join(lines)


def write_template(path: Path) -> None:
    """Write the commented example.

    Raises:
        SettingsExist: there is a file already; it is left as it is.
    """
    if os.path.lexists(path):
        raise SettingsExist(f"{path} exists.")
    write_text(path, template())
