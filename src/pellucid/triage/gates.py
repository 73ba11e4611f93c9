"""What speaks against relying on an answer, whatever a site has certified: gates on scans and on the specimen."""

from collections.abc import Iterator
from itertools import combinations

from pellucid.domain.posterior import Posterior
from pellucid.domain.reasons import Finding, Reason
from pellucid.statistics.posterior import combine_scans, summarise
from pellucid.triage.evidence import Gates, ScanEvidence, SpecimenEvidence

DIAGNOSIS, CONFIRMED = "diagnosis", "confirmed"
_EVEN = 0.5


def specimen_posterior(scans: tuple[ScanEvidence, ...], gates: Gates) -> Posterior | None:
    """The posterior of all scored scans together, None where there is none."""
    scored = [scan.logits for scan in scans if scan.logits is not None]
    if not scored:
        return None
    return summarise(combine_scans(scored), temperature=gates.temperature, n_scans=len(scored), level=gates.level)


def gate_findings(evidence: SpecimenEvidence, gates: Gates) -> tuple[Finding, ...]:
    """Every reason that lies in the specimen itself; only one without any can be decided without a person.

    Certification counts the specimens that pass by this very function, so that what was certified is what runs.
    """
    posterior = specimen_posterior(evidence.scans, gates)
    return (
        *(finding for scan in evidence.scans for finding in scan_findings(scan, gates)),
        *_about_specimen(evidence, posterior, gates),
    )


def scan_findings(scan: ScanEvidence, gates: Gates) -> tuple[Finding, ...]:
    """Every reason that lies in one scan."""
    return tuple(_about_scan(scan, gates))


def _about_scan(scan: ScanEvidence, gates: Gates) -> Iterator[Finding]:
    if scan.failure is not None:
        yield Finding(reason=scan.failure.reason, detail=scan.failure.message, scan=scan.scan, code=scan.failure.code)
    if scan.quality is not None:
        yield from scan.quality.findings(scan.scan)
    if scan.logits is not None:
        yield from _about_unmeasured(scan, gates)
    if scan.distance is not None and not scan.distance <= gates.distance_limit:
        yield Finding(
            reason=Reason.OUT_OF_DISTRIBUTION,
            detail=f"Distance to the training slides: {scan.distance:.3g} (limit: at most {gates.distance_limit:.3g})",
            value=scan.distance,
            limit=gates.distance_limit,
            scan=scan.scan,
        )
    limit = gates.tumour_limit
    if limit is not None and scan.tumour_share is not None and not scan.tumour_share >= limit:
        yield Finding(
            reason=Reason.NO_TUMOUR,
            detail=f"Tiles that show tumour: {scan.tumour_share:.1%} (limit: at least {limit:.1%})",
            value=scan.tumour_share,
            limit=limit,
            scan=scan.scan,
        )
    if scan.synthetic is False and gates.synthetic_model:
        yield Finding(
            reason=Reason.OUT_OF_SCOPE,
            detail="A real scan under a model that was trained on synthetic slides: its number means nothing",
            scan=scan.scan,
        )


def _about_unmeasured(scan: ScanEvidence, gates: Gates) -> Iterator[Finding]:
    """A gate that has nothing to measure lets nothing pass."""
    if scan.distance is None:
        yield Finding(
            reason=Reason.OUT_OF_DISTRIBUTION,
            detail="The distance to the training slides is not known",
            limit=gates.distance_limit,
            scan=scan.scan,
        )
    if gates.tumour_limit is not None and scan.tumour_share is None:
        yield Finding(
            reason=Reason.NO_TUMOUR,
            detail="It is not known how many tiles show tumour",
            limit=gates.tumour_limit,
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
    if gates.tumour_limit is None and evidence.strata.get(DIAGNOSIS, "").lower() != CONFIRMED:
        yield Finding(
            reason=Reason.NO_TUMOUR,
            detail="This model can't tell tumour, and the cases table doesn't say that the diagnosis is confirmed",
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
