"""Parts that tests of several rooms share. Slides are generated; the real ones are read in place."""

import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pellucid.bundle import BundleParts, Calibration, SigningKey, build_bundle, record_golden
from pellucid.core.seeds import generator
from pellucid.domain.reference import ReferenceProfile

# A background job of a shell begins with SIGINT ignored, and so would every process that a test starts and interrupts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

SHARED = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def real_slides() -> Path:
    """The folder of real slides; a test that needs it is skipped only where it is absent."""
    folder = SHARED / "slides"
    if not folder.is_dir():
        pytest.skip("the real slides of ../shared/data are not here")
    return folder


@pytest.fixture(scope="session")
def demo_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The full demonstration, run once as a user runs it."""
    folder = tmp_path_factory.mktemp("demo") / "demo-out"
    done = subprocess.run(
        [sys.executable, "-m", "pellucid", "demo", "--out", str(folder)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-4000:]
    (folder / "stdout.txt").write_text(done.stdout)
    return folder


@pytest.fixture(scope="session")
def key() -> SigningKey:
    return SigningKey.generate()


@pytest.fixture(scope="session")
def parts() -> BundleParts:
    """A tiny model with random weights."""
    import torch

    from pellucid.aggregators import GatedAttention, GatedAttentionConfig, load_head
    from pellucid.encoders import SmallEncoder, load_encoder, small_spec, state_digest
    from pellucid.uncertainty import model_digest

    with torch.random.fork_rng():
        torch.manual_seed(0)
        encoder_state = SmallEncoder().state_dict()
    spec = replace(small_spec(state_digest(encoder_state)), batch_size=4)
    config = GatedAttentionConfig(input_dim=spec.dim, trunk_dim=16, gate_dim=8)
    head_state = GatedAttention(config, seed=1).state_dict()
    draw = generator("golden")
    golden = record_golden(
        load_encoder(spec, encoder_state),
        load_head(config, head_state),
        model=model_digest(spec, config, state_digest(head_state)),
        pixels=draw.integers(0, 256, (2, 224, 224, 3), dtype=np.uint8),
        features=draw.normal(size=(20, spec.dim)).astype(np.float16),
        n_passes=10,
    )
    return BundleParts(
        name="tiny",
        synthetic=True,
        spec=spec,
        encoder_state=encoder_state,
        head_config=config,
        head_state=head_state,
        calibration=Calibration(
            temperature=1.7, n_passes=10, n_specimens=40, n_positive=17, nll_before=0.71, nll_after=0.64
        ),
        reference=ReferenceProfile(
            mean=(0.0,) * 16,
            components=((0.5,) + (0.0,) * 15, (0.0, 2.0) + (0.0,) * 14),
            residual_scale=1.25,
            distance_limit=4.5,
            sd_limit=0.8,
            features={"stain_h": (0.1, 0.2, 0.4)},
            n_specimens=40,
        ),
        golden=golden,
        model_card="# Tiny\n\nA model for tests, naïve on purpose.\n",
        software_version="0.1.0",
        licence="Apache-2.0",
        provenance={"cohort": "ab" * 32},
    )


@pytest.fixture(scope="session")
def pristine(tmp_path_factory: pytest.TempPathFactory, parts: BundleParts, key: SigningKey) -> Path:
    """A good bundle; read only."""
    return build_bundle(tmp_path_factory.mktemp("bundles") / "tiny", parts, key)
