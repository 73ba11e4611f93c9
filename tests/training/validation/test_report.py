import csv
import json
import math
from pathlib import Path

import pytest
from PIL import Image

from pellucid.aggregators import GatedAttentionConfig
from pellucid.training import HeadTraining, TrainingConfig
from pellucid.training.validation import Grid, Validation, choose_setting, cross_validate, write_report

HEAD = GatedAttentionConfig(input_dim=8, trunk_dim=16, gate_dim=8)
CONFIG = TrainingConfig(head=HeadTraining(epochs=3, learning_rate=5e-3))
VALIDATION = Validation(outer_folds=2, inner_folds=2, seeds=2, group="site", candidates=Grid(epochs=(1, 3)))


def silent(*_):
    pass


@pytest.fixture(scope="module")
def written(bags, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    scans = [bags(n, n % 2, shift=3.0, strata=(("site", f"S{n % 9}"),)) for n in range(36)]
    scans.append(bags(60, 0, patient="P0", specimen="C0-B", strata=(("site", "S0"),)))
    found = cross_validate(scans, HEAD, CONFIG, folder, silent, validation=VALIDATION)
    _, final = choose_setting(scans, HEAD, CONFIG, folder, silent, validation=VALIDATION)
    write_report(found, folder, final=final)
    return folder, found, final


def test_table_has_every_out_of_fold_answer_by_the_tables_ids(written):
    folder, found, _ = written
    with (folder / "out_of_fold.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * 36
    first = next(row for row in rows if row["patient"] == "P0")
    assert first["specimens"] == "C0-A;C0-B"
    assert float(first["logit"]) == pytest.approx(float(first["raw_logit"]) / float(first["temperature"]))
    assert {row["seed"] for row in rows} == {"0", "1"}
    assert [float(row["logit"]) for row in rows] == [one.logit for one in found.predictions]


def test_json_has_figures_folds_and_choices_and_no_patient(written):
    folder, found, _ = written
    text = (folder / "cross_validation.json").read_text()
    plain = json.loads(text)
    assert plain["patients"] == 36
    assert plain["positive_patients"] == 18
    assert plain["scans"] == 37
    assert plain["figures"]["AUROC"]["interval"]["estimate"] == found.figures["AUROC"].interval.estimate
    assert len(plain["figures"]["AUROC"]["by_seed"]) == 2
    assert len(plain["folds"]) == 4
    assert sum(plain["votes"].values()) == 4
    assert set(plain["candidates"]) == {"epochs 1", "epochs 3"}
    assert plain["guessing"] == {"Brier score": 0.25, "Log loss (nats)": pytest.approx(math.log(2))}
    assert "P17" not in text
    assert "C17" not in text


def test_summary_says_what_was_chosen_on_what(written):
    folder, found, final = written
    text = (folder / "cross_validation.md").read_text()
    area = found.figures["AUROC"].interval
    assert f"| AUROC | {area.estimate:.3f} | {area.low:.3f} to {area.high:.3f} |" in text
    assert "would score a Brier score of 0.250 and a log loss of 0.693" in text
    assert "36 patients (18 positive), 37 scans of the training and tuning splits" in text
    assert "Patients and every 'site' stay together" in text
    assert f"| epochs 3 | {found.votes['epochs 3']} of 4 |" in text
    assert f"**{final.candidate}**, chosen the same way on 36 patients of the training split alone" in text


def test_picture_is_a_picture_and_the_same_each_time(written, tmp_path):
    folder, found, final = written
    with Image.open(folder / "cross_validation.png") as picture:
        assert min(picture.size) >= 400
        assert len(picture.convert("RGB").getcolors(1 << 20)) > 20
    write_report(found, tmp_path, final=final)
    for name in ("cross_validation.png", "cross_validation.json", "cross_validation.md", "out_of_fold.csv"):
        assert (tmp_path / name).read_bytes() == (Path(folder) / name).read_bytes()
