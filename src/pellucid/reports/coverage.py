"""Which certificate a recorded decision could rest on."""

from collections.abc import Iterable, Mapping

from pellucid.domain.certificate import Certificate
from pellucid.domain.policy import SitePolicy
from pellucid.records import RecordedDecision, ScanResult
from pellucid.triage import Gates, ScanEvidence, SpecimenEvidence, certificate_for
from pellucid.triage.autonomy import autonomous_verdict


def covering_certificate(
    recorded: RecordedDecision,
    *,
    strata: Mapping[str, str],
    results: Iterable[ScanResult],
    gates: Gates,
    policy: SitePolicy,
) -> Certificate | None:
    """The certificate of `policy` that covers the specimen, None where none does.

    The decision rule itself is asked, about a specimen without an answer: it then has nothing to object but that no
    certificate applies (none for the stratum, another model, other limits, expired, an unseen scanner or value).

    Args:
        recorded: the decision, whose scans and day count.
        strata: what is known of the specimen.
        results: of its scans; those of others are passed over.
        gates: the calibration and limits of the run.
        policy: that of the run.
    """
    opened = {result.scan: result.info for result in results if result.info is not None}
    if not opened.keys() & set(recorded.decision.scans):
        return None
    evidence = SpecimenEvidence(
        specimen=recorded.decision.specimen,
        scans=tuple(
            ScanEvidence(
                scan=scan,
                logits=None,
                quality=None,
                distance=None,
                synthetic=None if scan not in opened else opened[scan].synthetic,
                failure=None,
                scanner=None if scan not in opened else opened[scan].scanner,
            )
            for scan in recorded.decision.scans
        ),
        expected=len(recorded.decision.scans),
        strata=dict(strata),
        on=recorded.at[:10],
    )
    model = recorded.decision.versions.model
    _, objections = autonomous_verdict(evidence, None, gates=gates, policy=policy, model=model)
    return None if objections else certificate_for(evidence, policy)
