import numpy as np
import pytest

from pellucid.aggregators import GatedAttention, GatedAttentionConfig
from pellucid.training.validation.cases import Case, ScanScore, cases_of, score_scans
from pellucid.uncertainty import run_deterministic

HEAD = GatedAttention(GatedAttentionConfig(input_dim=8, trunk_dim=16, gate_dim=8), seed=3)


def score(patient, specimen, label, logit):
    return ScanScore(slide=f"{specimen}-{logit}", specimen=specimen, patient=patient, label=label, logit=logit)


def test_scans_make_specimens_and_specimens_of_one_label_make_a_patient():
    scores = [score("P", "A", 1, 1.0), score("P", "B", 1, 5.0), score("P", "A", 1, 3.0)]
    # the mean of the specimens' means, not of the scans
    assert cases_of(scores) == (Case(patient="P", specimens=("A", "B"), label=1, logit=3.5),)


def test_specimens_of_a_patient_with_both_labels_stay_apart():
    found = cases_of([score("P", "A", 1, 1.0), score("P", "B", 0, -1.0), score("O", "C", 0, 0.5)])
    assert [(one.patient, one.specimens, one.label) for one in found] == [
        ("O", ("C",), 0),
        ("P", ("A",), 1),
        ("P", ("B",), 0),
    ]


def test_order_of_the_scans_makes_no_difference():
    scores = [score("P", "A", 1, 0.1), score("P", "A", 1, 0.2), score("P", "B", 1, 0.3), score("Q", "C", 0, 0.4)]
    assert cases_of(scores) == cases_of(scores[::-1])


def test_scan_is_scored_without_dropout_on_all_tiles_or_on_a_draw_of_its_own(bags):
    items = [bags(0), bags(1, 1)]
    whole = score_scans(HEAD, items)
    assert [one.logit for one in whole] == [
        run_deterministic(HEAD, item.bag.features).dropout_free_logit for item in items
    ]
    assert (whole[1].slide, whole[1].specimen, whole[1].patient, whole[1].label) == ("S1", "C1-A", "P1", 1)
    assert score_scans(HEAD, items, max_tiles=12) == whole
    few = score_scans(HEAD, items, max_tiles=5)
    assert few == score_scans(HEAD, items[::-1], max_tiles=5)[::-1]
    assert few[0].logit != whole[0].logit
    assert few[0].logit == pytest.approx(whole[0].logit, abs=1.0)
    assert few != score_scans(HEAD, items, max_tiles=5, seed=1)
    assert np.isfinite([one.logit for one in few]).all()
