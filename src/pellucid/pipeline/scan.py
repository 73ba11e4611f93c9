"""One scan, from its file to a posterior, without records: the engine with a ledger of one line."""

# ruff: noqa: ARG002 - a ledger is told more than one that holds a single scan needs

import tempfile
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pellucid.core.errors import PellucidError
from pellucid.domain.grid import TileGrid
from pellucid.domain.posterior import Posterior
from pellucid.domain.quality import Quality
from pellucid.domain.scan import ScanIdentity, ScanInfo
from pellucid.engine.checkpoint import read_checkpoint
from pellucid.engine.config import EngineConfig
from pellucid.engine.engine import Engine
from pellucid.engine.ledger import Account, Answer, Work
from pellucid.engine.messages import ScanFile
from pellucid.pipeline.interruption import StopRequest
from pellucid.pipeline.models import models_of
from pellucid.statistics.posterior import summarise
from pellucid.statistics.reference import distance

if TYPE_CHECKING:
    from pellucid.bundle import Bundle

TileProgress = Callable[[int], None]
"""Called with the number of tiles embedded since the last call."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ScoredScan:
    """What a scan gave.

    `grid` holds the tiles that could be read, `features` their embeddings `(n_read, dim) float16`; `attention_mean`
    and `attention_sd` are `(n_read,) float32` over the passes. `n_tiles` counts the unreadable ones too. `embedding`
    is `(trunk_dim,) float32`, dropout-free; `components` its leading whitened components under the reference, and
    `distance` how far it lies from the training slides. `seen` are the numbers that monitoring follows, `seconds` the
    time by stage. `pictures` are PNG files by name; `top_tile_1` is the tile with most attention.
    """

    info: ScanInfo
    quality: Quality
    posterior: Posterior
    grid: TileGrid
    features: NDArray[np.float16]
    n_tiles: int
    n_unreadable: int
    attention_mean: NDArray[np.float32]
    attention_sd: NDArray[np.float32]
    embedding: NDArray[np.float32]
    components: tuple[float, ...]
    distance: float
    seen: dict[str, float]
    seconds: dict[str, float]
    pictures: dict[str, bytes]


def score(
    path: Path | str, bundle: "Bundle", *, mpp: float | None = None, progress: TileProgress | None = None
) -> ScoredScan:
    """Score one slide under a model bundle.

    Starts the engine's processes for it, which takes some seconds; many slides are the business of `pellucid run`.

    Args:
        path: a slide file.
        bundle: a verified bundle.
        mpp: um/px of level 0 where the file doesn't say or says an absurd value.
        progress: called as tiles are embedded.

    Raises:
        PellucidError: the slide can't be opened, has no usable scale, is too coarse, holds no tissue, can't be
            decoded, or gives features that aren't finite; each is its own subclass with its own code.
    """
    with tempfile.TemporaryDirectory(prefix="pellucid-") as folder:
        ledger = _OneLine(Path(path), mpp, bundle)
        Engine(
            models_of(bundle),
            EngineConfig(checkpoints=Path(folder)),
            ledger,
            events=_Quiet(progress or (lambda _number: None)),
            stop=StopRequest(),
        ).run()
    if ledger.error is not None:
        raise ledger.error
    if ledger.scored is None:
        raise KeyboardInterrupt
    return ledger.scored


class _OneLine:
    """A ledger of one scan, whose answer stays in memory."""

    def __init__(self, path: Path, mpp: float | None, bundle: "Bundle") -> None:
        self._bundle = bundle
        file = ScanFile(path=path, mpp=mpp, mpp_detail="override", fingerprint=None)
        self._work: Work | None = Work(key="0" * 64, name=path.name, scan="0" * 64, file=file)
        self.scored: ScoredScan | None = None
        self.error: PellucidError | None = None

    @property
    def finished(self) -> bool:
        return self._work is None

    def claim(self) -> Work | None:
        work, self._work = self._work, None
        return work

    def answered(self, work: Work, answer: Answer) -> None:
        self.scored = scored_scan(answer, self._bundle)

    def unanswered(self, work: Work, error: PellucidError, account: Account) -> None:
        self.error = error

    def quarantined(self, work: Work, cause: str, account: Account) -> None:
        from pellucid.pipeline.errors import ScanQuarantined

        self.error = ScanQuarantined(cause)

    def to_identify(self) -> Path | None:
        return None

    def identified(self, path: Path, identity: ScanIdentity, fingerprint: str) -> None:
        raise AssertionError("nothing was to be identified")

    def unidentified(self, path: Path, error: PellucidError) -> None:
        raise AssertionError("nothing was to be identified")

    def keep(self, works: Sequence[Work], progressed: Collection[str]) -> set[str]:
        return set()

    def release(self, work: Work) -> None:
        pass

    def tick(self) -> None:
        pass


@dataclass(frozen=True, slots=True)
class _Quiet:
    """Events of an engine that only tell of tiles."""

    told: TileProgress

    def started(self, scan: str) -> None:
        pass

    def tiles(self, number: int) -> None:
        self.told(number)

    def paused(self, because: PellucidError | None) -> None:
        pass

    def beat(self, engine: Engine) -> None:
        pass


def scored_scan(answer: Answer, bundle: "Bundle") -> ScoredScan:
    """The answer under a bundle's calibration and reference."""
    if answer.passes is None:
        raise ValueError("the engine ended with embeddings")
    passes = answer.passes
    features, _ = read_checkpoint(answer.embeddings)
    away, components = distance(bundle.reference, passes.embedding)
    return ScoredScan(
        info=answer.seen.info,
        quality=answer.seen.quality,
        posterior=summarise(
            passes.logits, temperature=bundle.calibration.temperature, n_scans=1, level=bundle.calibration.level
        ),
        grid=answer.grid,
        features=features,
        n_tiles=answer.seen.n_tiles,
        n_unreadable=answer.seen.n_unreadable,
        attention_mean=passes.attention_mean,
        attention_sd=passes.attention_sd,
        embedding=passes.embedding,
        components=tuple(float(value) for value in components),
        distance=away,
        seen=dict(answer.seen.features),
        seconds=answer.seconds,
        pictures=answer.seen.pictures,
    )
