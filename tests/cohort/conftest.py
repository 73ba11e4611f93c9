from collections.abc import Callable
from pathlib import Path

import pytest

from pellucid.cohort import ScanKind, SynthesisConfig, synthesise

SMALL = SynthesisConfig(
    seed=5,
    n_training=3,
    n_tuning=1,
    n_test=1,
    special=tuple((kind, 1) for kind in ScanKind if kind is not ScanKind.CLEAR),
    slide_px=1280,
    p_second_scan=0.5,
    p_generic_tiff=0.3,
    p_label_page=0.5,
    p_fine=0.0,
)


@pytest.fixture(scope="session")
def synthetic_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A synthetic cohort with a scan of every kind."""
    return synthesise(tmp_path_factory.mktemp("cohort") / "synthetic", SMALL, workers=1).parent


@pytest.fixture
def table(tmp_path: Path) -> Callable[..., Path]:
    """Write lines to a table and give its path."""

    def write(*lines: str, name: str = "table.csv", encoding: str = "utf-8") -> Path:
        path = tmp_path / name
        path.write_bytes("\n".join(lines).encode(encoding))
        return path

    return write
