"""Which bundle a policy belongs to, and what it takes to put it into force."""

from dataclasses import replace

import pytest

from pellucid.bundle.policies import activate, check_policy
from pellucid.bundle.policy_errors import (
    ActivationRefused,
    PolicyExpired,
    PolicyForOtherGates,
    PolicyForOtherModel,
    PolicySynthetic,
    PrevalenceOutside,
)
from pellucid.domain.policy import Mode, SitePolicy
from policy_parts import GATES, MODEL, certificate, one_sided, site_policy

RIGHT = {"model": MODEL, "gates": GATES, "synthetic": False, "today": "2026-12-01"}
ASKED = {"mode": Mode.AUTONOMOUS, "by": "Dr. B", "reason": "Silent trial of 6 weeks", "prevalence": 0.3}


def test_a_policy_fits_the_bundle_that_was_certified() -> None:
    assert check_policy(site_policy(), **RIGHT) == ()


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"model": "e" * 64}, PolicyForOtherModel),
        ({"gates": "e" * 64}, PolicyForOtherGates),
        ({"synthetic": True}, PolicySynthetic),
    ],
)
def test_another_bundle_is_named(change: dict, error: type[Exception]) -> None:
    with pytest.raises(error):
        check_policy(site_policy(), **(RIGHT | change))


def test_a_policy_of_generated_slides_is_none_for_real_ones() -> None:
    with pytest.raises(PolicySynthetic, match="generated"):
        check_policy(site_policy(synthetic=True), **RIGHT)
    assert check_policy(site_policy(synthetic=True), **(RIGHT | {"synthetic": True})) == ()


def test_without_certificates_a_policy_fits_every_bundle_and_says_that_it_decides_nothing() -> None:
    for synthetic in (True, False):
        (told,) = check_policy(SitePolicy(name="p"), **(RIGHT | {"synthetic": synthetic}))
        assert "nothing is decided without a person" in told


@pytest.mark.parametrize(
    ("today", "said"),
    [
        ("2027-01-31", ()),
        ("2027-02-01", ("expires on 2027-03-03",)),
        ("2027-03-03", ("expires on 2027-03-03",)),
        ("2027-03-04", ("expired on 2027-03-03",)),
    ],
)
def test_an_expired_policy_still_runs_and_says_so(today: str, said: tuple[str, ...]) -> None:
    told = check_policy(site_policy(expires_on="2027-03-03"), **(RIGHT | {"today": today}))
    assert len(told) == len(said)
    assert all(words in sentence for words, sentence in zip(said, told, strict=True))


def test_autonomy_names_who_why_and_for_which_prevalence() -> None:
    active = activate(site_policy(), **ASKED)
    expected = replace(
        site_policy(), mode=Mode.AUTONOMOUS, activated_by="Dr. B", reason=ASKED["reason"], prevalence=0.3
    )
    assert active == expected
    assert not active.autonomous_positive


def test_a_policy_goes_up_and_down_and_forgets_what_was_asked_for_higher_up() -> None:
    up = activate(site_policy(), **(ASKED | {"autonomous_positive": True}))
    down = activate(up, mode=Mode.SILENT, by="Dr. C", reason="An alarm")
    assert (down.mode, down.activated_by, down.reason) == (Mode.SILENT, "Dr. C", "An alarm")
    assert (down.autonomous_positive, down.prevalence) == (False, None)
    assert down.certificates == up.certificates
    again = activate(down, **ASKED)
    assert again == activate(site_policy(), **ASKED)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"by": " "}, ActivationRefused, "name"),
        ({"reason": ""}, ActivationRefused, "reason"),
        ({"prevalence": None}, PrevalenceOutside, "prevalence that the site expects"),
        ({"prevalence": 0.2399}, PrevalenceOutside, "0.24 to 0.37"),
        ({"prevalence": 0.3701}, PrevalenceOutside, "0.24 to 0.37"),
        ({"prevalence": float("nan")}, PrevalenceOutside, "share"),
        ({"prevalence": 30.0}, PrevalenceOutside, "share"),
        ({"today": "2100-01-01"}, PolicyExpired, "2099-11-22"),
    ],
)
def test_what_is_missing_for_autonomy_is_named(change: dict, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        activate(site_policy(), **(ASKED | change))


@pytest.mark.parametrize("prevalence", [0.24, 0.37])
def test_the_ends_of_the_range_belong_to_it(prevalence: float) -> None:
    assert activate(site_policy(), **(ASKED | {"prevalence": prevalence})).prevalence == prevalence


def test_the_prevalence_must_fit_every_certificate() -> None:
    policy = site_policy(certificates=(certificate(), one_sided(prevalence_low=0.31)))
    with pytest.raises(PrevalenceOutside, match="site north"):
        activate(policy, **ASKED)
    assert activate(policy, **(ASKED | {"prevalence": 0.31})).mode is Mode.AUTONOMOUS


@pytest.mark.parametrize(
    "certificates", [(), (one_sided(negative=None),)], ids=["no certificate", "a certificate without threshold"]
)
def test_nothing_is_autonomous_without_a_threshold(certificates: tuple) -> None:
    policy = site_policy(certificates=certificates)
    with pytest.raises(ActivationRefused, match="threshold"):
        activate(policy, **ASKED)
    assert activate(policy, mode=Mode.FOR_REVIEW, by="Dr. B", reason="Try it").mode is Mode.FOR_REVIEW


def test_positive_answers_alone_need_a_certificate_and_to_be_asked_for() -> None:
    assert activate(site_policy(), **(ASKED | {"autonomous_positive": True})).autonomous_positive
    with pytest.raises(ActivationRefused, match="positive"):
        activate(site_policy(certificates=(one_sided(),)), **(ASKED | {"autonomous_positive": True}))


def test_a_silent_trial_may_be_one_of_positive_answers_too() -> None:
    silent = activate(
        site_policy(), mode=Mode.SILENT, by="Dr. B", reason="What would it have said?", autonomous_positive=True
    )
    assert silent.autonomous_positive
