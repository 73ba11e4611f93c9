"""A site's policy: under which certificates, if any, a specimen may be decided without a person."""

from dataclasses import dataclass
from enum import StrEnum

from pellucid.core.digests import digest_json
from pellucid.core.serial import to_plain
from pellucid.domain.certificate import Certificate


class Mode(StrEnum):
    """What happens with an answer."""

    SILENT = "silent"
    """It is recorded, and shown to nobody who treats the patient."""
    FOR_REVIEW = "for_review"
    """A pathologist sees it and decides."""
    AUTONOMOUS = "autonomous"
    """What a certificate covers is reported without a person; all else is for review."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SitePolicy:
    """The policy of one deployment; without a certificate every verdict under it is undetermined.

    Attributes:
        name: what the site calls it.
        mode: what happens with an answer.
        required_strata: the columns of the cases table that must be known before a certificate could apply.
        certificates: what was shown, a stratum each.
        model: the model digest that they are about; None without certificates.
        gates: digest of the gates (temperature, interval, limits) that they were made with.
        synthetic: they were made on generated slides.
        autonomous_positive: the answer "positive" may be given without a person; never more than a reason to sequence.
        prevalence: the share of mutated specimens that the site expects, as stated when it was activated.
        certified_on: the day of the certification, YYYY-MM-DD.
        expires_on: the last day on which the certificates hold.
        cohort: digest of the table of certified specimens.
        salt: keys `patients`.
        patients: salted digests of the patients whose specimens were used, sorted.
        activated_by: who put this mode into force.
        reason: why.
    """

    name: str
    mode: Mode = Mode.FOR_REVIEW
    required_strata: tuple[str, ...] = ("site", "specimen_type")
    certificates: tuple[Certificate, ...] = ()
    model: str | None = None
    gates: str | None = None
    synthetic: bool = False
    autonomous_positive: bool = False
    prevalence: float | None = None
    certified_on: str | None = None
    expires_on: str | None = None
    cohort: str | None = None
    salt: str | None = None
    patients: tuple[str, ...] = ()
    activated_by: str | None = None
    reason: str | None = None

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical JSON of every field."""
        return digest_json(to_plain(self))
