"""File names kept off pages: they may hold a patient's name."""

from pellucid.core.telemetry.logs import redact

PLACEHOLDER = "[file]"
"""What a page shows in a file's place."""


def without_paths(text: str) -> str:
    """`text` with everything that looks like a path or a slide's file name replaced by `[file]`.

    A second line of defence: errors should name scans by pseudonym. Units such as `um/px` stay.
    """
    return redact(text, PLACEHOLDER)
