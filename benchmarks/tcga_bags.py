"""What dropout, an ensemble and a plain answer are worth on real bags, institutions kept apart.

LUAD against LUSC, and EGFR among LUAD: heads of the package's defaults in four folds of whole institutions (two train,
one tunes the temperature and the limits, one tests) and five seeds; the ensemble is the five seeds' heads. Figures are
pooled over the test folds; those of single heads are averaged over the seeds; intervals are 95 % over resampled
patients with heads and folds held fixed. Then whether a model that only met LUAD notices LUSC, and what a certification
would say. The encoder (HIPT) was pre-trained on TCGA, so nothing here is a claim about new patients.
"""

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np

from benchmarks.tcga_answers import N_PASSES, N_SEEDS, answers_of
from benchmarks.tcga_data import LUAD, LUSC, N_FOLDS, describe_folds, fold_of_institutions, read_slides, tasks_of
from benchmarks.tcga_figures import AUGRC, LESS, RANKING, SELECTIVE, Cases, kinds_of, ways_of, worth
from benchmarks.tcga_gates import certification, gates_of, noticing

FOLDER = Path(__file__).resolve().parents[2] / "shared" / "data" / "tcga_lung_bags"
N_RESAMPLES = 1000
TARGETS = (0.95, 0.90)


def cell(found, digits=3):
    return f"{found['estimate']:.{digits}f} ({found['low']:.{digits}f} to {found['high']:.{digits}f})"


def worth_tables(figures):
    lines = [f"| answer | {' | '.join(RANKING)} | AUROC by seed |", "|---" * (len(RANKING) + 2) + "|"]
    for way, found in figures.items():
        if "AUROC" in found:
            cells = [cell(found[name], 2 if name.startswith("calibration") else 3) for name in RANKING]
            seeds = ", ".join(f"{value:.3f}" for value in found["by seed"]["AUROC"])
            lines.append(f"| {way.split(',')[0]} | {' | '.join(cells)} | {seeds} |")
    names = [AUGRC, LESS, *(name for name in SELECTIVE if name != AUGRC)]
    lines += ["", f"| answer, confidence | {' | '.join(names)} | AUGRC by seed |", "|---" * (len(names) + 2) + "|"]
    for way, found in figures.items():
        cells = [cell(found[name], 1 if "1000" in name else 3) if name in found else "-" for name in names]
        seeds = ", ".join(f"{value:.1f}" for value in found["by seed"][AUGRC])
        lines.append(f"| {way} | {' | '.join(cells)} | {seeds} |")
    return "\n".join(lines)


def noticing_tables(found):
    lines = ["| score of a model of LUAD | AUROC, LUSC above LUAD |", "|---|---|"]
    lines += [f"| {name} | {cell(value)} |" for name, value in found["AUROC"].items()]
    lines += ["", "| gate, limits from tuning | LUAD stopped | LUSC stopped |", "|---|---|---|"]
    lines += [f"| {name} | {cell(who[LUAD])} | {cell(who[LUSC])} |" for name, who in found["stopped"].items()]
    return "\n".join(lines)


def certification_tables(all_found):
    names = (
        "question",
        "NPV",
        "cases (positive)",
        "planned with",
        "certified",
        "coverage there",
        "n, errors at that limit, or at the first one tested",
        "needed in all, estimated",
        "most coverage with hindsight",
    )
    lines = [f"| {' | '.join(names)} |", "|---" * len(names) + "|"]
    for name, found in all_found:
        for way, tries in found["tries"].items():
            certified = [one for one in tries if one["limit"] is not None]
            coverage = ", ".join(f"{one['coverage']:.2f}" for one in certified) or "-"
            tested = "; ".join(f"{one['n']}, {one['errors']}" for one in tries)
            needed = ", ".join(_needed(one) for one in tries)
            best = ", ".join(f"{one['best']:.2f}" for one in tries)
            lines.append(
                f"| {name} | {found['target']:.2f} | {found['n']} ({found['n_positive']}) | {way} | "
                f"{len(certified)} of {len(tries)} seeds | {coverage} | {tested} | {needed} | {best} |"
            )
    return "\n".join(lines)


def _needed(one):
    if one["limit"] is not None:
        return "enough"
    return "more than 100,000" if one["needed"] is None else f"{one['needed']:,}"


def run(folder, *, n_resamples, kept):
    clock = time.process_time()

    def report(what):
        print(f"[{time.process_time() - clock:4.0f} CPU-s] {what}", file=sys.stderr, flush=True)

    slides = read_slides(folder)
    folds = fold_of_institutions(slides)
    print(describe_folds(slides, folds))
    results, certified = {}, []
    for task in tasks_of(slides, folds):
        tests, tunings = answers_of(task, report, kept)
        kinds = kinds_of(task, tests, tunings)
        own = np.flatnonzero(task.is_learnt)
        cases = Cases(labels=task.labels[own], patients=[task.cases[row] for row in own], n_resamples=n_resamples)
        results[task.name] = describe(cases, ways_of(kinds, own), kinds)
        print(f"\n### {task.name}: {len(own)} patients, {int(cases.labels.sum())} positive\n")
        print(worth_tables(results[task.name]["figures"]))
        print(f"\n{told_of_temperatures(kinds)}", flush=True)
        report(f"{task.name}: figures")
        mc, tuned = kinds["MC dropout"]
        gates, tuning_gates = gates_of(task, mc, tuned, tests, tunings)
        if not task.is_learnt.all():
            results["noticing"] = noticing(task, kinds, gates, tests, n_resamples)
            print(f"\n### A model of LUAD on LUSC\n\n{noticing_tables(results['noticing'])}", flush=True)
        certified += [(task.name, certification(task, mc, tuned, gates, tuning_gates, target)) for target in TARGETS]
    print(f"\n### Certification\n\n{certification_tables(certified)}")
    report("done")
    return results | {"certification": certified}


def describe(cases, ways, kinds):
    return {
        "figures": worth(cases, ways),
        "temperatures": {name: kind.temperatures.tolist() for name, (kind, _) in kinds.items()},
    }


def told_of_temperatures(kinds):
    parts = []
    for name, (kind, _) in kinds.items():
        low, high = np.nanmin(kind.temperatures), np.nanmax(kind.temperatures)
        n_unfitted = int(np.isnan(kind.temperatures).sum())
        parts.append(f"{name} {low:.2g} to {high:.2g}, {n_unfitted} of {kind.temperatures.size} not fitted")
    return f"Temperatures ({'; '.join(parts)}; where the tuning fold gave none, 1 was taken)."


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=FOLDER, help="the bags; evaluation only, see their README")
    parser.add_argument("--resamples", type=int, default=N_RESAMPLES)
    parser.add_argument("--keep", type=Path, help="a folder that keeps the raw answers, and gives them the next time")
    parser.add_argument("--json", type=Path, help="write the figures here as well")
    arguments = parser.parse_args()
    if not (arguments.folder / "bags.safetensors").exists():
        print(f"Skipped: the bags are not at {arguments.folder}.")
        return
    print(f"{N_SEEDS} seeds, {N_PASSES} passes, {N_FOLDS} folds of whole institutions.\n")
    results = run(arguments.folder, n_resamples=arguments.resamples, kept=arguments.keep)
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=2, default=float) + "\n")


if __name__ == "__main__":
    main()
