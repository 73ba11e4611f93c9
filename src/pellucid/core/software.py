"""Which software this is: a digest over its own source."""

from functools import cache
from pathlib import Path

from pellucid.core.digests import digest_file, digest_json


@cache
def software_digest() -> str:
    """SHA-256 over the names and digests of all Python files, templates and migrations of the package."""
    root = Path(__file__).parents[1]
    files = sorted(path for path in root.rglob("*") if path.suffix in {".py", ".html", ".css", ".mako"})
    return digest_json({path.relative_to(root).as_posix(): digest_file(path) for path in files})
