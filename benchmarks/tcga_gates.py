"""What the gates stop, whether a model of LUAD notices LUSC, and what a certification would say."""

from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from benchmarks.tcga_answers import N_SEEDS
from benchmarks.tcga_data import LUAD, LUSC, N_FOLDS
from benchmarks.tcga_figures import CONFIG, Cases, auroc_within
from pellucid.statistics import (
    calibration_in_the_large,
    certify_predictive_value,
    distances,
    fit_whitening,
    plan_side,
    shortfall,
)

DELTA = 0.05


@dataclass(frozen=True, kw_only=True, eq=False)
class Gates:
    """The limits of each seed's and fold's model, `(n_seeds, N_FOLDS)`, and who exceeds them, `(n_seeds, n)`."""

    too_spread: np.ndarray
    too_far: np.ndarray

    @property
    def stopped(self):
        return self.too_spread | self.too_far


def gates_of(task, mc, tuned, tests, tunings):
    """The gates as a bundle has them, limits from the tuning fold: for the tests, and for the tuning specimens."""
    limits = CONFIG.limits
    as_test, as_tuning = ([np.zeros(mc.sd.shape, dtype=bool) for _ in range(2)] for _ in range(2))
    for seed, fold in np.ndindex(N_SEEDS, N_FOLDS):
        tested, tuning = np.flatnonzero(task.folds == fold), task.tuned_on(fold)
        for stopped, rows, sd, distance in (
            (as_test, tested, mc.sd[seed], tests[seed].distance),
            (as_tuning, tuning, tuned.sd[seed], tunings[seed].distance),
        ):
            sd_limit = np.quantile(tuned.sd[seed, tuning], limits.sd_quantile)
            far = np.quantile(tunings[seed].distance[tuning], limits.distance_quantile) * limits.distance_margin
            stopped[0][seed, rows], stopped[1][seed, rows] = sd[rows] > sd_limit, distance[rows] > far
    return tuple(Gates(too_spread=spread, too_far=far) for spread, far in (as_test, as_tuning))


def noticing(task, kinds, gates, tests, n_resamples):
    """Whether a model of LUAD alone notices LUSC: its scores' AUROC within each model, and what its limits stop."""
    foreign = (~task.is_learnt).astype(float)
    cases = Cases(labels=foreign, patients=task.cases, n_resamples=n_resamples)
    mc, ensemble, plain = (kinds[name][0] for name in ("MC dropout", "ensemble", "deterministic"))
    scores = {
        "sd of the logit, MC dropout": mc.sd,
        "mutual information, MC dropout": mc.information,
        "1 - abs(2p - 1), MC dropout": 1 - np.abs(2 * expit(mc.logit) - 1),
        "sd of the logit, ensemble": ensemble.sd,
        "mutual information, ensemble": ensemble.information,
        "1 - abs(2p - 1), deterministic": 1 - np.abs(2 * expit(plain.logit) - 1),
        "distance of the head's embedding": np.stack([one.distance for one in tests]),
        "distance of the mean region (no head)": _distance_of_means(task)[None],
    }
    ranked = {
        name: cases.interval(
            lambda rows, v=values: float(
                np.mean([auroc_within(task.folds[rows], one[rows], foreign[rows]) for one in v])
            )
        )
        for name, values in scores.items()
    }
    stopped = {}
    for name, hit in (("sd", gates.too_spread), ("distance", gates.too_far), ("either", gates.stopped)):
        stopped[name] = {
            who: Cases(
                labels=foreign[rows], patients=[task.cases[row] for row in rows], n_resamples=n_resamples
            ).interval(lambda drawn, h=hit[:, rows]: float(h[:, drawn].mean()))
            for who, rows in ((LUAD, np.flatnonzero(task.is_learnt)), (LUSC, np.flatnonzero(~task.is_learnt)))
        }
    return {"AUROC": ranked, "stopped": stopped}


def _distance_of_means(task):
    means = np.stack(
        [np.concatenate([one.features for one in group]).astype(np.float64).mean(0) for group in task.slides]
    )
    found = np.zeros(len(means))
    for fold in range(N_FOLDS):
        learnt = task.is_learnt & ~np.isin(task.folds, (fold, (fold + 1) % N_FOLDS))
        found[task.folds == fold] = distances(fit_whitening(means[learnt]), means[task.folds == fold])
    return found


def certification(task, mc, tuned, gates, tuning_gates, target):
    """Try to certify an NPV on the pooled tests of each seed, planned on the pooled tuning specimens.

    Four models take part and every case has both roles under different ones, so this is an estimate of what a site with
    as many cases would meet, no certificate. The second way moves the predicted risk so that the tuning
    specimens' mean matches their outcomes, which a temperature alone can't do.
    """
    rows = np.flatnonzero(task.is_learnt)
    labels = task.labels[rows]
    tries = {"predicted risk": [], "risk moved to the prevalence": []}
    for seed in range(N_SEEDS):
        scores = np.where(gates.stopped[seed, rows], np.inf, mc.high[seed, rows])
        tuning_scores = np.where(tuning_gates.stopped[seed, rows], np.inf, tuned.high[seed, rows])
        logits = tuned.logit[seed, rows]
        moved = logits + calibration_in_the_large(logits, labels)
        for way, predicted in zip(tries, (logits, moved), strict=True):
            tries[way].append(_try(tuning_scores, expit(predicted), scores, labels == 1, target))
    return {"n": len(rows), "n_positive": int(labels.sum()), "target": target, "tries": tries}


def _try(tuning_scores, risk, scores, wrong, target):
    terms = {"alpha": 1 - target, "delta": DELTA}
    plan = plan_side(tuning_scores, risk, n=len(scores), highest=0.0, **terms)
    result = certify_predictive_value(plan, scores, wrong, **terms)
    return {
        "predicted power": plan.predicted_power,
        "limit": result.limit,
        "n": result.n,
        "errors": result.errors,
        "coverage": result.coverage,
        "needed": None if result.limit is not None else shortfall(plan, scores, wrong, **terms),
        "passed": int(np.isfinite(scores).sum()),
        "best": _best(scores, wrong, target),
    }


def _best(scores, wrong, target):
    """The largest share of cases at which the observed NPV meets the target, with hindsight."""
    order = np.argsort(scores)
    usable = np.isfinite(scores[order]) & (scores[order] <= 0)
    good = (1 - np.cumsum(wrong[order]) / np.arange(1, len(order) + 1) >= target) & usable
    return float((np.flatnonzero(good)[-1] + 1) / len(order)) if good.any() else 0.0
