"""A small synthetic cohort and a tiny bundle: enough for every way in which a run can go."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest

from pellucid.bundle import Bundle, BundleParts, SigningKey, load_bundle
from pellucid.cohort import ScanKind, SynthesisConfig, read_cohort, read_truth, synthesise
from pellucid.core.errors import PellucidError
from pellucid.domain.cohort import Cohort, ScanEntry
from pellucid.domain.policy import SitePolicy
from pellucid.engine.snapshot import EngineSnapshot
from pellucid.pipeline import RunOptions, RunSummary, run_cohort

POLICY = SitePolicy(name="test")
SPECIAL = tuple((kind, 1) for kind in ScanKind if kind is not ScanKind.CLEAR)


@pytest.fixture(autouse=True)
def unhurried_intake(monkeypatch: pytest.MonkeyPatch) -> None:
    """An intake that doesn't break off its look for files because the machine is slow at the moment."""
    monkeypatch.setattr("pellucid.pipeline.intake._STEP_S", 60.0)


@pytest.fixture(scope="session")
def synthetic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a few clear specimens and one of each special kind, small and at 0.5 um/px."""
    folder = tmp_path_factory.mktemp("synthetic") / "cohort"
    config = SynthesisConfig(seed=3, n_training=0, n_tuning=0, n_test=4, special=SPECIAL, slide_px=1536, p_fine=0.0)
    synthesise(folder, config)
    return folder


@pytest.fixture(scope="session")
def slide_of(synthetic: Path) -> Callable[[str], Path]:
    """The first slide of a planted kind."""
    truth = read_truth(synthetic)

    def find(kind: str) -> Path:
        name = next(name for name, one in sorted(truth.items()) if one.kind.value == kind)
        return next((synthetic / "slides").glob(f"{name}.*"))

    return find


@pytest.fixture(scope="session")
def cohort(synthetic: Path) -> Cohort:
    return read_cohort(synthetic / "cohort.csv")


@pytest.fixture(scope="session")
def bundle(pristine: Path, key: SigningKey) -> Bundle:
    return load_bundle(pristine, [key.trusted()])


@dataclass
class Watcher:
    """Remembers what a run told, and can act at a moment of it."""

    queue: tuple[int, int] = (0, 0)
    ends: list[tuple[str, float | None, str | None]] = field(default_factory=list)
    on_end: Callable[[int], None] = lambda count: None
    on_queued: Callable[[int], None] = lambda waiting: None
    on_snapshot: Callable[[EngineSnapshot], None] = lambda snapshot: None
    n_tiles: int = 0
    pauses: list[str | None] = field(default_factory=list)
    snapshots: list[EngineSnapshot] = field(default_factory=list)

    def hashed(self, done: int, total: int) -> None:
        pass

    def queued(self, waiting: int, known: int) -> None:
        self.queue = (waiting, known)
        self.on_queued(waiting)

    def started(self, scan: str) -> None:
        pass

    def tiles(self, number: int) -> None:
        self.n_tiles += number

    def paused(self, because: PellucidError | None) -> None:
        self.pauses.append(None if because is None else because.code)

    def snapshot(self, snapshot: EngineSnapshot) -> None:
        self.snapshots.append(snapshot)
        self.on_snapshot(snapshot)

    def ended(self, scan: str, probability: float | None, code: str | None) -> None:
        self.ends.append((scan, probability, code))
        self.on_end(len(self.ends))


@pytest.fixture(scope="session")
def silent() -> Watcher:
    return Watcher()


@pytest.fixture
def watcher() -> Watcher:
    return Watcher()


@pytest.fixture
def run_on(bundle: Bundle, tmp_path: Path, watcher: Watcher) -> Callable[..., RunSummary]:
    """Run a cohort into `tmp_path/out`."""

    def run(cohort: Cohort, **options: object) -> RunSummary:
        return run_cohort(
            cohort,
            bundle,
            tmp_path / "out",
            policy=POLICY,
            events=watcher,
            options=RunOptions(**options),  # type: ignore[arg-type]
        )

    return run


def entry(path: Path, name: str, **changes: object) -> ScanEntry:
    values: dict[str, object] = {
        "case": f"case {name}",
        "specimen": f"specimen {name}",
        "block": "A1",
        "slide": f"slide {name}",
        "path": path,
        "patient": f"patient {name}",
        "strata": (("site", "north"), ("specimen_type", "resection")),
    }
    return ScanEntry(**(values | changes))  # type: ignore[arg-type]


@pytest.fixture
def make_entry() -> Callable[..., ScanEntry]:
    return entry


@pytest.fixture
def copy_of(tmp_path: Path) -> Callable[[Path, str], Path]:
    """A copy of a file under another name."""

    def copy(source: Path, name: str) -> Path:
        return Path(shutil.copyfile(source, tmp_path / name))

    return copy


@pytest.fixture(scope="session")
def overflowing(parts: BundleParts, key: SigningKey, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A bundle whose golden tile is fine and whose features overflow half precision on tissue."""
    import torch

    from pellucid.aggregators import load_head
    from pellucid.bundle import build_bundle, record_golden
    from pellucid.encoders import load_encoder, state_digest
    from pellucid.uncertainty import model_digest

    plain = np.full((1, 224, 224, 3), 128, np.uint8)
    state = {name: value.clone() for name, value in parts.encoder_state.items()}
    state["standardise.running_var"] = torch.full_like(state["standardise.running_var"], 1e-30)
    for name in ("last.1.weight", "residual.1.weight"):
        state[name] = state[name] * 1e3
    state["standardise.running_mean"] = _mean_for(state, plain)
    spec = replace(parts.spec, weights_digest=state_digest(state))
    golden = record_golden(
        load_encoder(spec, state),
        load_head(parts.head_config, parts.head_state),
        model=model_digest(spec, parts.head_config, state_digest(parts.head_state)),
        pixels=plain,
        features=np.zeros((4, spec.dim), np.float16),
        n_passes=parts.calibration.n_passes,
    )
    wild = replace(parts, name="wild", spec=spec, encoder_state=state, golden=golden)
    folder = build_bundle(tmp_path_factory.mktemp("bundles") / "wild", wild, key)
    return load_bundle(folder, [key.trusted()])


def _mean_for(state: dict, plain: np.ndarray) -> object:
    """The running mean under which the plain tile's embedding is all zeros."""
    import torch

    from pellucid.encoders import SmallEncoder

    encoder = SmallEncoder()
    encoder.load_state_dict(state | {"standardise.running_mean": torch.zeros(SmallEncoder.dim)})
    encoder.eval()
    pixels = torch.from_numpy(plain).permute(0, 3, 1, 2).float() / 255
    mean = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)
    with torch.no_grad():
        return encoder((pixels - mean) / std)[0] * float(np.sqrt(1e-5))
