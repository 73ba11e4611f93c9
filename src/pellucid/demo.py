"""The demonstration: the whole way from generated slides to pages, in steps that can be shown one by one."""

import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pellucid.bundle import SigningKey
from pellucid.cohort import SynthesisConfig, read_cohort, read_truth, synthesise
from pellucid.core.errors import PellucidError
from pellucid.core.files import write_text
from pellucid.domain.cohort import Cohort, Split
from pellucid.domain.reasons import Reason

if TYPE_CHECKING:
    from pellucid.reports.publish import Published

_MARKER = "PELLUCID-DEMO.txt"


class DemoFolderTaken(PellucidError):
    """The demo's folder holds something else."""

    code = "PEL-DEMO-001"
    remedy = "Name a new folder with --out; only a former demo is replaced."


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoScale:
    """How large the demonstration is."""

    n_training: int
    n_tuning: int
    n_test: int
    slide_px: int

    def config(self, seed: int) -> SynthesisConfig:
        """The cohort to generate."""
        return SynthesisConfig(
            seed=seed,
            n_training=self.n_training,
            n_tuning=self.n_tuning,
            n_test=self.n_test,
            slide_px=self.slide_px,
        )

    @property
    def n_specimens(self) -> int:
        """Specimens in all, those of special kinds included."""
        return self.n_training + self.n_tuning + self.n_test + sum(count for _, count in self.config(0).special)


FULL = DemoScale(n_training=64, n_tuning=32, n_test=20, slide_px=3072)
SMALL = DemoScale(n_training=16, n_tuning=12, n_test=4, slide_px=2048)


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
    def run(self) -> Path:
        """Results, pages and records of the run."""
        return self.root / "run"


@dataclass(frozen=True, slots=True, kw_only=True)
class KindRow:
    """What was found on the specimens of one planted kind; `reasons` leaves `no_certificate` out."""

    kind: str
    n_specimens: int
    n_answered: int
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


def unseen(cohort: Cohort) -> Cohort:
    """The specimens that the model was neither trained nor tuned on, without their labels."""
    return replace(cohort, entries=tuple(replace(entry, label=None) for entry in cohort.in_split(Split.TEST)))


def kinds_and_reasons(places: DemoPlaces, cohort: Cohort, published: "Published") -> list[KindRow]:
    """For each planted kind, how often each reason was found."""
    kind_of_slide = {name: truth.kind.value for name, truth in read_truth(places.cohort).items()}
    kind_of = {entry.specimen: kind_of_slide[entry.path.stem] for entry in cohort.entries}
    groups: dict[str, list[tuple[bool, Sequence[Reason]]]] = {}
    for view in published.specimens:
        decision = view.decision
        groups.setdefault(kind_of[decision.specimen], []).append((decision.posterior is not None, decision.reasons))
    return [
        KindRow(
            kind=kind,
            n_specimens=len(found),
            n_answered=sum(answered for answered, _ in found),
            reasons=_counted(reason for _, reasons in found for reason in reasons),
        )
        for kind, found in sorted(groups.items())
    ]


def _counted(reasons: Iterable[Reason]) -> tuple[tuple[Reason, int], ...]:
    counts = Counter(reason for reason in reasons if reason is not Reason.NO_CERTIFICATE)
    return tuple(counts.most_common())
