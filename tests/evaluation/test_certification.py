"""From assessed specimens to certificates: strata, claims and delta, and what is covered afterwards."""

import math
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit

from pellucid.domain.certificate import ClaimKind, Side
from pellucid.domain.tuning import TuningSpecimen
from pellucid.evaluation.certification import certify_stratum, plan
from pellucid.evaluation.errors import TargetsInvalid
from pellucid.evaluation.specimens import one_a_patient
from pellucid.evaluation.targets import CertificationTargets
from pellucid.triage import ScanEvidence, SpecimenEvidence

WIDTH = 0.4


@dataclass(frozen=True, kw_only=True)
class Specimen:
    """What the certification reads of an `AssessedSpecimen`."""

    specimen: str
    patient: str
    label: int
    upper: float
    lower: float
    evidence: SpecimenEvidence
    findings: tuple[str, ...] = field(default=())


def evidence(name: str, scanner: str, **strata: str) -> SpecimenEvidence:
    scan = ScanEvidence(
        scan=name, logits=None, quality=None, distance=None, synthetic=True, failure=None, scanner=scanner
    )
    return SpecimenEvidence(specimen=name, scans=(scan,), expected=1, strata=strata)


def population(n: int, *, seed: int = 0, separation: float = 4.0, prevalence: float = 0.3) -> list[Specimen]:
    rng = np.random.default_rng(seed)
    labels = rng.random(n) < prevalence
    # binormal logits are calibrated where their difference equals their variance
    means = rng.normal(np.where(labels, separation / 2, -separation / 2), math.sqrt(separation))
    means = means + math.log(prevalence / (1 - prevalence))
    gated = rng.random(n) < 0.1
    return [
        Specimen(
            specimen=f"S-{nth}",
            patient=f"P-{nth}",
            label=int(label),
            upper=math.inf if held else float(mean) + WIDTH,
            lower=-math.inf if held else float(mean) - WIDTH,
            evidence=evidence(
                f"S-{nth}",
                ("AT2", "GT450")[nth % 2],
                site=("north", "south")[nth % 3 % 2],
                specimen_type=("resection", "biopsy")[nth % 4 == 3],
            ),
        )
        for nth, (label, mean, held) in enumerate(zip(labels, means, gated, strict=True))
    ]


def tuning(n: int = 60, *, seed: int = 99) -> list[TuningSpecimen]:
    return [
        TuningSpecimen(
            mean_logit=one.upper - WIDTH if math.isfinite(one.upper) else 0.0,
            sd_logit=0.2,
            low_logit=one.lower if math.isfinite(one.lower) else 0.0,
            high_logit=one.upper if math.isfinite(one.upper) else 0.0,
            label=one.label,
            passed=math.isfinite(one.upper),
        )
        for one in population(n, seed=seed)
    ]


TARGETS = CertificationTargets(npv=0.9, ppv=0.85, delta=0.1)


def certified(specimens: list[Specimen], targets: CertificationTargets = TARGETS):
    return [certify_stratum(one, targets) for one in plan(specimens, tuning(), targets)]


def test_both_sides_are_certified_where_the_model_beats_its_targets() -> None:
    (certificate,) = certified(population(500))
    assert certificate.negative is not None
    assert certificate.positive is not None
    assert certificate.negative <= 0 <= certificate.positive
    assert certificate.shortfalls == ()
    assert certificate.n_specimens == 500
    for claim in certificate.claims:
        assert claim.bound is not None
        assert claim.bound >= claim.target
        assert 1 - claim.errors / claim.n > claim.bound
    share = certificate.n_positive / 500
    assert share - 0.06 < certificate.prevalence_low < share < certificate.prevalence_high < share + 0.06


def test_no_threshold_lies_beyond_the_ceiling_however_few_the_errors() -> None:
    perfect = population(600, separation=30.0)
    for ceiling in (0.5, 0.35, 0.1):
        (certificate,) = certified(perfect, replace(TARGETS, ceiling=ceiling))
        assert certificate.negative is not None
        assert certificate.positive is not None
        assert expit(certificate.negative) <= ceiling + 1e-12
        assert expit(-certificate.positive) <= ceiling + 1e-12


def test_the_counts_of_a_claim_are_those_of_the_specimens_beyond_its_threshold() -> None:
    specimens = population(500)
    (certificate,) = certified(specimens)
    negative, positive = certificate.claims
    inside = [one for one in specimens if one.upper <= (certificate.negative or 0)]
    assert (negative.n, negative.errors) == (len(inside), sum(one.label for one in inside))
    beyond = [one for one in specimens if one.lower >= (certificate.positive or 0)]
    assert (positive.n, positive.errors) == (len(beyond), sum(1 - one.label for one in beyond))


def test_delta_is_split_over_claims_and_strata_and_adds_up() -> None:
    targets = replace(TARGETS, missed=0.1, strata=("specimen_type",))
    found = certified(population(800), targets)
    assert [one.stratum for one in found] == [(("specimen_type", "biopsy"),), (("specimen_type", "resection"),)]
    assert math.fsum(claim.delta for one in found for claim in one.claims) == pytest.approx(0.1)
    assert math.fsum(one.delta for one in found) == pytest.approx(0.1)
    assert sum(one.n_specimens for one in found) == 800


def test_the_missed_share_lowers_the_negative_threshold_to_one_that_the_test_went_through() -> None:
    specimens = population(900)
    alone = certified(specimens, CertificationTargets(npv=0.9, delta=0.05))[0]
    both = certified(specimens, CertificationTargets(npv=0.9, missed=0.1, delta=0.1))[0]
    assert alone.negative is not None
    assert both.negative is not None
    assert both.negative < alone.negative
    value, missed = both.claims
    assert missed.kind is ClaimKind.MISSED_POSITIVES
    assert missed.bound is not None
    assert missed.bound <= 0.1
    assert value.bound is not None
    assert value.bound >= 0.9


def test_a_missed_share_alone_is_a_claim_too() -> None:
    (certificate,) = certified(population(400), CertificationTargets(npv=None, missed=0.1, delta=0.05))
    assert certificate.negative is not None
    assert certificate.positive is None


def test_a_claim_up_to_a_prevalence_costs_coverage_and_widens_the_range() -> None:
    specimens = population(1500, prevalence=0.2)
    plain = certified(specimens, CertificationTargets(npv=0.9, delta=0.05))[0]
    robust = certified(specimens, CertificationTargets(npv=0.9, prevalence_max=0.3, delta=0.05))[0]
    assert robust.negative is not None
    assert plain.negative is not None
    assert robust.negative < plain.negative
    assert (robust.prevalence_low, robust.prevalence_high) == (0.0, 0.3)
    assert robust.claims[0].kind is ClaimKind.PREDICTIVE_VALUE_UP_TO_PREVALENCE
    assert plain.prevalence_high < 0.3


def test_too_few_specimens_say_how_many_more_and_for_which_side_instead_of_a_threshold() -> None:
    (certificate,) = certified(population(40))
    assert certificate.negative is None
    assert certificate.positive is None
    assert {one.side for one in certificate.shortfalls} == {Side.NEGATIVE, Side.POSITIVE}
    for lacking in certificate.shortfalls:
        assert lacking.n_more is not None
        assert 10 < lacking.n_more < 1000
        assert f"{lacking.n_more} more specimens" in lacking.sentence
        assert lacking.side.value in lacking.sentence
    assert all(claim.bound is None for claim in certificate.claims)


def test_the_number_that_is_asked_for_would_usually_do() -> None:
    (short,) = certified(population(60, seed=5))
    needed = {one.side: 60 + (one.n_more or 0) for one in short.shortfalls}
    assert needed
    for side, n in needed.items():
        enough = [certified(population(n, seed=100 + seed))[0] for seed in range(20)]
        found = [one.negative if side is Side.NEGATIVE else one.positive for one in enough]
        assert sum(limit is not None for limit in found) >= 10


def test_a_model_that_knows_nothing_is_not_promised_a_certificate_for_more_specimens() -> None:
    rng = np.random.default_rng(1)
    blind = [
        replace(one, upper=value + WIDTH, lower=value - WIDTH)
        for one, value in zip(population(300), rng.normal(-2.0, 1.0, 300).tolist(), strict=True)
    ]
    targets = CertificationTargets(npv=0.95, delta=0.05)
    modest = [replace(one, mean_logit=-1.0) for one in tuning()]
    (planned,) = plan(blind, modest, targets)
    certificate = certify_stratum(planned, targets)
    assert certificate.negative is None
    assert certificate.shortfalls[0].n_more is None
    assert "better model" in certificate.shortfalls[0].sentence


def test_a_rare_scanner_or_an_unstated_site_is_neither_covered_nor_counted() -> None:
    specimens = population(500)
    rare = [
        replace(one, evidence=evidence(one.specimen, "NEW", site="north", specimen_type="resection"), upper=-9.0)
        for one in population(4, seed=8)
    ]
    unstated = [
        replace(one, evidence=evidence(one.specimen, "AT2", specimen_type="resection"), upper=-9.0)
        for one in population(30, seed=9)
    ]
    (certificate,) = certified([*specimens, *rare, *unstated])
    assert certificate.seen == {
        "site": ("north", "south"),
        "specimen_type": ("biopsy", "resection"),
        "scanner": ("AT2", "GT450"),
    }
    (alone,) = certified(specimens)
    assert certificate.claims[0].n - alone.claims[0].n < 4
    assert certificate.n_specimens == 534
    assert certificate.n_passed == alone.n_passed


def test_a_scanner_of_which_nothing_passed_the_gates_is_not_covered() -> None:
    held = [
        replace(
            one,
            upper=math.inf,
            lower=-math.inf,
            evidence=evidence(one.specimen, "NEW", site="west", specimen_type="resection"),
        )
        for one in population(40, seed=8)
    ]
    (certificate,) = certified([*population(500), *held])
    assert certificate.seen["scanner"] == ("AT2", "GT450")
    assert certificate.seen["site"] == ("north", "south")
    assert certificate.n_specimens == 540


def test_a_positive_threshold_that_was_shown_above_the_highest_prevalence_is_not_given() -> None:
    frequent = population(3000, prevalence=0.5, separation=6.0)
    both = CertificationTargets(npv=0.9, ppv=0.85, prevalence_max=0.4, delta=0.1)
    (certificate,) = certified(frequent, both)
    assert certificate.negative is not None
    assert (certificate.prevalence_low, certificate.prevalence_high) == (0.0, 0.4)
    assert certificate.positive is None
    assert [(one.side, one.n_more) for one in certificate.shortfalls] == [(Side.POSITIVE, None)]
    assert "no site has both" in certificate.shortfalls[0].sentence
    assert [claim.bound for claim in certificate.claims if claim.side is Side.POSITIVE] == [None]

    (higher,) = certified(frequent, replace(both, prevalence_max=0.6))
    assert higher.negative is not None
    assert higher.positive is not None
    assert 0.45 < higher.prevalence_low < 0.5 < higher.prevalence_high == 0.6


def test_what_is_planned_does_not_depend_on_the_labels() -> None:
    specimens = population(300)
    turned = [replace(one, label=1 - one.label) for one in specimens]
    assert [(one.sides, one.seen, one.covered) for one in plan(specimens, tuning(), TARGETS)] == [
        (one.sides, one.seen, one.covered) for one in plan(turned, tuning(), TARGETS)
    ]


def test_the_order_of_the_specimens_makes_no_difference() -> None:
    specimens = population(300)
    assert certified(specimens) == certified(specimens[::-1])


def test_a_tuning_split_that_never_passes_gives_no_threshold_rather_than_an_error() -> None:
    blind = [replace(one, passed=False) for one in tuning()]
    (planned,) = plan(population(300), blind, TARGETS)
    certificate = certify_stratum(planned, TARGETS)
    assert certificate.negative is None
    assert len(certificate.shortfalls) == 2


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), n=st.integers(1, 400), separation=st.floats(0.1, 8.0))
def test_every_threshold_stands_by_its_own_exact_bound(seed: int, n: int, separation: float) -> None:
    (certificate,) = certified(population(n, seed=seed, separation=separation))
    for claim, limit in zip(certificate.claims, (certificate.negative, certificate.positive), strict=True):
        assert (claim.bound is None) == (limit is None)
        if claim.bound is not None:
            assert claim.bound >= claim.target
    assert expit(certificate.negative or 0.0) <= 0.5 <= expit(certificate.positive or 0.0)


def test_one_specimen_a_patient_whatever_its_label_or_place() -> None:
    pairs = [replace(one, patient=f"P-{nth // 2}") for nth, one in enumerate(population(60))]
    chosen = one_a_patient(pairs, "ab" * 8)
    assert len(chosen) == len({one.patient for one in chosen}) == 30
    assert {one.specimen for one in chosen} == {one.specimen for one in one_a_patient(pairs[::-1], "ab" * 8)}
    turned = [replace(one, label=1 - one.label, upper=0.0) for one in pairs]
    assert {one.specimen for one in chosen} == {one.specimen for one in one_a_patient(turned, "ab" * 8)}
    assert {one.specimen for one in chosen} != {one.specimen for one in one_a_patient(pairs, "cd" * 8)}


@pytest.mark.parametrize(
    ("asked", "named"),
    [
        ({"npv": None}, "no claim"),
        ({"npv": 1.0}, "npv is 1"),
        ({"delta": 0.0}, "delta is 0"),
        ({"npv": float("nan")}, "npv is nan"),
        ({"npv": None, "ppv": 0.9, "prevalence_max": 0.3}, "belongs to an NPV"),
        ({"delta": 0.05, "budget": 0.01}, "below the delta"),
        ({"valid_days": 0}, "0 days"),
        ({"ceiling": 0.0}, "ceiling is 0"),
        ({"ceiling": 0.51}, "ceiling is 0.51"),
        ({"valid_days": 10**9}, "1000000000 days"),
        ({"strata": ("site", "site")}, "named twice"),
        ({"prevalence_max": 1.5}, r"prevalence max is 1\.5"),
    ],
)
def test_targets_that_mean_nothing_are_refused(asked: dict[str, float], named: str) -> None:
    with pytest.raises(TargetsInvalid, match=named):
        CertificationTargets(**asked)  # type: ignore[arg-type]
