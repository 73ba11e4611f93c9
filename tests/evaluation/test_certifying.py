"""Certification end to end on generated slides: refusals before a slide is opened, the account, the signed policy."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from pellucid.bundle import Bundle, BundleParts, SigningKey, build_bundle, load_bundle
from pellucid.bundle.policies import load_policy
from pellucid.cohort import SynthesisConfig, read_cohort, synthesise
from pellucid.core.digests import salted_digest
from pellucid.core.errors import PellucidError
from pellucid.domain.certificate import Side
from pellucid.domain.cohort import Cohort, Split
from pellucid.domain.policy import Mode, SitePolicy
from pellucid.domain.tuning import PatientDigests, TuningSpecimen
from pellucid.evaluation import CertificationTargets, EvaluationRun, certify, evaluate
from pellucid.evaluation.certifying import Certified
from pellucid.evaluation.errors import (
    CohortUnusable,
    PatientsCertifiedUpon,
    PatientsInSeveralSplits,
    PatientsSeenInTraining,
    PatientsUnknown,
)
from pellucid.evaluation.specimens import check_labels
from pellucid.records import DATABASE_NAME, DeltaSpent, open_records

SALT = "5a" * 16
TARGETS = CertificationTargets(npv=0.9, ppv=0.9, delta=0.1)


class Quiet:
    """Hears a run and says nothing."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_arguments: None


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    """Four certification and three test specimens, small, their diagnosis confirmed."""
    config = SynthesisConfig(
        seed=7, n_training=0, n_tuning=0, n_certification=4, n_test=3, special=(), slide_px=1536, p_fine=0.0
    )
    cohort = read_cohort(synthesise(tmp_path_factory.mktemp("certify") / "cohort", config))
    return restated(cohort, diagnosis="confirmed")


@pytest.fixture(scope="module")
def make_bundle(parts: BundleParts, key: SigningKey, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Bundle]:
    """The tiny model, having met the patients named."""

    def make(*patients: str, **changes: object) -> Bundle:
        met = tuple(sorted(salted_digest(SALT, patient) for patient in patients))
        tuning = tuple(
            TuningSpecimen(
                mean_logit=mean, sd_logit=0.1, low_logit=mean - 0.2, high_logit=mean + 0.2, label=mean > 0, passed=True
            )
            for mean in (-3.0, -2.0, -1.0, 0.1, 1.0, 2.0, 3.0)
        )
        lenient = replace(parts.reference, distance_limit=1e6, sd_limit=1e6)
        known = {"patients": PatientDigests(salt=SALT, training=met, tuning=()), "tuning": tuning}
        known |= {"reference": lenient}
        folder = tmp_path_factory.mktemp("bundle") / "bundle"
        return load_bundle(build_bundle(folder, replace(parts, **(known | changes)), key), [key.trusted()])

    return make


@pytest.fixture(scope="module")
def bundle(make_bundle: Callable[..., Bundle]) -> Bundle:
    return make_bundle("somebody else")


def restated(cohort: Cohort, **strata: str) -> Cohort:
    entries = (replace(one, strata=tuple(sorted((dict(one.strata) | strata).items()))) for one in cohort.entries)
    return replace(cohort, entries=tuple(entries))


def attempt(cohort: Cohort, bundle: Bundle, folder: Path, key: SigningKey, **changes: object) -> Certified:
    arguments = {"targets": TARGETS, "name": "site", "policy_file": folder / "policy.json", "signer": "Dr Test"}
    return certify(cohort, bundle, folder / "out", key=key, events=Quiet(), **(arguments | changes))  # type: ignore[arg-type]


def relabelled(cohort: Cohort, labels: list[int | None]) -> Cohort:
    of = dict(zip(cohort.in_split(Split.CERTIFICATION), labels, strict=False))
    return replace(cohort, entries=tuple(replace(one, label=of.get(one, one.label)) for one in cohort.entries))


def test_a_certification_is_accounted_for_signed_silent_and_repeatable(
    cohort: Cohort, bundle: Bundle, key: SigningKey, tmp_path: Path
) -> None:
    site = SigningKey.generate()
    first = attempt(cohort, bundle, tmp_path, site)
    assert first.policy is not None
    assert first.entry is not None
    signed = load_policy(tmp_path / "policy.json", [site.trusted()])
    assert signed.policy == first.policy
    assert (signed.policy.mode, signed.policy.synthetic, signed.policy.model) == (
        Mode.SILENT,
        True,
        bundle.model_digest,
    )
    (certificate,) = signed.policy.certificates
    assert (certificate.negative, certificate.positive) == (None, None)
    assert {one.side for one in certificate.shortfalls} == {Side.NEGATIVE, Side.POSITIVE}
    patients = {one.patient for one in cohort.in_split(Split.CERTIFICATION)}
    assert signed.policy.salt is not None
    assert set(signed.policy.patients) == {salted_digest(signed.policy.salt, patient) for patient in patients}
    text = (tmp_path / "policy.json").read_text()
    assert not any(name in text for one in cohort.entries for name in (one.patient, one.specimen, one.path.name))

    again = attempt(cohort, bundle, tmp_path, site, policy_file=tmp_path / "again.json")
    assert again.policy == first.policy
    assert first.policy.certified_on == first.entry.at[:10]
    assert again.entry is not None
    assert again.entry.seq == first.entry.seq
    assert again.summary.scored == 0
    with open_records(tmp_path / "out" / DATABASE_NAME) as records:
        (entry,) = records.certifications()
        assert (entry.delta, entry.budget, entry.policy) == (0.1, 0.1, first.policy.digest)
        assert records.decisions() == []
        assert records.verify_audit().ok

    other = CertificationTargets(npv=0.8, delta=0.05)
    with pytest.raises(DeltaSpent):
        attempt(cohort, bundle, tmp_path, site, targets=other, policy_file=tmp_path / "other.json")
    assert not (tmp_path / "other.json").exists()

    with pytest.raises(PatientsCertifiedUpon):
        judged(cohort, bundle, tmp_path, policy=first.policy, split=Split.CERTIFICATION)
    report = judged(cohort, bundle, tmp_path, policy=first.policy).report
    assert report is not None
    assert report.policy.digest == first.policy.digest


def judged(cohort: Cohort, bundle: Bundle, folder: Path, **changes: object) -> EvaluationRun:
    return evaluate(cohort, bundle, folder / "test", events=Quiet(), **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("spoil", "error", "named"),
    [
        (
            lambda one: replace(
                one, entries=(*one.entries, replace(one.in_split(Split.CERTIFICATION)[0], split=None, row=99))
            ),
            CohortUnusable,
            "scan of row 99 belongs to a specimen of the split certification",
        ),
        (lambda one: relabelled(one, [None, 1, 0, 1]), CohortUnusable, "has no label"),
        (lambda one: relabelled(one, [1] * 9), CohortUnusable, "every label is 1"),
        (lambda one: restated(one, specimen_type=""), CohortUnusable, "No row of the split states 'specimen_type'"),
        (lambda one: restated(one, diagnosis="unconfirmed"), CohortUnusable, "can't tell tumour"),
        (
            lambda one: replace(one, entries=tuple(replace(e, path=Path("/nowhere.svs")) for e in one.entries)),
            CohortUnusable,
            "files of rows .* are absent",
        ),
        (lambda one: replace(one, entries=one.in_split(Split.TEST)), CohortUnusable, "split certification"),
        (
            lambda one: replace(
                one, entries=(*one.entries, replace(one.in_split(Split.CERTIFICATION)[0], split=Split.TEST))
            ),
            PatientsInSeveralSplits,
            "another split",
        ),
    ],
    ids=["a scan left out", "label missing", "one class", "no type", "no diagnosis", "no file", "no row", "two splits"],
)
def test_a_table_that_can_t_be_certified_on_is_refused_before_anything_is_written(
    spoil: Callable[[Cohort], Cohort],
    error: type[PellucidError],
    named: str,
    cohort: Cohort,
    bundle: Bundle,
    key: SigningKey,
    tmp_path: Path,
) -> None:
    with pytest.raises(error, match=named) as refused:
        attempt(spoil(cohort), bundle, tmp_path, key)
    assert not any(name in str(refused.value) for one in cohort.entries for name in (one.specimen, one.patient))
    assert list(tmp_path.iterdir()) == []


def test_patients_whom_the_model_has_met_are_refused_by_row_and_never_by_name(
    cohort: Cohort, make_bundle: Callable[..., Bundle], key: SigningKey, tmp_path: Path
) -> None:
    met = cohort.in_split(Split.CERTIFICATION)[1]
    bundle = make_bundle(met.patient)
    with pytest.raises(PatientsSeenInTraining, match=f"row {met.row}") as refused:
        attempt(cohort, bundle, tmp_path, key)
    assert met.patient not in refused.value.message
    with pytest.raises(PatientsSeenInTraining):
        judged(cohort, bundle, tmp_path, policy=SitePolicy(name="none"), split=Split.CERTIFICATION)
    assert list(tmp_path.iterdir()) == []


def test_a_bundle_that_does_not_say_whom_it_met_can_not_be_certified(
    cohort: Cohort, pristine: Path, key: SigningKey, tmp_path: Path
) -> None:
    bundle = load_bundle(pristine, [key.trusted()])
    assert bundle.patients is None
    with pytest.raises(PatientsUnknown):
        attempt(cohort, bundle, tmp_path, key)


def test_one_scan_under_two_specimens_is_refused(
    cohort: Cohort, bundle: Bundle, key: SigningKey, tmp_path: Path
) -> None:
    first, second, *rest = cohort.in_split(Split.CERTIFICATION)
    copy = tmp_path / "copy.svs"
    copy.write_bytes(first.path.read_bytes())
    doubled = replace(cohort, entries=(first, replace(second, path=copy, case=first.case), *rest))
    with pytest.raises(CohortUnusable, match="more than one"):
        attempt(doubled, bundle, tmp_path, key)
    assert not (tmp_path / "policy.json").exists()
    with open_records(tmp_path / "out" / DATABASE_NAME) as records:
        assert records.certifications() == []


def test_a_label_on_one_row_of_a_specimen_is_that_of_the_specimen(cohort: Cohort) -> None:
    first, *rest = relabelled(cohort, [1, 0, 0, 0]).in_split(Split.CERTIFICATION)
    second = replace(first, path=Path("second.svs"), label=None)
    check_labels(replace(cohort, entries=(second, first, *rest)), need_all=True)
    with pytest.raises(CohortUnusable, match="different labels"):
        check_labels(replace(cohort, entries=(replace(second, label=0), first, *rest)), need_all=True)
