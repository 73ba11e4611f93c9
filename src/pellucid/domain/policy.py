"""A site's policy: under which certificates, if any, a specimen may be decided without a person."""

from dataclasses import dataclass
from enum import StrEnum

from pellucid.core.digests import digest_json
from pellucid.core.serial import to_plain


class Mode(StrEnum):
    """What happens with an answer."""

    SILENT = "silent"
    FOR_REVIEW = "for_review"


@dataclass(frozen=True, slots=True, kw_only=True)
class SitePolicy:
    """The policy of one deployment. No certificate exists yet, so every verdict under it is undetermined.

    `required_strata` names the columns of the cases table that must be known before a certificate could apply.
    """

    name: str
    mode: Mode = Mode.FOR_REVIEW
    required_strata: tuple[str, ...] = ("site", "specimen_type")

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical JSON of every field."""
        return digest_json(to_plain(self))
