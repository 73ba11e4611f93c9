"""What choosing a head's settings is worth on real bags: nested cross-validation with institutions kept apart.

LUAD against LUSC, and EGFR among LUAD. Outer folds of whole institutions estimate; inner folds of the others choose
learning rate and epochs and fit a temperature; each seed deals the folds anew and trains other heads. Figures are by
patient, means over the seeds, with 95 % intervals over resampled patients, folds and heads held fixed. The encoder
(HIPT) was pre-trained on TCGA, so nothing here is a claim about new patients.
"""

import argparse
import json
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from benchmarks.tcga_data import EGFR, LUAD, LUSC, SUBTYPE, as_training_scan, read_slides
from pellucid.aggregators import GatedAttentionConfig
from pellucid.domain.cohort import Split
from pellucid.training import TrainingConfig
from pellucid.training.validation import Grid, Validation, cross_validate, write_report
from pellucid.training.validation.report import as_plain

FOLDER = Path(__file__).resolve().parents[2] / "shared" / "data" / "tcga_lung_bags"
GROUPS = ("institution", "patient")
LEARNING_RATES, EPOCHS = (3e-4, 1e-3), (5, 20)
LABELS = {
    SUBTYPE: lambda one: {LUAD: 0, LUSC: 1}.get(one.subtype),
    EGFR: lambda one: one.egfr if one.subtype == LUAD else None,
}


def scans_of(slides, label):
    found = [as_training_scan(one, label(one)) for one in slides if label(one) is not None]
    places = {one.slide: one.institution for one in slides}
    return [
        replace(
            item,
            scan=replace(
                item.scan,
                entry=replace(
                    item.scan.entry,
                    split=Split.TRAINING,
                    strata=(("institution", places[item.scan.entry.slide]),),
                ),
            ),
        )
        for item in found
    ]


def table(results):
    lines = [
        "| question | kept together | AUROC | AUPRC | Brier | log loss | AUROC by seed | within folds | chosen |",
        "|---" * 9 + "|",
    ]
    for (question, group), (found, _) in results.items():
        cells = [cell(found.figures[name].interval) for name in found.figures]
        seeds = ", ".join(f"{value:.3f}" for value in found.figures["AUROC"].by_seed)
        within = f"{min(found.by_fold):.3f} to {max(found.by_fold):.3f}"
        votes = "; ".join(f"{name}: {count}" for name, count in found.votes.items() if count)
        lines.append(f"| {question} | {group} | {' | '.join(cells)} | {seeds} | {within} | {votes} |")
    return "\n".join(lines)


def cell(interval):
    return f"{interval.estimate:.3f} ({interval.low:.3f} to {interval.high:.3f})"


def run(folder, out, how, groups):
    slides = read_slides(folder)
    results = {}
    for question, label in LABELS.items():
        scans = scans_of(slides, label)
        head = GatedAttentionConfig(input_dim=scans[0].bag.features.shape[1])
        for group in groups:
            clock = time.process_time()
            place = out / f"{question.replace(' ', '_')}-{group}"
            found = cross_validate(
                scans, head, TrainingConfig(), place, report(question, group), validation=replace(how, group=group)
            )
            write_report(found, place)
            results[question, group] = found, time.process_time() - clock
    return results


def report(question, group):
    def told(_stage, done, total):
        if done % 5 == 0 or done == total:
            print(f"{question}, {group}: {done} of {total} heads", file=sys.stderr, flush=True)

    return told


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=FOLDER, help="the bags; evaluation only, see their README")
    parser.add_argument("--out", type=Path, help="a folder that keeps folds and reports; a second start goes on there")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--outer", type=int, default=4)
    parser.add_argument("--inner", type=int, default=3)
    parser.add_argument("--learning-rates", type=float, nargs="+", default=LEARNING_RATES)
    parser.add_argument("--epochs", type=int, nargs="+", default=EPOCHS)
    parser.add_argument("--group", choices=GROUPS, action="append", help="what stays together; default: institution")
    parser.add_argument("--json", type=Path, help="write the figures here as well")
    arguments = parser.parse_args()
    if not (arguments.folder / "bags.safetensors").exists():
        print(f"Skipped: the bags are not at {arguments.folder}.")
        return
    how = Validation(
        outer_folds=arguments.outer,
        inner_folds=arguments.inner,
        seeds=arguments.seeds,
        candidates=Grid(learning_rate=tuple(arguments.learning_rates), epochs=tuple(arguments.epochs)),
    )
    with tempfile.TemporaryDirectory() as temporary:
        results = run(arguments.folder, arguments.out or Path(temporary), how, arguments.group or GROUPS[:1])
    print(f"{arguments.seeds} seeds, {arguments.outer} outer and {arguments.inner} inner folds.\n")
    print(table(results))
    for (question, group), (found, seconds) in results.items():
        print(f"\n{question}, {group}: {found.n_scans} scans, {seconds:.0f} CPU-s.")
    if arguments.json:
        plain = {" / ".join(key): as_plain(found) for key, (found, _) in results.items()}
        arguments.json.write_text(json.dumps(plain, indent=2) + "\n")


if __name__ == "__main__":
    main()
