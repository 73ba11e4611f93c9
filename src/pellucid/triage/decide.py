"""The decision rule. A pure function: the same evidence, gates and policy give the same decision."""

from pellucid.domain.decision import Decision, Disposition, Verdict, Versions
from pellucid.domain.policy import Mode, SitePolicy
from pellucid.domain.reasons import Finding, Reason
from pellucid.triage.autonomy import autonomous_verdict
from pellucid.triage.evidence import Gates, SpecimenEvidence
from pellucid.triage.gates import gate_findings, specimen_posterior

_ORDER = {reason: nth for nth, reason in enumerate(Reason)}


def decide(evidence: SpecimenEvidence, *, gates: Gates, policy: SitePolicy, versions: Versions) -> Decision:
    """Decide a specimen and list every reason that applies.

    A verdict other than `undetermined` needs a valid certificate of the policy for the specimen's stratum, an interval
    wholly beyond its threshold, and not one finding of the gates. The posterior combines all scored scans pass by pass
    (mean of the logits of pass t over the scans).

    Args:
        evidence: the specimen's scans, strata and conflicts.
        gates: calibration and limits of the model bundle.
        policy: the site's policy.
        versions: digests of model, policy and software for the record.
    """
    posterior = specimen_posterior(evidence.scans, gates)
    verdict, reservations = autonomous_verdict(evidence, posterior, gates=gates, policy=policy, model=versions.model)
    findings = (*gate_findings(evidence, gates), *reservations)
    if posterior is None and not findings:
        findings = (Finding(reason=Reason.PROCESSING_FAILED, detail="No scan of this specimen gave an answer"),)
    if findings:
        verdict = Verdict.UNDETERMINED
    return Decision(
        specimen=evidence.specimen,
        verdict=verdict,
        disposition=_disposition(verdict, policy.mode),
        findings=tuple(sorted(findings, key=lambda finding: _ORDER[finding.reason])),
        posterior=posterior,
        scans=tuple(scan.scan for scan in evidence.scans),
        versions=versions,
    )


def _disposition(verdict: Verdict, mode: Mode) -> Disposition:
    if mode is Mode.SILENT:
        return Disposition.SILENT
    if mode is Mode.AUTONOMOUS and verdict is not Verdict.UNDETERMINED:
        return Disposition.REPORTED
    return Disposition.FOR_REVIEW
