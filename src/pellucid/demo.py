"""The demonstration: the whole way from generated slides to pages, in steps that can be shown one by one."""

import shutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pellucid.bundle import SigningKey
from pellucid.cohort import ScanKind, SynthesisConfig, read_cohort, read_truth, synthesise
from pellucid.core.errors import PellucidError
from pellucid.core.files import write_text
from pellucid.domain.cohort import Cohort, Split
from pellucid.domain.decision import Decision, Verdict
from pellucid.domain.policy import Mode, SitePolicy
from pellucid.domain.reasons import Reason
from pellucid.evaluation.targets import CertificationTargets

if TYPE_CHECKING:
    from pellucid.bundle import Bundle
    from pellucid.pipeline import StopRequest
    from pellucid.pipeline.run import RunEvents
    from pellucid.reports.publish import Published

_MARKER = "PELLUCID-DEMO.txt"


class DemoFolderTaken(PellucidError):
    """The demo's folder holds something else."""

    code = "PEL-DEMO-001"
    remedy = "Name a new folder with --out; only a former demo is replaced."


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoScale:
    """How large the demonstration is.

    The test split has `n_test` clear specimens and those of `SPECIAL`; the certification split `n_fold` times each of
    both, so that what is certified and what comes later are drawn alike.
    """

    n_training: int
    n_tuning: int
    n_test: int
    n_fold: int
    slide_px: int

    def config(self, seed: int) -> SynthesisConfig:
        """The cohort to generate; its planted signal is clearer than that of the default cohort."""
        return SynthesisConfig(
            seed=seed,
            n_training=self.n_training,
            n_tuning=self.n_tuning,
            n_certification=self.n_fold * self.n_test,
            n_test=self.n_test,
            special=SPECIAL,
            special_tuning=((ScanKind.AMBIGUOUS, max(1, self.n_tuning // 11)),),
            special_certification=tuple((kind, self.n_fold * count) for kind, count in SPECIAL),
            slide_px=self.slide_px,
            prevalence=PREVALENCE,
            strength_mean=0.8,
            strength_sd=0.35,
        )

    @property
    def n_specimens(self) -> int:
        """Specimens in all, those of special kinds included."""
        return self.config(0).n_specimens


SPECIAL: tuple[tuple[ScanKind, int], ...] = (
    (ScanKind.AMBIGUOUS, 4),
    (ScanKind.BLURRED, 2),
    (ScanKind.PENNED, 2),
    (ScanKind.TUMOUR_FREE, 2),
    (ScanKind.FOREIGN, 2),
    (ScanKind.IMMUNOSTAINED, 1),
    (ScanKind.NEARLY_EMPTY, 1),
    (ScanKind.MIS_SCALED, 1),
    (ScanKind.SCALE_MISSING, 1),
    (ScanKind.CORRUPT_TILE, 1),
    (ScanKind.CORRUPT_TILES, 1),
    (ScanKind.TRUNCATED, 1),
)
PREVALENCE = 0.5
TARGETS = CertificationTargets(npv=0.9, ppv=0.9, delta=0.1)
"""Far below what a laboratory would ask for: so few specimens show no more."""

FULL = DemoScale(n_training=64, n_tuning=84, n_test=48, n_fold=4, slide_px=2048)
SMALL = DemoScale(n_training=16, n_tuning=12, n_test=4, n_fold=1, slide_px=2048)


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoPlaces:
    """Where the demonstration puts its things."""

    root: Path

    @property
    def cohort(self) -> Path:
        """Generated slides, their table and the truth about them."""
        return self.root / "cohort"

    @property
    def bundle(self) -> Path:
        """The signed model bundle."""
        return self.root / "model" / "bundle"

    @property
    def private_key(self) -> Path:
        """The key that signs the bundle."""
        return self.root / "keys" / "demo.pem"

    @property
    def public_key(self) -> Path:
        """The key that the demo site trusts."""
        return self.root / "keys" / "demo.pem.pub"

    @property
    def site_key(self) -> Path:
        """The demo site's own key, which signs its policies."""
        return self.root / "site" / "site.pem"

    @property
    def site_public_key(self) -> Path:
        """Its public half."""
        return self.root / "site" / "site.pem.pub"

    @property
    def certified(self) -> Path:
        """The policy as certified: silent."""
        return self.root / "site" / "certified.json"

    @property
    def policy(self) -> Path:
        """The policy in force."""
        return self.root / "site" / "policy.json"

    @property
    def certification(self) -> Path:
        """Scores, records and account of the certification."""
        return self.root / "certification"

    @property
    def run(self) -> Path:
        """Results, pages and records of the run."""
        return self.root / "run"


@dataclass(frozen=True, slots=True, kw_only=True)
class KindRow:
    """What became of the specimens of one planted kind.

    `n_wrong` counts those that were decided alone against their planted label. `reasons` counts the specimens that were
    escalated for each.
    """

    kind: str
    n_specimens: int
    n_negative: int
    n_positive: int
    n_wrong: int
    reasons: tuple[tuple[Reason, int], ...]


def prepare(root: Path) -> DemoPlaces:
    """An empty folder for the demonstration; a former one is replaced.

    Raises:
        DemoFolderTaken: the folder holds something that no demonstration put there.
    """
    if root.exists() and not root.is_dir():
        raise DemoFolderTaken(f"{root} is a file.")
    if root.exists() and any(root.iterdir()):
        if not (root / _MARKER).exists():
            raise DemoFolderTaken(f"{root} is not empty and holds no former demo.")
        _empty(root)
    write_text(root / _MARKER, "SYNTHETIC slides, model and results of `pellucid demo`. Safe to delete.\n")
    return DemoPlaces(root=root)


def _empty(root: Path) -> None:
    """Delete all but the marker, without which a deletion that is interrupted could not be taken up again."""
    for path in root.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name != _MARKER:
            path.unlink()


def make_cohort(places: DemoPlaces, scale: DemoScale, *, seed: int) -> Cohort:
    """Generate the slides and read their table."""
    return read_cohort(synthesise(places.cohort, scale.config(seed)))


def make_bundle(
    places: DemoPlaces, cohort: Cohort, *, seed: int, progress: Callable[[str, int, int], None] | None = None
) -> Path:
    """Train on the cohort's training and tuning splits; the bundle is signed with a new key."""
    from pellucid.training import TrainingConfig, train_bundle

    key = SigningKey.generate()
    key.save(places.private_key)
    seen = replace(cohort, entries=(*cohort.in_split(Split.TRAINING), *cohort.in_split(Split.TUNING)))
    return train_bundle(seen, places.bundle.parent, key=key, config=TrainingConfig(seed=seed), progress=progress)


def make_policy(
    places: DemoPlaces, cohort: Cohort, bundle: "Bundle", *, events: "RunEvents", stop: "StopRequest | None" = None
) -> SitePolicy | None:
    """Certify on the certification split, and put the policy into force as its site would.

    Positive answers are switched on, so that the demonstration shows both sides; a site would think twice. Where too
    few specimens gave no threshold, everything stays for review.

    Returns:
        The policy in force; None where the run was stopped before its end.
    """
    from pellucid.bundle import load_trusted_keys
    from pellucid.bundle.policies import load_policy
    from pellucid.evaluation import certify
    from pellucid.pipeline import RunOptions
    from pellucid.pipeline.activation import put_in_force
    from pellucid.records import DATABASE_NAME, open_records

    key = SigningKey.generate()
    key.save(places.site_key)
    done = certify(
        cohort,
        bundle,
        places.certification,
        targets=TARGETS,
        name="demo",
        policy_file=places.certified,
        key=key,
        signer="Demo laboratory",
        events=events,
        options=RunOptions(command="pellucid demo"),
        stop=stop,
    )
    if done.policy is None:
        return None
    positive = any(one.positive is not None for one in done.policy.certificates)
    autonomous = positive or any(one.negative is not None for one in done.policy.certificates)
    with open_records(places.certification / DATABASE_NAME) as records:
        return put_in_force(
            load_policy(places.certified, load_trusted_keys([places.site_public_key])),
            places.policy,
            records,
            mode=Mode.AUTONOMOUS if autonomous else Mode.FOR_REVIEW,
            by="Demo laboratory",
            reason="Demonstration on synthetic slides",
            key=key,
            prevalence=PREVALENCE if autonomous else None,
            autonomous_positive=positive,
        ).policy


def unseen(cohort: Cohort) -> Cohort:
    """The specimens that the model was neither trained nor tuned on, without their labels."""
    return replace(cohort, entries=tuple(replace(entry, label=None) for entry in cohort.in_split(Split.TEST)))


def evaluate_run(places: DemoPlaces, cohort: Cohort, bundle: "Bundle", policy: SitePolicy) -> Path:
    """Hold the answers of the run against the planted labels; returns the report's page."""
    from pellucid.evaluation import assess, report_of
    from pellucid.evaluation.scoring import terms_for
    from pellucid.records import DATABASE_NAME, open_records
    from pellucid.reports.evaluation import write_evaluation

    test = replace(cohort, entries=cohort.in_split(Split.TEST))
    with open_records(places.run / DATABASE_NAME) as records:
        assessment = assess(records, test, terms=terms_for(bundle, policy, purpose="run"))
    return write_evaluation(places.run, report_of(assessment, bundle))


def kinds_and_reasons(places: DemoPlaces, cohort: Cohort, published: "Published") -> list[KindRow]:
    """For each planted kind, what was decided alone and for which reasons the others were escalated."""
    kind_of_slide = {name: truth.kind.value for name, truth in read_truth(places.cohort).items()}
    kind_of = {entry.specimen: kind_of_slide[entry.path.stem] for entry in cohort.entries}
    label_of = {entry.specimen: entry.label for entry in cohort.entries}
    groups: dict[str, list[Decision]] = {}
    for view in published.specimens:
        groups.setdefault(kind_of[view.decision.specimen], []).append(view.decision)
    return [_kind_row(kind, found, label_of) for kind, found in sorted(groups.items())]


def _kind_row(kind: str, found: Sequence[Decision], label_of: Mapping[str, int | None]) -> KindRow:
    verdicts = Counter(one.verdict for one in found)
    said = {Verdict.NEGATIVE: 0, Verdict.POSITIVE: 1}
    counts = Counter(reason for one in found for reason in one.reasons)
    return KindRow(
        kind=kind,
        n_specimens=len(found),
        n_negative=verdicts[Verdict.NEGATIVE],
        n_positive=verdicts[Verdict.POSITIVE],
        n_wrong=sum(one.verdict in said and said[one.verdict] != label_of[one.specimen] for one in found),
        reasons=tuple(counts.most_common()),
    )
