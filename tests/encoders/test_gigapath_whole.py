"""All 1.13 billion parameters for real: written, loaded strictly, in a bundle, and a slide scored by the command."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import psutil
import pytest

from drawn_weights import drawn_state
from pellucid.bundle import BundleParts, Calibration, SigningKey, build_bundle, record_golden
from pellucid.cohort import SynthesisConfig, synthesise
from pellucid.core.seeds import generator
from pellucid.domain.reference import ReferenceProfile
from pellucid.encoders import encoder_entry
from pellucid.records import DATABASE_NAME, open_records

GIB = 1 << 30
MOST_BYTES = 16 * GIB
PUBLISHED = Path(__file__).parents[3] / "shared" / "data" / "gigapath_golden"


@dataclass
class Peak:
    """The most memory that this process and its children held at one moment, pages of files that they map included.

    A page that several of them map counts once.
    """

    bytes: int = 0


@contextmanager
def peak_of_all() -> Iterator[Peak]:
    """Measure while the block runs."""
    peak, ended = Peak(), threading.Event()

    def watch() -> None:
        while not ended.wait(0.25):
            peak.bytes = max(peak.bytes, _held())

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        ended.set()
        thread.join()


def _held() -> int:
    own = psutil.Process()
    total = 0
    for process in (own, *own.children(recursive=True)):
        try:
            text = Path(f"/proc/{process.pid}/smaps_rollup").read_text()
        except OSError:  # it ended
            continue
        total += int(text.split("\nPss:")[1].split()[0]) * 1024
    return total


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Random weights of the true names and shapes, as torch writes them: 4.5 GB."""
    import torch

    path = tmp_path_factory.mktemp("weights") / "pytorch_model.bin"
    torch.save(drawn_state("gigapath-vit-g16"), path)
    yield path
    path.unlink()


@pytest.fixture
def bundle_folder(tmp_path: Path) -> Iterator[Path]:
    """Where the bundle goes; its weights are not left in the folders that pytest keeps of its last runs."""
    yield tmp_path / "bundle"
    (tmp_path / "bundle" / "encoder.safetensors").unlink(missing_ok=True)


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_the_whole_network_is_loaded_strictly_and_scores_a_slide(
    weights: Path, bundle_folder: Path, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    key = SigningKey.generate()
    key.save(tmp_path / "keys" / "maker")
    slide = _slide(tmp_path / "cohort")
    started = time.monotonic()
    with peak_of_all() as peak:
        _build(bundle_folder, weights, key)
        built = time.monotonic()
        done = _pellucid(
            *("run", slide, "--bundle", bundle_folder, "--trust", tmp_path / "keys"),
            *("--out", tmp_path / "out", "--readers", "1", "--json"),
        )
    assert done.returncode == 0, done.stderr[-4000:]
    summary = json.loads(done.stdout)
    assert (summary["scored"], summary["failed"], summary["tiles"]) == (1, 0, 16)
    with open_records(tmp_path / "out" / DATABASE_NAME) as records:
        (observation,) = records.observations()
    assert 0.0 < observation.probability < 1.0
    assert observation.sd_logit > 0.0
    record_property("seconds", {"build": built - started, "run": time.monotonic() - built})
    record_property("peak_gib", peak.bytes / GIB)
    assert peak.bytes < MOST_BYTES


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.skipif(not PUBLISHED.is_dir(), reason="../shared/data/gigapath_golden is not here")
def test_other_weights_of_the_true_shape_fail_the_published_golden_tile(weights: Path) -> None:
    done = _pellucid("encoder", "check", "gigapath", "--weights", weights, "--golden", PUBLISHED, "--device", "cpu")
    assert done.returncode == 1
    assert "PEL-MODEL-013  gigapath embeds the golden tile prov_normal_000_1.png up to" in done.stderr


def _pellucid(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "pellucid", *map(str, words)], capture_output=True, text=True)


def _slide(folder: Path) -> Path:
    """A drawn slide with tissue on 16 tiles."""
    config = SynthesisConfig(seed=3, n_training=0, n_tuning=0, n_test=1, special=(), slide_px=1280, p_fine=0.0)
    synthesise(folder, config)
    return next((folder / "slides").iterdir())


def _build(folder: Path, weights: Path, key: SigningKey) -> None:
    """Load the weights as published, and build a bundle on them; nothing of it stays in memory."""
    from pellucid.aggregators import GatedAttention, GatedAttentionConfig, load_head
    from pellucid.encoders import load_encoder, read_published, state_digest
    from pellucid.uncertainty import model_digest

    spec, state = read_published(encoder_entry("gigapath-224"), weights)
    assert len(state) == 566
    assert sum(tensor.numel() for tensor in state.values()) == 1_134_953_984
    spec = replace(spec, batch_size=2)
    config = GatedAttentionConfig(input_dim=spec.dim, trunk_dim=16, gate_dim=8)
    head = GatedAttention(config, seed=1).state_dict()
    draw = generator("golden")
    golden = record_golden(
        load_encoder(spec, state),
        load_head(config, head),
        model=model_digest(spec, config, state_digest(head)),
        pixels=draw.integers(0, 256, (1, 224, 224, 3), dtype=np.uint8),
        features=draw.normal(size=(20, spec.dim)).astype(np.float16),
        n_passes=10,
    )
    parts = BundleParts(
        name="gigapath-shaped",
        synthetic=True,
        spec=spec,
        encoder_state=state,
        head_config=config,
        head_state=head,
        calibration=Calibration(
            temperature=1.0, n_passes=10, n_specimens=2, n_positive=1, nll_before=0.7, nll_after=0.7
        ),
        reference=ReferenceProfile(
            mean=(0.0,) * 16,
            components=((1.0,) + (0.0,) * 15,),
            residual_scale=1.0,
            distance_limit=1e6,
            sd_limit=10.0,
            features={},
            n_specimens=2,
        ),
        golden=golden,
        model_card="# Random weights of GigaPath's shape\n",
        software_version="0",
        licence="Apache-2.0",
    )
    build_bundle(folder, parts, key)
