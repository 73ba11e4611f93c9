"""Scoring one scan: shapes, repeatability, and what is seen on the way."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pellucid.bundle import Bundle
from pellucid.engine.jobs import N_TOP_TILES
from pellucid.pipeline import score
from pellucid.pipeline.errors import NoTissue
from pellucid.pipeline.metrics import STAGES


def test_an_answer_has_everything_that_a_page_and_a_record_need(
    slide_of: Callable[[str], Path], bundle: Bundle
) -> None:
    told: list[int] = []
    scored = score(slide_of("clear"), bundle, progress=told.append)
    assert scored.features.shape == (len(scored.grid), bundle.spec.dim)
    assert scored.features.dtype == np.float16
    assert scored.attention_mean.sum() == pytest.approx(1.0, abs=1e-4)
    assert (scored.attention_sd > 0).any()
    assert len(scored.posterior.logits) == bundle.calibration.n_passes
    assert scored.info.synthetic
    assert {measure.name for measure in scored.quality.measures} >= {"tissue", "focus", "pen", "stain"}
    assert {"thumbnail", "tissue", "tiles", "focus", "pen", "stain", "top_tile_1"} <= set(scored.pictures)
    assert sum(name.startswith("top_tile_") for name in scored.pictures) == min(N_TOP_TILES, len(scored.grid))
    assert set(scored.seconds) == set(STAGES)
    assert sum(told) == scored.n_tiles
    assert all(data.startswith(b"\x89PNG") for data in scored.pictures.values())
    assert np.isfinite(scored.distance)


def test_the_same_bytes_give_the_same_bits(
    slide_of: Callable[[str], Path], bundle: Bundle, copy_of: Callable[[Path, str], Path]
) -> None:
    first = score(slide_of("clear"), bundle)
    again = score(copy_of(slide_of("clear"), "another name.svs"), bundle)
    assert first.posterior == again.posterior
    np.testing.assert_array_equal(first.features, again.features)
    np.testing.assert_array_equal(first.attention_sd, again.attention_sd)


def test_an_unreadable_tile_is_counted_and_never_embedded(slide_of: Callable[[str], Path], bundle: Bundle) -> None:
    scored = score(slide_of("corrupt_tiles"), bundle)
    assert 0 < scored.n_unreadable < scored.n_tiles
    assert len(scored.features) == scored.n_tiles - scored.n_unreadable
    assert not scored.quality["unreadable"].passed


def test_a_scan_without_tissue_is_an_error(bundle: Bundle, tmp_path: Path) -> None:
    from pellucid.cohort import write_large_slide

    empty = write_large_slide(tmp_path / "empty.svs", 8192, 8192, tissue_share=0.0)
    with pytest.raises(NoTissue):
        score(empty, bundle)
