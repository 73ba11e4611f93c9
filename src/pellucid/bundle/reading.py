"""Reading a bundle's JSON files: nothing passes that its type doesn't know."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from pellucid.bundle.contents import read_verified
from pellucid.bundle.errors import ManifestInvalid
from pellucid.bundle.manifest import Manifest
from pellucid.core.serial import from_plain, to_plain

T = TypeVar("T")


def read_plain(folder: Path, manifest: Manifest, name: str, kind: type[T]) -> T:
    """The value of a JSON file that the manifest vouches for.

    Raises:
        BundleAltered: the file was changed since the bundle was verified.
        ManifestInvalid: it is not JSON, or not exactly a `kind`.
    """
    data = read_verified(folder, name, manifest.files[name])
    try:
        plain = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ManifestInvalid(f"{name} is not JSON.") from error
    return checked(name, kind, plain)


def checked(name: str, kind: type[T], plain: Any) -> T:
    """Rebuild a `kind` from the plain JSON types in `name`, without a field more or less.

    Raises:
        ManifestInvalid: they are not exactly a `kind`.
    """
    try:
        value = from_plain(kind, plain)
    except (ValueError, RecursionError) as error:
        raise ManifestInvalid(f"{name} holds no {kind.__name__}.", detail=str(error)) from error
    if to_plain(value) != plain:
        raise ManifestInvalid(f"{name} holds more than a {kind.__name__}.")
    return value


@contextmanager
def refusing(name: str) -> Iterator[None]:
    """Make a ValueError about the content of `name` a ManifestInvalid."""
    try:
        yield
    except ValueError as error:
        raise ManifestInvalid(f"{name} can't be used: {error}.") from error
