"""A decision lists each reason once, in the order of their definition; every reason can be said in words."""

import pytest

from pellucid.domain.decision import Decision, Disposition, Verdict, Versions
from pellucid.domain.reasons import Finding, Reason

_VERSIONS = Versions(model="m", policy="p", software="s", software_version="0")


def test_reasons_are_distinct_and_in_the_order_of_their_definition() -> None:
    given = (Reason.NO_CERTIFICATE, Reason.UNCERTAIN, Reason.NO_CERTIFICATE, Reason.ARTEFACT)
    decision = Decision(
        specimen="S1",
        verdict=Verdict.UNDETERMINED,
        disposition=Disposition.FOR_REVIEW,
        findings=tuple(Finding(reason=reason, detail="d") for reason in given),
        posterior=None,
        scans=(),
        versions=_VERSIONS,
    )
    assert decision.reasons == (Reason.UNCERTAIN, Reason.ARTEFACT, Reason.NO_CERTIFICATE)


@pytest.mark.parametrize("reason", list(Reason))
def test_every_reason_has_its_own_sentence(reason: Reason) -> None:
    assert reason.sentence.endswith(".")
    assert [other for other in Reason if other.sentence == reason.sentence] == [reason]


def test_the_reasons_are_the_closed_set_of_the_contract() -> None:
    agreed = (
        "uncertain near_threshold out_of_distribution out_of_scope no_tumour too_little_tissue poor_focus artefact "
        "unreadable_tiles slides_disagree case_incomplete stratum_unknown identity_conflict no_certificate "
        "monitoring_hold processing_failed"
    )
    assert [reason.value for reason in Reason] == agreed.split()
