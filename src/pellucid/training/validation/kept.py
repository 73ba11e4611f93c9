"""Results that a later start takes over instead of computing them again, each named by all that it depends on."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from pellucid.core.digests import digest_json
from pellucid.core.files import write_json
from pellucid.core.serial import from_plain, to_plain

Result = TypeVar("Result")


def kept(folder: Path, inputs: Any, kind: type[Result], compute: Callable[[], Result]) -> Result:
    """The result that is kept for `inputs`, or else what `compute` gives, which is kept before it is returned.

    A file that is damaged, or altered by hand, counts as absent.

    Args:
        folder: where results are kept, one file each, whole or absent.
        inputs: plain JSON types, all that the result depends on.
        kind: a dataclass.
        compute: makes the result.

    Raises:
        StorageFull: the disk is full.
    """
    name = digest_json(inputs)
    path = folder / f"{name[:32]}.json"
    found = _read(path, name, kind)
    if found is not None:
        return found
    result = compute()
    plain = to_plain(result)
    write_json(path, {"inputs": name, "digest": digest_json(plain), "result": plain})
    return result


def _read(path: Path, name: str, kind: type[Result]) -> Result | None:
    try:
        stored = json.loads(path.read_bytes())
        if stored["inputs"] != name or stored["digest"] != digest_json(stored["result"]):
            return None
        return from_plain(kind, stored["result"])
    except (OSError, ValueError, KeyError, TypeError, ValidationError):
        return None
