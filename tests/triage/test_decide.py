"""The decision rule: every reason that applies is listed, and nothing is decided without a certificate."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pellucid.core.serial import from_plain, to_plain
from pellucid.domain.decision import Disposition, Verdict, Versions
from pellucid.domain.policy import Mode, SitePolicy
from pellucid.domain.quality import Quality, QualityMeasure, Sense
from pellucid.domain.reasons import Reason
from pellucid.triage import Failure, Gates, LateScans, ScanEvidence, SpecimenEvidence, decide

GATES = Gates(temperature=1.0, level=0.9, sd_limit=0.5, distance_limit=4.0, synthetic_model=True)
POLICY = SitePolicy(name="none")
VERSIONS = Versions(model="m", policy="p", software="s", software_version="0")
STRATA = {"site": "north", "specimen_type": "resection", "diagnosis": "confirmed"}
STEADY = tuple(2.0 + 0.01 * step for step in range(50))


def measure(value: float, reason: Reason = Reason.POOR_FOCUS) -> QualityMeasure:
    return QualityMeasure(
        name="focus", label="Tiles in focus", value=value, unit="", limit=0.5, sense=Sense.AT_LEAST, reason=reason
    )


def scan(name: str = "a", **changes: object) -> ScanEvidence:
    values = {
        "scan": name,
        "logits": STEADY,
        "quality": Quality(measures=(measure(0.9),)),
        "distance": 1.0,
        "synthetic": True,
        "failure": None,
    }
    return ScanEvidence(**(values | changes))  # type: ignore[arg-type]


def specimen(*scans: ScanEvidence, **changes: object) -> SpecimenEvidence:
    values = {"specimen": "S-1", "scans": scans, "expected": len(scans), "strata": STRATA}
    return SpecimenEvidence(**(values | changes))  # type: ignore[arg-type]


def reasons(evidence: SpecimenEvidence, gates: Gates = GATES) -> set[Reason]:
    return set(decide(evidence, gates=gates, policy=POLICY, versions=VERSIONS).reasons)


def test_a_flawless_specimen_is_undetermined_for_want_of_a_certificate_alone() -> None:
    decision = decide(specimen(scan()), gates=GATES, policy=POLICY, versions=VERSIONS)
    assert decision.verdict is Verdict.UNDETERMINED
    assert decision.disposition is Disposition.FOR_REVIEW
    assert decision.reasons == (Reason.NO_CERTIFICATE,)
    assert decision.posterior is not None
    assert decision.posterior.probability > 0.85


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda: specimen(scan(quality=Quality(measures=(measure(0.1),)))), Reason.POOR_FOCUS),
        (lambda: specimen(scan(quality=Quality(measures=(measure(float("nan")),)))), Reason.POOR_FOCUS),
        (lambda: specimen(scan(distance=4.1)), Reason.OUT_OF_DISTRIBUTION),
        (lambda: specimen(scan(distance=float("nan"))), Reason.OUT_OF_DISTRIBUTION),
        (lambda: specimen(scan(synthetic=False)), Reason.OUT_OF_SCOPE),
        (lambda: specimen(scan(logits=tuple(float(step % 7) for step in range(50)))), Reason.UNCERTAIN),
        (lambda: specimen(scan(), strata={"site": "north", "diagnosis": "confirmed"}), Reason.STRATUM_UNKNOWN),
        (lambda: specimen(scan(), strata=STRATA | {"site": ""}), Reason.STRATUM_UNKNOWN),
        (lambda: specimen(scan(), expected=2), Reason.CASE_INCOMPLETE),
        (lambda: specimen(scan(), conflicts=("also filed under S-2",)), Reason.IDENTITY_CONFLICT),
        (
            lambda: specimen(scan(logits=None, failure=Failure(code="PEL-SLIDE-001", message="gone"))),
            Reason.PROCESSING_FAILED,
        ),
        (
            lambda: specimen(scan("a"), scan("b", logits=tuple(-value for value in STEADY))),
            Reason.SLIDES_DISAGREE,
        ),
    ],
)
def test_each_gate_gives_its_reason_beside_no_certificate(
    change: Callable[[], SpecimenEvidence], reason: Reason
) -> None:
    assert {reason, Reason.NO_CERTIFICATE} <= reasons(change())


def test_all_failing_gates_are_listed_together() -> None:
    bad = scan(quality=Quality(measures=(measure(0.1), measure(0.2, Reason.ARTEFACT))), distance=9.0, synthetic=False)
    assert reasons(specimen(bad)) == {
        Reason.POOR_FOCUS,
        Reason.ARTEFACT,
        Reason.OUT_OF_DISTRIBUTION,
        Reason.OUT_OF_SCOPE,
        Reason.NO_CERTIFICATE,
    }


def test_a_real_scan_is_in_scope_of_a_model_of_real_slides() -> None:
    real = Gates(temperature=1.0, level=0.9, sd_limit=0.5, distance_limit=4.0, synthetic_model=False)
    assert Reason.OUT_OF_SCOPE not in reasons(specimen(scan(synthetic=False)), real)


def test_a_failed_scan_leaves_the_posterior_of_the_others() -> None:
    failed = scan("b", logits=None, quality=None, distance=None, failure=Failure(code="PEL-X-001", message="no"))
    decision = decide(specimen(scan("a"), failed), gates=GATES, policy=POLICY, versions=VERSIONS)
    assert decision.posterior is not None
    assert decision.posterior.n_scans == 1
    assert any(finding.code == "PEL-X-001" and finding.scan == "b" for finding in decision.findings)


def incomplete(evidence: SpecimenEvidence) -> list[tuple[str, float | None, float | None]]:
    found = decide(evidence, gates=GATES, policy=POLICY, versions=VERSIONS).findings
    return [(one.detail, one.value, one.limit) for one in found if one.reason is Reason.CASE_INCOMPLETE]


def test_a_case_that_is_complete_and_in_time_is_not_called_incomplete() -> None:
    assert incomplete(specimen(scan("a"), scan("b"))) == []


def test_an_incomplete_case_says_how_many_of_how_many() -> None:
    gone = scan("b", logits=None, quality=None, distance=None, synthetic=None)
    assert incomplete(specimen(scan("a"), expected=3)) == [("1 of 3 expected scans arrived", 1.0, 3.0)]
    assert incomplete(specimen(scan("a"), gone, expected=3)) == [
        ("2 of 3 expected scans arrived, 1 of them could not be looked at", 1.0, 3.0)
    ]
    assert incomplete(specimen(scan("a"), gone)) == [("1 of 2 expected scans could be looked at", 1.0, 2.0)]


def test_a_specimen_of_which_nothing_arrived_is_decided_without_an_answer() -> None:
    decision = decide(specimen(expected=2), gates=GATES, policy=POLICY, versions=VERSIONS)
    assert decision.posterior is None
    assert (decision.verdict, decision.scans) == (Verdict.UNDETERMINED, ())
    assert incomplete(specimen(expected=2)) == [("0 of 2 expected scans arrived", 0.0, 2.0)]


def test_a_late_scan_is_said_with_the_version_that_lacked_it_and_needs_a_person() -> None:
    late = specimen(scan("a"), scan("b"), late=LateScans(version=1, scans=("b",)))
    assert incomplete(late) == [("1 scan arrived after version 1, which was decided without it", None, None)]
    still = specimen(scan("a"), scan("b"), scan("c"), expected=4, late=LateScans(version=2, scans=("b", "c")))
    assert [detail for detail, _, _ in incomplete(still)] == [
        "3 of 4 expected scans arrived",
        "2 scans arrived after version 2, which was decided without them",
    ]


def test_a_silent_policy_keeps_the_answer_silent() -> None:
    decision = decide(
        specimen(scan()), gates=GATES, policy=SitePolicy(name="trial", mode=Mode.SILENT), versions=VERSIONS
    )
    assert decision.disposition is Disposition.SILENT


def test_copies_of_a_scan_do_not_make_a_specimen_surer() -> None:
    spread = scan(logits=tuple(0.3 * (step % 5) for step in range(50)))
    one = decide(specimen(spread), gates=GATES, policy=POLICY, versions=VERSIONS).posterior
    three = decide(specimen(spread, spread, spread), gates=GATES, policy=POLICY, versions=VERSIONS).posterior
    assert one is not None
    assert three is not None
    assert three.sd_logit == pytest.approx(one.sd_logit)


@given(
    st.lists(st.floats(-8, 8), min_size=50, max_size=50),
    st.floats(0, 20),
    st.floats(0, 1),
    st.dictionaries(st.sampled_from(["site", "specimen_type"]), st.text(max_size=3)),
)
def test_nothing_is_ever_decided_and_evidence_survives_storage(
    logits: list[float], distance: float, focus: float, strata: dict[str, str]
) -> None:
    evidence = specimen(
        scan(logits=tuple(logits), distance=distance, quality=Quality(measures=(measure(focus),))), strata=strata
    )
    decision = decide(evidence, gates=GATES, policy=POLICY, versions=VERSIONS)
    assert decision.verdict is Verdict.UNDETERMINED
    assert Reason.NO_CERTIFICATE in decision.reasons
    again = from_plain(SpecimenEvidence, to_plain(evidence))
    assert decide(again, gates=GATES, policy=POLICY, versions=VERSIONS) == decision
