"""The decision about a specimen."""

from dataclasses import dataclass
from enum import StrEnum

from pellucid.domain.posterior import Posterior
from pellucid.domain.reasons import Finding, Reason


class Verdict(StrEnum):
    """What is said about the biomarker."""

    NEGATIVE = "negative"
    POSITIVE = "positive"
    UNDETERMINED = "undetermined"


class Disposition(StrEnum):
    """Where the answer goes."""

    SILENT = "silent"
    FOR_REVIEW = "for_review"
    REPORTED = "reported"


@dataclass(frozen=True, slots=True, kw_only=True)
class Versions:
    """The three digests on every result, and the software's version for people."""

    model: str
    policy: str
    software: str
    software_version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """A specimen's decision: verdict, disposition and every reason that applies.

    `posterior` is None where no scan of the specimen gave an answer.
    """

    specimen: str
    verdict: Verdict
    disposition: Disposition
    findings: tuple[Finding, ...]
    posterior: Posterior | None
    scans: tuple[str, ...]
    versions: Versions

    @property
    def reasons(self) -> tuple[Reason, ...]:
        """The distinct reasons, in the order of their definition."""
        present = {finding.reason for finding in self.findings}
        return tuple(reason for reason in Reason if reason in present)
