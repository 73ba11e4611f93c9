"""A policy as a certification gives it, for tests of several rooms."""

from dataclasses import replace
from typing import Any

from pellucid.domain.certificate import Certificate, Claim, ClaimKind, Shortfall, Side
from pellucid.domain.policy import Mode, SitePolicy

MODEL, GATES = "a" * 64, "b" * 64


def certificate(**changes: Any) -> Certificate:
    """Both sides certified, .05 of delta a side."""
    negative = Claim(
        side=Side.NEGATIVE,
        kind=ClaimKind.PREDICTIVE_VALUE,
        target=0.9,
        delta=0.05,
        bound=0.92349,
        n=60,
        errors=1,
    )
    positive = replace(negative, side=Side.POSITIVE, bound=0.905, n=31, errors=0)
    made = Certificate(
        seen={"site": ("north",), "specimen_type": ("biopsy", "resection"), "scanner": ("Aperio GT450",)},
        claims=(negative, positive),
        negative=-1.5,
        positive=2.25,
        n_specimens=200,
        n_passed=160,
        n_positive=60,
        prevalence_low=0.24,
        prevalence_high=0.37,
        delta=0.1,
    )
    return replace(made, **changes)


def one_sided(**changes: Any) -> Certificate:
    """Only the negative side certified, with every kind of claim, and a shortfall on the other."""
    both = certificate()
    negative, positive = both.claims
    missed = replace(negative, kind=ClaimKind.MISSED_POSITIVES, target=0.05, delta=0.02, bound=0.047001, n=60, errors=0)
    robust = replace(
        negative,
        kind=ClaimKind.PREDICTIVE_VALUE_UP_TO_PREVALENCE,
        delta=0.03,
        prevalence_max=0.4,
    )
    return replace(
        both,
        stratum=(("site", "north"),),
        claims=(negative, missed, robust, replace(positive, bound=None, n=0)),
        shortfalls=(Shortfall(side=Side.POSITIVE, n_more=140, sentence="Too few specimens are surely positive."),),
        positive=None,
        **changes,
    )


def site_policy(**changes: Any) -> SitePolicy:
    """As `pellucid certify` leaves it."""
    made = SitePolicy(
        name="north",
        mode=Mode.SILENT,
        certificates=(certificate(),),
        model=MODEL,
        gates=GATES,
        certified_on="2026-11-23",
        expires_on="2099-11-22",
        cohort="c" * 64,
        salt="d" * 32,
        patients=("0" * 16, "1" * 16),
    )
    return replace(made, **changes)
