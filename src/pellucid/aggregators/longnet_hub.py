"""The published slide encoder file from the hub, at a pinned commit."""

import re
from pathlib import Path
from typing import Final

from pellucid.aggregators.errors import HubRevisionUnpinned, SlideWeightsUnavailable

GIGAPATH_REPOSITORY: Final = "prov-gigapath/prov-gigapath"

_COMMIT = re.compile(r"[0-9a-f]{40}")


def fetch_slide_weights(
    revision: str, *, repository: str = GIGAPATH_REPOSITORY, file: str = "slide_encoder.pth"
) -> Path:
    """The path of the file in the hub's local cache, fetched where it isn't there yet.

    Access is the hub client's own affair: its cache folder, its token, its offline mode.

    Args:
        revision: full commit of the repository.
        repository: `owner/name` on the hub.
        file: name in the repository.

    Raises:
        HubRevisionUnpinned: the revision is not a full commit.
        SlideWeightsUnavailable: the client isn't installed, there is no network, or access is refused.
    """
    if not _COMMIT.fullmatch(revision):
        raise HubRevisionUnpinned(f"{revision!r} is not a full commit of {repository}.")
    try:
        from huggingface_hub import hf_hub_download
    except ImportError as error:
        raise SlideWeightsUnavailable(
            "huggingface_hub isn't installed.", remedy="Install pellucid[foundation], or give the path of the file."
        ) from error
    try:
        return Path(hf_hub_download(repository, file, revision=revision))
    except OSError as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise SlideWeightsUnavailable(f"{file} of {repository} can't be fetched: {reason}") from error
