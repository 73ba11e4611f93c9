"""Fetching published weights: asked for by a person, at one commit, and never by anything that reads slides."""

import re
from pathlib import Path
from typing import Final

from pellucid.encoders.errors import FoundationMissing, HubAccessRefused, HubUnreachable, RevisionUnpinned
from pellucid.encoders.registry import EncoderEntry

_COMMIT: Final = re.compile(r"[0-9a-f]{40}")


def fetch_weights(entry: EncoderEntry, folder: Path, *, revision: str = "") -> Path:
    """Fetch an encoder's published file into `folder`.

    Access follows the account that the hub's own client is logged in with; the file is not checked here, loading does.

    Args:
        entry: the encoder.
        folder: where the file goes, under its published name.
        revision: the commit, where the row doesn't pin one.

    Raises:
        RevisionUnpinned: neither the row nor `revision` names a commit, or they name two.
        HubAccessRefused: the file is gated and this account has no access.
        HubUnreachable: no connection, or no such repository, commit or file.
        FoundationMissing: the hub's client isn't installed.
    """
    if not entry.hub:
        raise HubUnreachable(f"{entry.id} is in no repository of the hub.", remedy="It needs no file from there.")
    commit = _pinned(entry, revision)
    try:
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import RepositoryNotFoundError
    except ImportError as error:
        raise FoundationMissing("huggingface-hub, which fetches weights, is not installed.") from error
    what = f"{entry.files[0]} of {entry.hub} at {commit[:12]}"
    try:
        return Path(hf_hub_download(entry.hub, entry.files[0], revision=commit, local_dir=folder))
    except RepositoryNotFoundError as error:  # what the hub answers to those without access, too
        raise HubAccessRefused(f"The hub doesn't give {what} to this account.") from error
    except OSError as error:
        raise HubUnreachable(
            f"{what} can't be fetched: {(str(error).splitlines() or ['no reason given'])[0]}"
        ) from error


def _pinned(entry: EncoderEntry, revision: str) -> str:
    if revision and not _COMMIT.fullmatch(revision):
        raise RevisionUnpinned(f"{revision!r} is no commit.")
    if entry.revision and revision and revision != entry.revision:
        raise RevisionUnpinned(
            f"{entry.id} is pinned to {entry.revision}, not {revision}.", remedy="Leave --revision out."
        )
    if commit := revision or entry.revision:
        return commit
    raise RevisionUnpinned(f"No commit of {entry.hub} is known here, and none was named.")
