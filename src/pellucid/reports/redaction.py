"""File names kept off pages: they may hold a patient's name."""

import re

_EXTENSIONS = "svs|tiff?|ndpi|vms|vmu|scn|mrxs|svslide|bif|czi|dcm|dicom|zvi|lif|qptiff|jpe?g|png|csv|parquet|zip"
_QUOTED_FILE = re.compile(rf"(['\"`])(?:(?!\1).)*(?:[/\\]|\.(?:{_EXTENSIONS}))(?:(?!\1).)*\1", re.IGNORECASE)
_PATH = re.compile(r"(?<![\w.\])])(?:~|[A-Za-z]:|file:/{0,2})?(?:[/\\][^\s/\\:;,'\"()]+)+[/\\]?")
_BARE_FILE = re.compile(rf"[^\s'\"()<>]+\.(?:{_EXTENSIONS})\b", re.IGNORECASE)

PLACEHOLDER = "[file]"
"""What a page shows in a file's place."""


def without_paths(text: str) -> str:
    """`text` with everything that looks like a path or a slide's file name replaced by `[file]`.

    A second line of defence: errors should name scans by pseudonym. Units such as `um/px` stay.
    """
    for pattern in (_QUOTED_FILE, _BARE_FILE, _PATH):
        text = pattern.sub(PLACEHOLDER, text)
    return re.sub(r"\[file\](?:[\s/\\]*\[file\])+", PLACEHOLDER, text)
