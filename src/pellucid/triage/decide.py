"""The decision rule. A pure function: the same evidence, gates and policy give the same decision."""

from collections.abc import Iterator
from itertools import combinations

from pellucid.domain.decision import Decision, Disposition, Verdict, Versions
from pellucid.domain.policy import Mode, SitePolicy
from pellucid.domain.posterior import Posterior
from pellucid.domain.reasons import Finding, Reason
from pellucid.statistics.posterior import combine_scans, summarise
from pellucid.triage.evidence import Gates, ScanEvidence, SpecimenEvidence

_EVEN = 0.5


def decide(evidence: SpecimenEvidence, *, gates: Gates, policy: SitePolicy, versions: Versions) -> Decision:
    """Decide a specimen and list every reason that applies.

    No certificate exists yet, so the verdict is always `undetermined` with `no_certificate` among its reasons.
    The posterior combines all scored scans pass by pass (mean of the logits of pass t over the scans).

    Args:
        evidence: the specimen's scans, strata and conflicts.
        gates: calibration and limits of the model bundle.
        policy: the site's policy.
        versions: digests of model, policy and software for the record.
    """
    posterior = specimen_posterior(evidence.scans, gates)
    findings = (
        *(finding for scan in evidence.scans for finding in scan_findings(scan, gates)),
        *_about_specimen(evidence, posterior, gates),
        *_about_policy(evidence, policy),
    )
    return Decision(
        specimen=evidence.specimen,
        verdict=Verdict.UNDETERMINED,
        disposition=Disposition.SILENT if policy.mode is Mode.SILENT else Disposition.FOR_REVIEW,
        findings=tuple(sorted(findings, key=lambda finding: list(Reason).index(finding.reason))),
        posterior=posterior,
        scans=tuple(scan.scan for scan in evidence.scans),
        versions=versions,
    )


def specimen_posterior(scans: tuple[ScanEvidence, ...], gates: Gates) -> Posterior | None:
    """The posterior of all scored scans together, None where there is none."""
    scored = [scan.logits for scan in scans if scan.logits is not None]
    if not scored:
        return None
    return summarise(combine_scans(scored), temperature=gates.temperature, n_scans=len(scored), level=gates.level)


def scan_findings(scan: ScanEvidence, gates: Gates) -> tuple[Finding, ...]:
    """Every reason that lies in one scan."""
    return tuple(_about_scan(scan, gates))


def _about_scan(scan: ScanEvidence, gates: Gates) -> Iterator[Finding]:
    if scan.failure is not None:
        yield Finding(reason=scan.failure.reason, detail=scan.failure.message, scan=scan.scan, code=scan.failure.code)
    if scan.quality is not None:
        yield from scan.quality.findings(scan.scan)
    if scan.distance is not None and not scan.distance <= gates.distance_limit:
        yield Finding(
            reason=Reason.OUT_OF_DISTRIBUTION,
            detail=f"Distance to the training slides: {scan.distance:.3g} (limit: at most {gates.distance_limit:.3g})",
            value=scan.distance,
            limit=gates.distance_limit,
            scan=scan.scan,
        )
    if scan.synthetic is False and gates.synthetic_model:
        yield Finding(
            reason=Reason.OUT_OF_SCOPE,
            detail="A real scan under a model that was trained on synthetic slides: its number means nothing",
            scan=scan.scan,
        )


def _about_specimen(evidence: SpecimenEvidence, posterior: Posterior | None, gates: Gates) -> Iterator[Finding]:
    if posterior is not None and not posterior.sd_logit <= gates.sd_limit:
        yield Finding(
            reason=Reason.UNCERTAIN,
            detail=f"Standard deviation of the logit over {len(posterior.logits)} passes: {posterior.sd_logit:.3g} "
            f"(limit: at most {gates.sd_limit:.3g})",
            value=posterior.sd_logit,
            limit=gates.sd_limit,
        )
    yield from _disagreements(evidence.scans, gates)
    yield from _about_arrival(evidence)
    for conflict in evidence.conflicts:
        yield Finding(reason=Reason.IDENTITY_CONFLICT, detail=conflict)


def _about_arrival(evidence: SpecimenEvidence) -> Iterator[Finding]:
    """What is missing of the case, or came too late for an answer that somebody may have acted on."""
    looked_at = sum(scan.synthetic is not None for scan in evidence.scans)
    n_arrived = len(evidence.scans)
    if looked_at < evidence.expected:
        detail = f"{looked_at} of {evidence.expected} expected scans could be looked at"
        if n_arrived < evidence.expected:
            missed = n_arrived - looked_at
            detail = f"{n_arrived} of {evidence.expected} expected scans arrived"
            detail += f", {missed} of them could not be looked at" if missed else ""
        yield Finding(
            reason=Reason.CASE_INCOMPLETE, detail=detail, value=float(looked_at), limit=float(evidence.expected)
        )
    if evidence.late is not None:
        count = len(evidence.late.scans)
        yield Finding(
            reason=Reason.CASE_INCOMPLETE,
            detail=f"{count} {'scan' if count == 1 else 'scans'} arrived after version {evidence.late.version}, "
            f"which was decided without {'it' if count == 1 else 'them'}",
        )


def _disagreements(scans: tuple[ScanEvidence, ...], gates: Gates) -> Iterator[Finding]:
    """Two scans contradict each other where their intervals lie on opposite sides of one half."""
    alone = [(scan.scan, specimen_posterior((scan,), gates)) for scan in scans]
    scored = [(scan, posterior) for scan, posterior in alone if posterior is not None]
    for (_, one), (_, other) in combinations(scored, 2):
        low, high = sorted((one, other), key=lambda posterior: posterior.probability)
        if low.high < _EVEN < high.low:
            yield Finding(
                reason=Reason.SLIDES_DISAGREE,
                detail=f"One scan says {low.probability:.2f} ({low.low:.2f} to {low.high:.2f}), another "
                f"{high.probability:.2f} ({high.low:.2f} to {high.high:.2f})",
                value=high.probability - low.probability,
            )


def _about_policy(evidence: SpecimenEvidence, policy: SitePolicy) -> Iterator[Finding]:
    missing = [name for name in policy.required_strata if not evidence.strata.get(name)]
    if missing:
        yield Finding(reason=Reason.STRATUM_UNKNOWN, detail=f"Not stated: {', '.join(missing)}")
    yield Finding(
        reason=Reason.NO_CERTIFICATE,
        detail=f"The policy '{policy.name}' holds no certificate, so nothing is decided without a person",
    )
