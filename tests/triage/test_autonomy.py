"""Autonomy: only wholly beyond a certified threshold, of a covered stratum, with not one finding of the gates."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pellucid.domain.certificate import Certificate, Shortfall, Side
from pellucid.domain.decision import Decision, Disposition, Verdict, Versions
from pellucid.domain.policy import Mode, SitePolicy
from pellucid.domain.reasons import Reason
from pellucid.triage import Failure, Gates, ScanEvidence, SpecimenEvidence, decide, scores_of, specimen_posterior

GATES = Gates(temperature=1.0, level=0.9, sd_limit=0.5, distance_limit=4.0, synthetic_model=False, tumour_limit=0.1)
VERSIONS = Versions(model="m", policy="p", software="s", software_version="0")
STRATA = {"site": "north", "specimen_type": "resection"}
SEEN = {"site": ("north", "south"), "specimen_type": ("resection",), "scanner": ("AT2", "GT450")}
WIDTH = 0.245
"""Half the spread of the passes that `passes` makes."""
CERTIFICATE = Certificate(
    seen=SEEN,
    claims=(),
    negative=-1.0,
    positive=1.5,
    n_specimens=300,
    n_passed=250,
    n_positive=60,
    prevalence_low=0.15,
    prevalence_high=0.25,
    delta=0.05,
)
POLICY = SitePolicy(
    name="north",
    mode=Mode.AUTONOMOUS,
    certificates=(CERTIFICATE,),
    model="m",
    gates=GATES.digest,
    autonomous_positive=True,
    expires_on="2027-06-30",
)


def passes(mean: float, width: float = WIDTH) -> tuple[float, ...]:
    return tuple(mean + width * (2 * step / 49 - 1) for step in range(50))


def scan(mean: float = -2.0, **changes: object) -> ScanEvidence:
    values = {
        "scan": "a",
        "logits": passes(mean),
        "quality": None,
        "distance": 1.0,
        "synthetic": False,
        "failure": None,
        "tumour_share": 0.5,
        "scanner": "AT2",
    }
    return ScanEvidence(**(values | changes))  # type: ignore[arg-type]


def specimen(*scans: ScanEvidence, **changes: object) -> SpecimenEvidence:
    values = {"specimen": "S-1", "scans": scans, "expected": len(scans), "strata": STRATA, "on": "2027-01-01"}
    return SpecimenEvidence(**(values | changes))  # type: ignore[arg-type]


def decided(evidence: SpecimenEvidence, policy: SitePolicy = POLICY, gates: Gates = GATES) -> Decision:
    return decide(evidence, gates=gates, policy=policy, versions=VERSIONS)


def test_a_specimen_wholly_beyond_a_threshold_is_decided_alone() -> None:
    negative, positive = decided(specimen(scan(-2.0))), decided(specimen(scan(3.0)))
    assert (negative.verdict, negative.findings) == (Verdict.NEGATIVE, ())
    assert (positive.verdict, positive.findings) == (Verdict.POSITIVE, ())
    assert negative.disposition is positive.disposition is Disposition.REPORTED


@pytest.mark.parametrize(
    ("mode", "disposition"),
    [
        (Mode.SILENT, Disposition.SILENT),
        (Mode.FOR_REVIEW, Disposition.FOR_REVIEW),
        (Mode.AUTONOMOUS, Disposition.REPORTED),
    ],
)
def test_the_mode_says_where_a_verdict_goes_and_an_escalation_is_never_reported(
    mode: Mode, disposition: Disposition
) -> None:
    policy = replace(POLICY, mode=mode)
    assert decided(specimen(scan(-2.0)), policy).verdict is Verdict.NEGATIVE
    assert decided(specimen(scan(-2.0)), policy).disposition is disposition
    assert decided(specimen(scan(0.0)), policy).disposition is not Disposition.REPORTED


def test_a_mean_beyond_the_threshold_whose_passes_straddle_it_is_uncertain() -> None:
    decision = decided(specimen(scan(-1.1)))
    assert decision.posterior is not None
    assert decision.posterior.mean_logit < -1.0
    assert (decision.verdict, decision.reasons) == (Verdict.UNDETERMINED, (Reason.UNCERTAIN,))
    assert "straddle the certified negative threshold" in decision.findings[0].detail
    assert decided(specimen(scan(1.6))).reasons == (Reason.UNCERTAIN,)


def test_a_probability_between_the_thresholds_is_uncertain_however_narrow_its_interval() -> None:
    decision = decided(specimen(scan(0.2, logits=passes(0.2, 0.001))))
    assert decision.reasons == (Reason.UNCERTAIN,)
    assert "not beyond a certified threshold (0.269 and 0.818)" in decision.findings[0].detail


def test_an_interval_that_ends_within_the_tolerance_is_near_the_threshold() -> None:
    posterior = specimen_posterior((scan(-2.0),), GATES)
    assert posterior is not None
    upper = scores_of(posterior, 0.0).upper
    for distance, reasons in ((0.0, (Reason.NEAR_THRESHOLD,)), (0.0005, (Reason.NEAR_THRESHOLD,)), (0.0011, ())):
        certificate = replace(CERTIFICATE, negative=upper + distance)
        assert decided(specimen(scan(-2.0)), replace(POLICY, certificates=(certificate,))).reasons == reasons


def test_one_finding_of_any_gate_takes_the_verdict_away_and_keeps_the_posterior() -> None:
    for changes, reason in (
        ({"distance": 9.0}, Reason.OUT_OF_DISTRIBUTION),
        ({"tumour_share": 0.05}, Reason.NO_TUMOUR),
        ({"logits": passes(-6.0, 2.0)}, Reason.UNCERTAIN),
    ):
        decision = decided(specimen(scan(-4.0, **changes)))
        assert (decision.verdict, decision.reasons) == (Verdict.UNDETERMINED, (reason,))
        assert decision.posterior is not None


def test_scans_that_contradict_each_other_are_never_decided_though_their_mean_is_beyond() -> None:
    decision = decided(specimen(scan(-8.0), scan(1.0, scan="b")))
    assert Reason.SLIDES_DISAGREE in decision.reasons
    assert decision.verdict is Verdict.UNDETERMINED


def test_without_a_tumour_head_autonomy_needs_a_confirmed_diagnosis() -> None:
    gates = replace(GATES, tumour_limit=None)
    policy = replace(POLICY, gates=gates.digest)
    blind = scan(-2.0, tumour_share=None)
    assert decided(specimen(blind), policy, gates).reasons == (Reason.NO_TUMOUR,)
    confirmed = specimen(blind, strata=STRATA | {"diagnosis": "confirmed"})
    assert decided(confirmed, policy, gates).verdict is Verdict.NEGATIVE
    assert decided(specimen(blind, strata=STRATA | {"diagnosis": "unconfirmed"}), policy, gates).reasons == (
        Reason.NO_TUMOUR,
    )


def test_a_confirmed_diagnosis_does_not_make_tumour_free_tissue_decidable() -> None:
    confirmed = specimen(scan(-2.0, tumour_share=0.0), strata=STRATA | {"diagnosis": "confirmed"})
    assert decided(confirmed).reasons == (Reason.NO_TUMOUR,)


@pytest.mark.parametrize(
    "policy",
    [
        SitePolicy(name="none"),
        replace(POLICY, model="other"),
        replace(POLICY, gates="other"),
        replace(POLICY, expires_on="2026-12-31"),
        replace(POLICY, certificates=(replace(CERTIFICATE, stratum=(("specimen_type", "biopsy"),)),)),
    ],
    ids=["none", "another model", "other gates", "expired", "another stratum"],
)
def test_without_a_valid_certificate_nothing_is_decided(policy: SitePolicy) -> None:
    assert decided(specimen(scan(-2.0)), policy).reasons == (Reason.NO_CERTIFICATE,)


def test_a_certificate_holds_on_its_last_day() -> None:
    assert decided(specimen(scan(-2.0), on="2027-06-30")).verdict is Verdict.NEGATIVE
    assert decided(specimen(scan(-2.0), on="2027-07-01")).reasons == (Reason.NO_CERTIFICATE,)


def test_a_positive_answer_needs_to_be_switched_on() -> None:
    decision = decided(specimen(scan(3.0)), replace(POLICY, autonomous_positive=False))
    assert (decision.verdict, decision.reasons) == (Verdict.UNDETERMINED, (Reason.NO_CERTIFICATE,))
    assert "off" in decision.findings[0].detail
    assert decided(specimen(scan(-2.0)), replace(POLICY, autonomous_positive=False)).verdict is Verdict.NEGATIVE


@pytest.mark.parametrize(
    ("evidence", "named"),
    [
        (specimen(scan(-2.0, scanner="NanoZoomer")), "NanoZoomer"),
        (specimen(scan(-2.0, scanner=None)), "unstated scanner"),
        (specimen(scan(-2.0), scan(-2.0, scan="b", scanner="NanoZoomer")), "NanoZoomer"),
        (specimen(scan(-2.0), strata=STRATA | {"site": "west"}), "west"),
        (specimen(scan(-2.0), strata={"site": "north"}), "specimen_type"),
    ],
)
def test_a_scanner_or_stratum_that_was_not_certified_is_named(evidence: SpecimenEvidence, named: str) -> None:
    decision = decided(evidence)
    assert decision.reasons == (Reason.STRATUM_UNKNOWN,)
    assert named in " ".join(finding.detail for finding in decision.findings)


def test_a_side_without_a_threshold_says_what_it_lacks() -> None:
    lacking = Shortfall(side=Side.POSITIVE, n_more=80, sentence="About 80 more specimens would be needed.")
    certificate = replace(CERTIFICATE, positive=None, shortfalls=(lacking,))
    policy = replace(POLICY, certificates=(certificate,))
    decision = decided(specimen(scan(3.0)), policy)
    assert decision.reasons == (Reason.NO_CERTIFICATE,)
    assert "About 80 more specimens" in decision.findings[0].detail
    assert decided(specimen(scan(0.1)), policy).reasons == (Reason.UNCERTAIN,)


def test_the_certificate_of_the_narrowest_stratum_counts() -> None:
    narrow = replace(CERTIFICATE, stratum=(("specimen_type", "resection"),), negative=-3.0)
    policy = replace(POLICY, certificates=(CERTIFICATE, narrow))
    assert decided(specimen(scan(-2.0)), policy).reasons == (Reason.UNCERTAIN,)
    by_scanner = replace(CERTIFICATE, stratum=(("scanner", "AT2"),))
    assert decided(specimen(scan(-2.0)), replace(POLICY, certificates=(by_scanner,))).verdict is Verdict.NEGATIVE
    mixed = specimen(scan(-2.0), scan(-2.0, scan="b", scanner="GT450"))
    assert decided(mixed, replace(POLICY, certificates=(by_scanner,))).reasons == (Reason.NO_CERTIFICATE,)


def test_a_specimen_without_any_answer_has_a_reason() -> None:
    failed = scan(logits=None, tumour_share=None, failure=Failure(code="PEL-X-001", message="no"))
    decision = decided(specimen(failed))
    assert decision.verdict is Verdict.UNDETERMINED
    assert Reason.PROCESSING_FAILED in decision.reasons
    assert decided(specimen(expected=1)).reasons == (Reason.CASE_INCOMPLETE,)


@settings(deadline=None)  # the first call imports scipy
@given(
    mean=st.floats(-6, 6),
    width=st.floats(0, 3),
    distance=st.floats(0, 8),
    share=st.floats(0, 1),
    switched=st.booleans(),
)
def test_a_verdict_means_no_finding_and_an_interval_wholly_beyond_its_threshold(
    mean: float, width: float, distance: float, share: float, switched: bool
) -> None:
    one = scan(logits=passes(mean, width), distance=distance, tumour_share=share)
    decision = decided(specimen(one), replace(POLICY, autonomous_positive=switched))
    posterior = decision.posterior
    assert posterior is not None
    assert (decision.verdict is Verdict.UNDETERMINED) == bool(decision.findings)
    scores = scores_of(posterior, 0.0)
    if decision.verdict is Verdict.NEGATIVE:
        assert scores.upper < -1.0
    if decision.verdict is Verdict.POSITIVE:
        assert scores.lower > 1.5
        assert switched
    if decision.verdict is not Verdict.UNDETERMINED:
        assert distance <= 4.0
        assert share >= 0.1
        assert posterior.sd_logit <= 0.5


@pytest.mark.parametrize(
    ("unmeasured", "reason"),
    [({"tumour_share": None}, Reason.NO_TUMOUR), ({"distance": None}, Reason.OUT_OF_DISTRIBUTION)],
    ids=["tumour share", "distance"],
)
def test_what_a_gate_could_not_measure_never_passes_it(unmeasured: dict[str, None], reason: Reason) -> None:
    decision = decided(specimen(scan(-4.0, **unmeasured)))
    assert (decision.verdict, decision.reasons) == (Verdict.UNDETERMINED, (reason,))
    assert decided(specimen(scan(-4.0), scan(-4.0, scan="b", **unmeasured))).reasons == (reason,)


def test_a_certificate_that_expires_covers_no_decision_without_a_day() -> None:
    assert decided(specimen(scan(-2.0), on="")).reasons == (Reason.NO_CERTIFICATE,)


def test_a_specimen_with_nothing_to_answer_from_is_never_left_without_a_reason() -> None:
    assert decided(specimen()).reasons == (Reason.PROCESSING_FAILED,)
    assert decided(specimen(scan(logits=None, tumour_share=None))).reasons == (Reason.PROCESSING_FAILED,)
