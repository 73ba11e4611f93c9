"""Log lines as JSON with the run and the scan they are about, without paths or anything of a patient.

A scan is named by its digest or pseudonym only. Values that look like paths are replaced, because file names of unknown
meaning often are accession numbers or names; the audit trail, not the log, is the record of what was done.
"""

import contextlib
import json
import logging
import os
import re
import sys
from collections.abc import Iterator, Mapping, MutableMapping
from pathlib import Path, PurePath
from types import TracebackType
from typing import Any, Literal, TextIO

from pellucid.core.clock import utc_now
from pellucid.core.errors import PellucidError

Console = Literal["json", "text"]
WITHHELD = "<withheld>"
PATH = "<path>"

_PRIVATE_KEYS = frozenset(
    {"patient", "patient_id", "patient_name", "case", "accession", "label_image", "barcode", "path", "file", "filename"}
)
_ABSOLUTE = re.compile(
    r"""(?P<quote>['"`])(?:file:/*|~|[A-Za-z]:)?[\\/][^'"`\n]*(?P=quote)"""  # quoted, spaces and all
    r"""|(?<![\w.\\/*)\]])(?:file:/*|~|[A-Za-z]:)?(?:\\\\|[\\/])[\w.][^'"`\n,;]*"""  # bare: up to the clause's end
)
_SLIDE_FILE = re.compile(
    r"""(?P<quote>['"`])[^'"`\n]*\.(?:svs|tiff?|ndpi|mrxs|scn|bif|vms|vmu|svslide|dcm|czi|png|jpe?g)(?P=quote)"""
    r"""|(?<![^\s'"`])[^\s'"`]+\.(?:svs|tiff?|ndpi|mrxs|scn|bif|vms|vmu|svslide|dcm|czi|png|jpe?g)\b""",
    re.IGNORECASE,
)
_MAX_FRAMES = 50
_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}

_open_file: "_LineFile | None" = None


_everywhere: dict[str, object] = {}


def configure_logging(
    *,
    file: Path | None = None,
    console: Console | None = "text",
    level: str = "info",
    stream: TextIO | None = None,
) -> None:
    """Set where this process's log lines go; a later call replaces an earlier one.

    Warnings of other libraries, which use the standard library's logging, become lines of the same form.

    Args:
        file: a file that JSON lines are appended to; several processes may share it.
        console: how lines go to standard error: "json", "text" for people, None not at all.
        level: the least level that is written: debug, info, warning, error or critical.
        stream: takes the place of standard error.

    Raises:
        ValueError: no such level.
        OSError: the file can't be opened for appending.
    """
    import structlog

    if level.lower() not in _LEVELS:
        raise ValueError(f"{level!r} is no log level; they are {', '.join(_LEVELS)}.")
    global _open_file  # noqa: PLW0603 - one log file a process, closed when it is replaced
    opened = None if file is None else _LineFile(file)
    if _open_file is not None:
        _open_file.close()
    _open_file = opened
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            _add_everywhere,
            structlog.processors.add_log_level,
            _add_time,
            _structure_exception,
            _withhold,
            _Writer(opened, console, stream),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level.lower()]),
        logger_factory=structlog.ReturnLoggerFactory(),
        cache_logger_on_first_use=False,
    )
    _bridge_standard_logging()


def get_logger(room: str) -> Any:
    """A structlog logger whose lines say which room they come from: `get_logger("slides").info("scan opened", ...)`.

    Without `configure_logging` only warnings and worse are written, to standard error.
    """
    import structlog

    if not structlog.is_configured():
        configure_logging(level="warning")
    return structlog.get_logger(room=room)


def bind(**values: object) -> None:
    """Add values such as `run_id` and `scan` to every later line of this thread or task."""
    import structlog

    structlog.contextvars.bind_contextvars(**values)


def clear() -> None:
    """Take away everything that was bound."""
    import structlog

    structlog.contextvars.clear_contextvars()


@contextlib.contextmanager
def everywhere(**values: object) -> Iterator[None]:
    """Within the block, every line of this process has these values, whatever thread or callback writes it."""
    before = dict(_everywhere)
    _everywhere.update(values)
    try:
        yield
    finally:
        _everywhere.clear()
        _everywhere.update(before)


@contextlib.contextmanager
def bound(**values: object) -> Iterator[None]:
    """Bind values within a block and restore what was bound before it, whatever happens in the block."""
    import structlog

    with structlog.contextvars.bound_contextvars(**values):
        yield


def redact(text: str, placeholder: str = PATH) -> str:
    """`text` with every absolute path and every slide's or picture's file name replaced by `placeholder`."""
    return _SLIDE_FILE.sub(placeholder, _ABSOLUTE.sub(placeholder, text))


class _LineFile:
    """A file that takes whole lines; `O_APPEND` keeps the lines of several processes apart."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640)
        self._failed = False

    def write(self, line: str) -> None:
        try:
            os.write(self._handle, f"{line}\n".encode())
        except OSError as error:
            # A log that can't be written must not end the work it tells of; the reason is said once.
            if not self._failed:
                self._failed = True
                sys.stderr.write(f"The log file can't be written: {error.strerror}.\n")

    def close(self) -> None:
        os.close(self._handle)


class _Writer:
    """The last processor: renders a line once for each place it goes to."""

    def __init__(self, file: _LineFile | None, console: Console | None, stream: TextIO | None) -> None:
        self._file = file
        self._console = console
        self._stream = stream

    def __call__(self, _logger: object, _method: str, event: MutableMapping[str, Any]) -> str:
        line = json.dumps(_ordered(event), ensure_ascii=False, default=_plain)
        if self._file is not None:
            self._file.write(line)
        if self._console is not None:
            stream = self._stream or sys.stderr
            stream.write((line if self._console == "json" else _for_people(event)) + "\n")
            stream.flush()
        return line


def _ordered(event: Mapping[str, Any]) -> dict[str, Any]:
    first = ("timestamp", "level", "event", "room", "run_id", "scan")
    return {key: event[key] for key in first if key in event} | {
        key: value for key, value in event.items() if key not in first
    }


def _plain(value: object) -> object:
    """What JSON has no form for: NumPy numbers by their item, all else by its text."""
    item = getattr(value, "item", None)
    return item() if callable(item) and getattr(value, "size", 0) == 1 else redact(str(value))


def _for_people(event: Mapping[str, Any]) -> str:
    shown = {
        key: value for key, value in _ordered(event).items() if key not in {"timestamp", "level", "event", "exception"}
    }
    # A digest in full would fill the line; the JSON line has it.
    pairs = " ".join(f"{key}={_short(value)}" for key, value in shown.items())
    line = f"{event['timestamp'][11:19]} {event['level']:<8} {event['event']}  {pairs}".rstrip()
    for cause in event.get("exception", ()):
        frames = cause["frames"][-3:]
        where = " < ".join(f"{frame['module']}.{frame['function']}:{frame['line']}" for frame in reversed(frames))
        line += f"\n    {cause['type']}: {cause['message']}  ({where})"
    return line


def _short(value: object) -> str:
    text = str(value)
    return text[:12] if re.fullmatch(r"[0-9a-f]{32,}", text) else text


def _add_everywhere(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for name, value in _everywhere.items():
        event.setdefault(name, value)
    return event


def _add_time(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    event["timestamp"] = utc_now()
    return event


def _withhold(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for key, value in event.items():
        event[key] = value if key == "exception" else _safe(key, value)
    return event


def _safe(key: str, value: object) -> object:
    if key.lower() in _PRIVATE_KEYS:
        return WITHHELD
    match value:
        case PurePath():
            return PATH
        case str():
            return redact(value)
        case Mapping():
            return {str(name): _safe(str(name), item) for name, item in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_safe(key, item) for item in value]
        case _:
            return value


def _structure_exception(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    given = event.pop("exc_info", None)
    error = sys.exc_info()[1] if given is True else given[1] if isinstance(given, tuple) else given
    if isinstance(error, BaseException):
        event["exception"] = list(_chain(error))
    return event


def _chain(error: BaseException) -> Iterator[dict[str, Any]]:
    """The exception, then what caused it, each with its frames but never its local variables."""
    seen: set[int] = set()
    following: BaseException | None = error
    while following is not None and id(following) not in seen:
        seen.add(id(following))
        yield _described(following)
        suppressed = following.__suppress_context__
        following = following.__cause__ or (None if suppressed else following.__context__)


def _described(error: BaseException) -> dict[str, Any]:
    message = error.message if isinstance(error, PellucidError) else str(error)
    for path in _paths_of(error):
        message = message.replace(path, PATH)
    described: dict[str, Any] = {"type": type(error).__name__, "message": redact(message)}
    if isinstance(error, PellucidError):
        described |= {"code": error.code, "remedy": redact(error.remedy)}
    return described | {"frames": _frames(error.__traceback__)}


def _paths_of(error: BaseException) -> Iterator[str]:
    """The paths that an exception is known to carry, which also finds relative ones in its message."""
    if isinstance(error, OSError):
        yield from (os.fspath(name) for name in (error.filename, error.filename2) if isinstance(name, str | PurePath))
    if isinstance(error, PellucidError):
        yield from (str(value) for value in error.context.values() if isinstance(value, PurePath))


def _frames(traceback: TracebackType | None) -> list[dict[str, Any]]:
    frames: list[dict[str, Any]] = []
    while traceback is not None:
        code = traceback.tb_frame.f_code
        module = traceback.tb_frame.f_globals.get("__name__", "?")
        frames.append({"module": module, "function": code.co_qualname, "line": traceback.tb_lineno})
        traceback = traceback.tb_next
    return frames[-_MAX_FRAMES:]


class _Bridge(logging.Handler):
    """Passes what other libraries log on to structlog."""

    def emit(self, record: logging.LogRecord) -> None:
        level = next((name for name, number in reversed(_LEVELS.items()) if record.levelno >= number), "debug")
        get_logger(record.name).log(_LEVELS[level], record.getMessage(), exc_info=record.exc_info)


def _bridge_standard_logging() -> None:
    root = logging.getLogger()
    if not any(isinstance(handler, _Bridge) for handler in root.handlers):
        root.addHandler(_Bridge(level=logging.WARNING))
