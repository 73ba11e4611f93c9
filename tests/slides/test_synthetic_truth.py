"""Tissue against the truth masks of the synthetic cohort, and each planted fault against the measure that finds it."""

import cv2
import numpy as np
import pytest

from pellucid.cohort import ScanKind, SynthesisConfig, read_cohort, read_truth, synthesise, truth_mask
from pellucid.domain.reasons import Reason
from pellucid.slides import assess_quality, find_tissue, lay_grid, open_slide

FAULTS = {
    ScanKind.PENNED: {Reason.ARTEFACT},
    ScanKind.BLURRED: {Reason.POOR_FOCUS},
    ScanKind.NEARLY_EMPTY: {Reason.TOO_LITTLE_TISSUE},
    ScanKind.IMMUNOSTAINED: {Reason.OUT_OF_SCOPE},
}


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cohort")
    special = tuple((kind, 3 if kind is ScanKind.IMMUNOSTAINED else 2) for kind in FAULTS)
    table = synthesise(
        folder, SynthesisConfig(seed=7, n_training=4, n_tuning=0, n_test=0, special=special, slide_px=2048), workers=1
    )
    kinds = {name.split(".")[0]: truth.kind for name, truth in read_truth(folder).items()}
    rows = []
    for entry in read_cohort(table).entries:
        with open_slide(entry.path, mpp=entry.mpp) as slide:
            tissue = find_tissue(slide)
            report = assess_quality(slide, tissue, lay_grid(slide.info, tissue, tile_px=224, mpp=0.5))
            assert slide.info.synthetic
        truth = truth_mask(folder, entry.path)[0] > 0
        truth = cv2.resize(truth.astype(np.uint8), tissue.mask.shape[::-1], interpolation=cv2.INTER_NEAREST) > 0
        # The truth counts tissue under pen as tissue, the mask doesn't.
        found = tissue.mask | (tissue.pen & truth)
        overlap = np.count_nonzero(found & truth) / np.count_nonzero(found | truth)
        reasons = {finding.reason for finding in report.quality.findings("scan")}
        rows.append((kinds[entry.path.name.split(".")[0]], overlap, reasons))
    return rows


@pytest.mark.parametrize("kind", [ScanKind.CLEAR, *FAULTS])
def test_overlap_with_the_truth(judged, kind):
    overlaps = [overlap for seen, overlap, _ in judged if seen is kind]
    assert len(overlaps) >= 2
    assert min(overlaps) >= 0.85
    assert np.mean(overlaps) >= 0.9


def test_planted_faults_are_found_and_no_others(judged):
    assert {kind for kind, _, _ in judged} == {*FAULTS, ScanKind.CLEAR}
    for kind, _, reasons in judged:
        planted = FAULTS.get(kind, set())
        # Ink and emptiness leave little to judge the rest by, so more may be found there; never less.
        assert reasons >= planted, kind
        if kind in {ScanKind.CLEAR, ScanKind.BLURRED, ScanKind.IMMUNOSTAINED}:
            assert reasons == planted, kind
