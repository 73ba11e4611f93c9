"""The rows of the result tables. A field is a column: its name, type and meaning are stable within a schema version."""

from dataclasses import dataclass, field

from pellucid.domain.certificate import Certificate
from pellucid.domain.decision import Decision, Versions
from pellucid.domain.policy import SitePolicy
from pellucid.domain.posterior import Posterior
from pellucid.statistics.posterior import logit_interval


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """What made a row: run, bundle, versions, and whether the model is synthetic."""

    run: str
    bundle: str
    bundle_digest: str
    synthetic: bool
    versions: Versions


@dataclass(frozen=True, slots=True, kw_only=True)
class Belief:
    """The numbers of a posterior, all None where there is no answer.

    `low` and `high` bound the central `level` of the passes' probabilities, `low_logit` and `high_logit` that of their
    calibrated logits; entropy and mutual information are in nats.
    """

    probability: float | None = None
    mean_probability: float | None = None
    low: float | None = None
    high: float | None = None
    level: float | None = None
    mean_logit: float | None = None
    sd_logit: float | None = None
    entropy: float | None = None
    mutual_information: float | None = None
    temperature: float | None = None
    n_passes: int | None = None
    low_logit: float | None = None
    high_logit: float | None = None

    @classmethod
    def of(cls, posterior: Posterior | None) -> "Belief":
        """The numbers of `posterior`."""
        if posterior is None:
            return cls()
        low_logit, high_logit = logit_interval(posterior)
        return cls(
            probability=posterior.probability,
            mean_probability=posterior.mean_probability,
            low=posterior.low,
            high=posterior.high,
            level=posterior.level,
            mean_logit=posterior.mean_logit,
            sd_logit=posterior.sd_logit,
            entropy=posterior.entropy,
            mutual_information=posterior.mutual_information,
            temperature=posterior.temperature,
            n_passes=len(posterior.logits),
            low_logit=low_logit,
            high_logit=high_logit,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Licence:
    """What a specimen could be answered under: its policy's mode and the certificate that covers it.

    `certificate` is the stratum in words, None where no certificate covers the specimen; thresholds and `tolerance` are
    calibrated logits.
    """

    policy_mode: str | None = None
    certificate: str | None = None
    negative_threshold: float | None = None
    positive_threshold: float | None = None
    tolerance: float | None = None

    @classmethod
    def of(cls, policy: SitePolicy, certificate: Certificate | None) -> "Licence":
        """What `policy` allows under `certificate`, the one that covers the specimen.

        A positive threshold is left out where the policy gives no positive answers.
        """
        if certificate is None:
            return cls(policy_mode=policy.mode.value)
        return cls(
            policy_mode=policy.mode.value,
            certificate=certificate.title,
            negative_threshold=certificate.negative,
            positive_threshold=certificate.positive if policy.autonomous_positive else None,
            tolerance=certificate.tolerance,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SpecimenRow:
    """A specimen's answer.

    `specimen` is its pseudonym. `n_scans` counts failed scans too. `strata` are what certificates are stratified by.
    """

    specimen: str
    verdict: str
    disposition: str
    reasons: tuple[str, ...]
    belief: Belief
    n_scans: int
    n_scans_failed: int
    origin: Origin
    strata: dict[str, str] = field(default_factory=dict)
    decided_at: str | None = None
    decision_version: int | None = None
    audit_sequence: int | None = None
    licence: Licence = Licence()

    @classmethod
    def of(
        cls,
        decision: Decision,
        *,
        pseudonym: str,
        origin: Origin,
        n_scans: int,
        n_scans_failed: int = 0,
        strata: dict[str, str] | None = None,
        decided_at: str | None = None,
        decision_version: int | None = None,
        audit_sequence: int | None = None,
        licence: Licence = Licence(),
    ) -> "SpecimenRow":
        """The row of a decision."""
        return cls(
            specimen=pseudonym,
            verdict=decision.verdict.value,
            disposition=decision.disposition.value,
            reasons=tuple(reason.value for reason in decision.reasons),
            belief=Belief.of(decision.posterior),
            n_scans=n_scans,
            n_scans_failed=n_scans_failed,
            origin=origin,
            strata=dict(strata or {}),
            decided_at=decided_at,
            decision_version=decision_version,
            audit_sequence=audit_sequence,
            licence=licence,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanRow:
    """What was measured on a scan, or why it failed.

    `scan` and `specimen` are pseudonyms, `scan_digest` the SHA-256 of the file. `width` and `height` are level-0
    pixels, `mpp` um/px. `tumour_share` is of the readable tiles. `deterministic_logit` and `ensemble_mean_logit` are
    calibrated logits for comparison; no decision rests on them. `quality` maps a measure's name to its value, `timings`
    a stage to its seconds. A failed scan has `error` (a code) with its sentence and remedy.
    """

    scan: str
    specimen: str
    scan_digest: str
    belief: Belief
    origin: Origin
    width: int | None = None
    height: int | None = None
    mpp: float | None = None
    mpp_source: str | None = None
    objective_power: float | None = None
    scanner: str | None = None
    vendor: str | None = None
    reader: str | None = None
    n_tiles: int = 0
    n_unreadable: int = 0
    distance: float | None = None
    quality: dict[str, float | None] = field(default_factory=dict)
    quality_missed: tuple[str, ...] = ()
    timings: dict[str, float] = field(default_factory=dict)
    error: str | None = None
    error_sentence: str | None = None
    error_remedy: str | None = None
    tumour_share: float | None = None
    deterministic_logit: float | None = None
    ensemble_mean_logit: float | None = None
