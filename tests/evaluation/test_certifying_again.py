"""Attempts that are repeated, changed, interrupted or misdirected: what each costs, and what it leaves on the disk."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest

from pellucid.bundle import Bundle, BundleParts, SigningKey, build_bundle, load_bundle
from pellucid.bundle.policies import Meaning, load_policy, write_policy
from pellucid.bundle.policy_errors import PolicyInvalid
from pellucid.cohort import SynthesisConfig, read_cohort, synthesise
from pellucid.core.errors import PellucidError
from pellucid.domain.cohort import Cohort
from pellucid.domain.policy import Mode
from pellucid.domain.tuning import PatientDigests, TuningSpecimen
from pellucid.evaluation import CertificationTargets, certify
from pellucid.evaluation.certifying import Certified
from pellucid.evaluation.errors import CohortUnusable, NothingPassed, PatientsUnknown, PolicyPlaceUnusable
from pellucid.records import DATABASE_NAME, DeltaSpent, open_records
from policy_parts import site_policy

TARGETS = CertificationTargets(npv=0.9, ppv=0.9, delta=0.1)
TUNING = tuple(
    TuningSpecimen(mean_logit=mean, sd_logit=0.1, low_logit=mean - 0.2, high_logit=mean + 0.2, label=0, passed=True)
    for mean in (-3.0, -1.0, 0.1, 1.0, 3.0)
)


class Quiet:
    """Hears a run and says nothing."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_arguments: None


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    """Four certification specimens, small; the first two are of one patient."""
    config = SynthesisConfig(
        seed=11,
        n_training=0,
        n_tuning=0,
        n_certification=4,
        n_test=0,
        special=(),
        slide_px=1536,
        p_fine=0.0,
        p_second_scan=0.0,
    )
    cohort = read_cohort(synthesise(tmp_path_factory.mktemp("again") / "cohort", config))
    patients = [cohort.entries[0].patient, *(one.patient for one in cohort.entries[:1] + cohort.entries[2:])]
    return replace(
        cohort,
        entries=tuple(
            replace(one, patient=patient, label=nth % 2, strata=(*one.strata, ("diagnosis", "confirmed")))
            for nth, (one, patient) in enumerate(zip(cohort.entries, patients, strict=True))
        ),
    )


@pytest.fixture(scope="module")
def make_bundle(parts: BundleParts, key: SigningKey, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Bundle]:
    def make(**changes: object) -> Bundle:
        known = {
            "patients": PatientDigests(salt="5a" * 16, training=(), tuning=()),
            "tuning": TUNING,
            "reference": replace(parts.reference, distance_limit=1e6, sd_limit=1e6),
        }
        folder = tmp_path_factory.mktemp("bundle") / "bundle"
        return load_bundle(build_bundle(folder, replace(parts, **(known | changes)), key), [key.trusted()])

    return make


@pytest.fixture(scope="module")
def bundle(make_bundle: Callable[..., Bundle]) -> Bundle:
    return make_bundle()


@pytest.fixture(scope="module")
def site() -> SigningKey:
    return SigningKey.generate()


def attempt(cohort: Cohort, bundle: Bundle, folder: Path, key: SigningKey, **changes: object) -> Certified:
    arguments = {"targets": TARGETS, "name": "site", "policy_file": folder / "policy.json", "signer": "Dr Test"}
    return certify(cohort, bundle, folder / "out", key=key, events=Quiet(), **(arguments | changes))  # type: ignore[arg-type]


class InterruptedKey(SigningKey):
    """Signs what is tried before the work begins, and is interrupted at the policy itself."""

    signed: ClassVar[list[bytes]] = []

    def sign(self, data: bytes) -> bytes:
        self.signed.append(data)
        if len(self.signed) > 1:
            raise KeyboardInterrupt
        return SigningKey.sign(self, data)


@pytest.fixture(scope="module")
def interrupted(cohort: Cohort, bundle: Bundle, site: SigningKey, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which a certification ended between the account of its delta and the policy's file."""
    folder = tmp_path_factory.mktemp("interrupted")
    with pytest.raises(KeyboardInterrupt):
        attempt(cohort, bundle, folder, InterruptedKey(site._private))
    return folder


@pytest.fixture(scope="module")
def certified(
    interrupted: Path, cohort: Cohort, bundle: Bundle, site: SigningKey, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A copy of that folder in which the same call has gone on."""
    folder = Path(shutil.copytree(interrupted, tmp_path_factory.mktemp("certified") / "site"))
    done = attempt(cohort, bundle, folder, site)
    assert (done.policy is not None, done.summary.scored) == (True, 0)
    return folder


@pytest.fixture
def place(certified: Path, tmp_path: Path) -> Path:
    """A copy of that folder."""
    return Path(shutil.copytree(certified, tmp_path / "site"))


def spent(folder: Path) -> list[float]:
    with open_records(folder / "out" / DATABASE_NAME) as records:
        assert records.verify_audit().ok
        return [entry.delta for entry in records.certifications()]


def changed_strata(cohort: Cohort, **strata: str) -> Cohort:
    first, *rest = cohort.entries
    stated = tuple(sorted((dict(first.strata) | strata).items()))
    return replace(cohort, entries=(replace(first, strata=stated), *rest))


@pytest.mark.parametrize(
    "change",
    [
        lambda cohort: changed_strata(cohort, diagnosis="unconfirmed"),
        lambda cohort: changed_strata(cohort, site="elsewhere"),
        lambda cohort: replace(cohort, entries=tuple(replace(one, label=1 - one.label) for one in cohort.entries)),
    ],
    ids=["diagnosis", "site", "labels"],
)
def test_a_table_changed_in_the_light_of_the_labels_is_another_attempt(
    change: Callable[[Cohort], Cohort], cohort: Cohort, bundle: Bundle, site: SigningKey, place: Path
) -> None:
    before = (place / "policy.json").read_bytes()
    with pytest.raises(DeltaSpent):
        attempt(change(cohort), bundle, place, site, policy_file=place / "other.json")
    assert not (place / "other.json").exists()
    with pytest.raises(PolicyPlaceUnusable):
        attempt(change(cohort), bundle, place, site)
    assert (place / "policy.json").read_bytes() == before
    assert spent(place) == [0.1]


def test_the_same_call_keeps_the_policy_and_the_signatures_that_were_added_to_it(
    cohort: Cohort, bundle: Bundle, site: SigningKey, place: Path
) -> None:
    file, second = place / "policy.json", SigningKey.generate()
    signed = load_policy(file, [site.trusted()])
    write_policy(file, signed.policy, second, name="Dr Two", meaning=Meaning.APPROVED, signatures=signed.signatures)
    before = file.read_bytes()
    again = attempt(cohort, bundle, place, site)
    assert file.read_bytes() == before
    assert again.policy == signed.policy
    assert spent(place) == [0.1]


def test_a_longer_validity_counts_from_the_first_attempt_and_costs_nothing(
    cohort: Cohort, bundle: Bundle, site: SigningKey, place: Path
) -> None:
    again = attempt(cohort, bundle, place, site, targets=replace(TARGETS, valid_days=1)).policy
    assert again is not None
    assert again.certified_on is not None
    assert again.expires_on is not None
    assert again.expires_on > again.certified_on
    assert load_policy(place / "policy.json", [site.trusted()]).policy == again
    assert spent(place) == [0.1]


def test_one_specimen_of_a_patient_is_chosen_by_no_label(cohort: Cohort, bundle: Bundle, place: Path) -> None:
    with open_records(place / "out" / DATABASE_NAME) as records:
        (entry,) = records.certifications()
    assert len(entry.patients) == 3
    assert [plan["n"] for plan in entry.details["plans"]] == [3]


def test_an_end_between_the_account_and_the_file_costs_no_more_delta(
    interrupted: Path, certified: Path, site: SigningKey
) -> None:
    assert [one.name for one in interrupted.iterdir()] == ["out"]
    assert spent(interrupted) == spent(certified) == [0.1]
    assert load_policy(certified / "policy.json", [site.trusted()]).policy.certificates


@pytest.mark.parametrize("content", ["autonomous", "another model", "no policy", "folder"])
def test_a_policy_is_never_written_over_something_else(
    content: str, cohort: Cohort, bundle: Bundle, site: SigningKey, tmp_path: Path
) -> None:
    file = tmp_path / "policy.json"
    if content == "folder":
        file.mkdir()
    elif content == "no policy":
        file.write_text("notes")
    else:
        other = site_policy()
        if content == "autonomous":
            there = replace(other, mode=Mode.AUTONOMOUS, activated_by="Dr A", reason="trial", prevalence=0.3)
            other = replace(there, model=bundle.model_digest)
        write_policy(file, other, site, name="Dr A")
    with pytest.raises(PolicyPlaceUnusable, match=r"policy\.json"):
        attempt(cohort, bundle, tmp_path, site)
    assert [one.name for one in tmp_path.iterdir()] == ["policy.json"]


@pytest.mark.parametrize(
    ("changes", "error", "named"),
    [
        ({"signer": "  "}, PolicyInvalid, "name"),
        ({"targets": replace(TARGETS, strata=("scaner",))}, CohortUnusable, "Did you mean 'scanner'"),
        ({"targets": replace(TARGETS, strata=("country",))}, CohortUnusable, "states 'country'"),
    ],
    ids=["nobody signs", "a near stratum", "no such stratum"],
)
def test_what_would_fail_in_the_end_is_refused_before_a_slide_is_opened(
    changes: dict[str, object],
    error: type[PellucidError],
    named: str,
    cohort: Cohort,
    bundle: Bundle,
    site: SigningKey,
    tmp_path: Path,
) -> None:
    with pytest.raises(error, match=named):
        attempt(cohort, bundle, tmp_path, site, **changes)
    assert list(tmp_path.iterdir()) == []


def test_a_path_below_a_file_is_refused_at_once(
    cohort: Cohort, bundle: Bundle, site: SigningKey, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PolicyPlaceUnusable):
        attempt(cohort, bundle, tmp_path, site, policy_file=tmp_path / "file" / "policy.json")
    assert not (tmp_path / "out").exists()


def test_a_bundle_that_tells_nothing_of_its_tuning_can_not_be_planned_with(
    cohort: Cohort, make_bundle: Callable[..., Bundle], site: SigningKey, tmp_path: Path
) -> None:
    with pytest.raises(PatientsUnknown, match="tuning specimens"):
        attempt(cohort, make_bundle(tuning=()), tmp_path, site)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_specimens_that_no_gate_lets_through_cost_nothing(
    cohort: Cohort, make_bundle: Callable[..., Bundle], parts: BundleParts, site: SigningKey, tmp_path: Path
) -> None:
    strict = make_bundle(reference=replace(parts.reference, distance_limit=1e-9, sd_limit=1e6))
    with pytest.raises(NothingPassed, match="out_of_distribution 3"):
        attempt(cohort, strict, tmp_path, site)
    assert not (tmp_path / "policy.json").exists()
    assert spent(tmp_path) == []
