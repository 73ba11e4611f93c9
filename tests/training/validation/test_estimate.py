import json
import signal
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pellucid.aggregators import GatedAttentionConfig
from pellucid.core.seeds import generator
from pellucid.domain.cohort import Split
from pellucid.training import HeadTraining, TrainingConfig, TrainingConfigInvalid
from pellucid.training.validation import (
    FoldsImpossible,
    Grid,
    SplitForbidden,
    Validation,
    choose_setting,
    cross_validate,
)

HEAD = GatedAttentionConfig(input_dim=8, trunk_dim=16, gate_dim=8)
CONFIG = TrainingConfig(head=HeadTraining(epochs=6, learning_rate=5e-3))
USELESS, USEFUL = 1e-7, 5e-3
CHOOSING = Validation(outer_folds=3, inner_folds=2, candidates=Grid(learning_rate=(USELESS, USEFUL)))


def cohort(bags, n=36, shift=3.0, labels=None):
    labels = [number % 2 for number in range(n)] if labels is None else labels
    return [
        bags(number, label, Split.TUNING if number % 3 == 0 else Split.TRAINING, shift=shift)
        for number, label in enumerate(labels)
    ]


def run(scans, folder, validation, progress=lambda *_: None, config=CONFIG):
    return cross_validate(scans, HEAD, config, folder, progress, validation=validation)


def plain(found):
    return [(one.seed, one.fold, one.candidate, one.case, one.temperature) for one in found.predictions]


@pytest.fixture(scope="module")
def planted(bags, tmp_path_factory):
    folder = tmp_path_factory.mktemp("planted")
    steps = []
    found = run(cohort(bags), folder, CHOOSING, lambda *step: steps.append(step))
    return folder, found, steps


def test_planted_signal_is_found_and_the_setting_that_learns_is_chosen(planted):
    _, found, _ = planted
    area = found.figures["AUROC"]
    assert area.interval.estimate > 0.9
    assert area.interval.low > 0.8
    assert found.votes == {"learning_rate 1e-07": 0, "learning_rate 0.005": 3}
    assert found.figures["Brier score"].interval.estimate < 0.15
    assert all(fold.choice.temperature is not None for fold in found.folds)
    assert all(fold.choice.n_patients == 24 for fold in found.folds)


def test_each_patient_is_answered_once_by_a_head_that_never_met_it(planted):
    _, found, _ = planted
    assert [one.case.patient for one in found.predictions] == sorted(f"P{n}" for n in range(36))
    for fold in found.folds:
        assert len(fold.scores) == 12
        assert {one.fold for one in found.predictions if one.case.patient == fold.scores[0].patient} == {fold.number}


def test_progress_counts_every_head(planted):
    _, _, steps = planted
    assert steps == [("cross-validation", done, 15) for done in range(1, 16)]


def test_permuted_labels_give_chance_and_the_interval_covers_it(bags, tmp_path):
    # the bags' own labels carry the signal, those of the table are drawn anew
    drawn = generator("permuted").permutation([number % 2 for number in range(60)]).tolist()
    scans = cohort(bags, 60)
    scans = [
        replace(item, scan=replace(item.scan, label=label, entry=replace(item.scan.entry, label=label)))
        for item, label in zip(scans, drawn, strict=True)
    ]
    found = run(scans, tmp_path, Validation(outer_folds=2, inner_folds=2, seeds=2))
    area = found.figures["AUROC"]
    assert area.interval.low < 0.5 < area.interval.high
    assert area.interval.estimate == pytest.approx(0.5, abs=0.2)
    assert len(area.by_seed) == 2
    assert area.sd is not None


def test_second_start_trains_nothing_and_says_the_same(planted, bags):
    folder, found, _ = planted
    steps = []
    again = run(cohort(bags), folder, CHOOSING, lambda *step: steps.append(step[1]))
    assert plain(again) == plain(found)
    assert again.figures == found.figures
    assert again.roc == found.roc
    assert steps == [5, 10, 15]


def test_damaged_fold_is_computed_again_and_nothing_else(planted, bags):
    folder, found, _ = planted
    (path, *others) = sorted((folder / "folds").iterdir())
    assert len(others) == 2
    stored = json.loads(path.read_text())
    stored["result"]["scores"][0]["logit"] = 0.0
    path.write_text(json.dumps(stored))
    steps = []
    again = run(cohort(bags), folder, CHOOSING, lambda *step: steps.append(step[1]))
    assert plain(again) == plain(found)
    assert len(steps) == 2 + 5


@pytest.mark.slow
def test_killed_in_a_fold_it_goes_on_with_that_fold_and_ends_the_same(planted, tmp_path):
    _, found, _ = planted
    script = textwrap.dedent(f"""
        import os, signal, sys
        sys.path.insert(0, {str(Path(__file__).parents[2])!r})
        from pathlib import Path
        from training.conftest import make_bag
        from training.validation.test_estimate import CHOOSING, cohort, plain, run

        def progress(stage, done, total):
            if len(sys.argv) > 1 and done == int(sys.argv[1]):
                os.kill(os.getpid(), signal.SIGKILL)

        found = run(cohort(make_bag), Path({str(tmp_path)!r}), CHOOSING, progress)
        print(found.figures["AUROC"].interval.estimate.hex(), len(found.predictions))
        print(sum(one.logit for one in found.predictions).hex())
    """)
    killed = start(script, "7")
    assert killed.returncode == -signal.SIGKILL
    assert len(list((tmp_path / "folds").iterdir())) == 1
    resumed = start(script)
    assert resumed.returncode == 0, resumed.stderr
    logits = sum(one.logit for one in found.predictions).hex()
    assert resumed.stdout.split() == [found.figures["AUROC"].interval.estimate.hex(), "36", logits]


def start(script, *arguments):
    command = [sys.executable, "-c", script, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=500)


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"min_per_class": 4},
        {"head": HeadTraining(epochs=5, learning_rate=5e-3)},
    ],
)
def test_fold_of_other_settings_is_not_taken_over(planted, bags, change):
    folder, _, _ = planted
    steps = []

    def stop(_stage, done, _total):
        steps.append(done)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(cohort(bags), folder, CHOOSING, stop, replace(CONFIG, **change))
    assert steps == [1]


def test_fold_of_another_bag_is_not_taken_over(planted, bags):
    folder, _, _ = planted
    scans = cohort(bags)
    features = scans[0].bag.features.copy()
    features[-1, -1] += np.float16(0.5)
    scans[0] = replace(scans[0], bag=replace(scans[0].bag, features=features))
    steps = []

    def stop(_stage, done, _total):
        steps.append(done)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(scans, folder, CHOOSING, stop)
    assert steps == [1]


@pytest.mark.parametrize("split", [Split.CERTIFICATION, Split.TEST, None])
def test_scans_kept_for_certification_or_test_are_refused(bags, tmp_path, split):
    scans = [*cohort(bags, 12), bags(50, 1, split)]
    with pytest.raises(SplitForbidden, match="1 of 13"):
        run(scans, tmp_path, CHOOSING)
    with pytest.raises(SplitForbidden):
        choose_setting(scans, HEAD, CONFIG, tmp_path, lambda *_: None, validation=CHOOSING)


def test_too_few_patients_are_told_before_anything_is_trained(bags, tmp_path):
    scans = cohort(bags, labels=[1, 1] + [0] * 20)
    with pytest.raises(FoldsImpossible, match=r"20 negative and 2 positive patients; .* at least 3 patients"):
        run(scans, tmp_path, Validation(outer_folds=3, inner_folds=2), lambda *_: pytest.fail("trained"))
    many = replace(CHOOSING, inner_folds=4)
    with pytest.raises(FoldsImpossible, match=r"0 outer and 4 inner folds need at least 4 patients"):
        choose_setting(scans, HEAD, CONFIG, tmp_path, lambda *_: pytest.fail("trained"), validation=many)


def test_no_outer_folds_are_no_cross_validation(bags, tmp_path):
    with pytest.raises(TrainingConfigInvalid, match="outer_folds is 0"):
        run(cohort(bags, 12), tmp_path, Validation())


def test_setting_is_chosen_on_the_given_scans_and_kept(bags, tmp_path):
    scans = [item for item in cohort(bags) if item.scan.entry.split is Split.TRAINING]
    steps = []
    candidate, choice = choose_setting(
        scans, HEAD, CONFIG, tmp_path, lambda *step: steps.append(step[1]), validation=CHOOSING
    )
    assert candidate.head.learning_rate == USEFUL
    assert choice.n_patients == 24
    assert [trial.candidate for trial in choice.trials] == ["learning_rate 1e-07", "learning_rate 0.005"]
    assert steps == [1, 2, 3, 4]
    again = choose_setting(scans, HEAD, CONFIG, tmp_path, lambda *step: steps.append(step[1]), validation=CHOOSING)
    assert again == (candidate, choice)
    assert steps[4:] == [4]


def test_one_candidate_needs_no_choice(bags, tmp_path):
    candidate, choice = choose_setting(
        cohort(bags, 8), HEAD, CONFIG, tmp_path, lambda *_: pytest.fail("trained"), validation=Validation()
    )
    assert candidate.head == CONFIG.head
    assert (choice.candidate, choice.trials, choice.n_patients) == ("as configured", (), 8)
