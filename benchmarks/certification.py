"""A thousand simulated certifications of each kind: how often the guarantee breaks, and what it costs.

Every simulation draws new tuning and new certification specimens, certifies, and holds the limit against the true risk
of its region, which is computed, not drawn. Scores are binormal: they test the procedure, not a model.
"""

import argparse
import json
import math
import platform
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy
from scipy.optimize import brentq
from scipy.special import expit, logit
from scipy.stats import norm

from pellucid.core.seeds import generator
from pellucid.statistics.certification import (
    certify_missed,
    certify_predictive_value,
    certify_up_to_prevalence,
    common_limit,
    plan_side,
)

N_SIMULATIONS = 1000
N_TUNING = 400
EVEN = 0.0


@dataclass(frozen=True)
class Binormal:
    """Calibrated logits of a score that is normal in each class; `sign` -1 looks at the positive answer."""

    auroc: float
    prevalence: float
    sign: int = 1

    @property
    def shift(self):
        return math.sqrt(2) * norm.ppf(self.auroc)

    def draw(self, rng, n):
        labels = rng.random(n) < self.prevalence
        z = rng.standard_normal(n) + self.shift * labels
        logits = self.shift * z - self.shift**2 / 2 + logit(self.prevalence)
        return self.sign * logits, labels if self.sign > 0 else ~labels

    def predicted(self, scores):
        return expit(scores)

    def shares(self, limit):
        """Of the wrong and of the right answers, the share that scores at most the limit."""
        z = (self.sign * limit - logit(self.prevalence) + self.shift**2 / 2) / self.shift
        mutated, wild = norm.cdf(z - self.shift), norm.cdf(z)
        return (mutated, wild) if self.sign > 0 else (1 - wild, 1 - mutated)

    @property
    def base(self):
        return self.prevalence if self.sign > 0 else 1 - self.prevalence

    def risk(self, limit, prevalence=None):
        base = self.base if prevalence is None else prevalence
        wrong, right = self.shares(limit)
        return base * wrong / (base * wrong + (1 - base) * right)

    def coverage(self, limit):
        wrong, right = self.shares(limit)
        return self.base * wrong + (1 - self.base) * right

    def oracle(self, alpha):
        """The coverage of the limit at which the true risk is alpha."""
        limit = EVEN if self.risk(EVEN) <= alpha else brentq(lambda t: self.risk(t) - alpha, -12, EVEN)
        return self.coverage(limit)


@dataclass(frozen=True)
class Plateau:
    """The adversary: the same risk at every limit, while the predictions promise certainty at the low end."""

    level: float

    def draw(self, rng, n):
        return rng.uniform(-3, 0, n), rng.random(n) < self.level

    def predicted(self, scores):
        return expit(2 * scores - 1)

    def risk(self, _):
        return self.level

    def coverage(self, limit):
        return 1 + limit / 3


def planned(model, rng, *, n, alpha, delta, n_tuning, **more):
    scores, _ = model.draw(rng, n_tuning)
    return plan_side(scores, model.predicted(scores), n=n, alpha=alpha, delta=delta, highest=EVEN, **more)


def predictive(model, rng, *, n, alpha, delta, n_tuning=N_TUNING):
    plan = planned(model, rng, n=n, alpha=alpha, delta=delta, n_tuning=n_tuning)
    limit = certify_predictive_value(plan, *model.draw(rng, n), alpha=alpha, delta=delta).limit
    return scored(model, limit, alpha)


def plug_in(model, rng, *, n, alpha, delta, n_tuning=N_TUNING):
    """The naive way: the largest limit at which the share of errors seen is small enough."""
    grid = np.array(planned(model, rng, n=n, alpha=alpha, delta=delta, n_tuning=n_tuning).grid)
    scores, wrong = model.draw(rng, n)
    below = scores[:, None] <= grid
    good = np.flatnonzero((below & wrong[:, None]).sum(axis=0) <= alpha * below.sum(axis=0))
    return scored(model, float(grid[good[-1]]) if good.size else None, alpha)


def two_sided(model, rng, *, n, alpha, delta, alpha_positive, n_tuning=N_TUNING):
    """NPV and PPV on the same specimens, each with half of delta."""
    other = Binormal(model.auroc, model.prevalence, sign=-1)
    tuning, _ = model.draw(rng, n_tuning)
    scores, mutated = model.draw(rng, n)
    violated, coverage = False, 0.0
    for side, allowed in ((model, alpha), (other, alpha_positive)):
        seen = side.sign * tuning
        plan = plan_side(seen, side.predicted(seen), n=n, alpha=allowed, delta=delta / 2, highest=EVEN)
        wrong = mutated if side is model else ~mutated
        limit = certify_predictive_value(plan, side.sign * scores, wrong, alpha=allowed, delta=delta / 2).limit
        side_violated, side_coverage = scored(side, limit, allowed)
        violated, coverage = violated or side_violated, coverage + side_coverage
    return violated, coverage


def missed(model, rng, *, n, beta, delta):
    scores, mutated = model.draw(rng, n)
    limit = certify_missed(scores[mutated], beta=beta, delta=delta)
    return (False, 0.0) if limit is None else (model.shares(limit)[0] > beta, model.coverage(limit))


def up_to_prevalence(model, rng, *, n, alpha, delta, prevalence_max, n_tuning=N_TUNING):
    plan = planned(model, rng, n=n, alpha=alpha, delta=delta, n_tuning=n_tuning, prevalence_max=prevalence_max)
    scores, mutated = model.draw(rng, n)
    limit = certify_up_to_prevalence(
        plan, scores, mutated, alpha=alpha, delta=delta, prevalence_max=prevalence_max
    ).limit
    return (False, 0.0) if limit is None else (model.risk(limit, prevalence_max) > alpha, model.coverage(limit))


def moved(model, rng, *, n, alpha, delta, prevalence, n_tuning=N_TUNING):
    """A plain predictive value, used at another prevalence: what claim 3 is for."""
    plan = planned(model, rng, n=n, alpha=alpha, delta=delta, n_tuning=n_tuning)
    limit = certify_predictive_value(plan, *model.draw(rng, n), alpha=alpha, delta=delta).limit
    return (False, 0.0) if limit is None else (model.risk(limit, prevalence) > alpha, model.coverage(limit))


def jointly(model, rng, *, n, alpha, beta, delta, n_tuning=N_TUNING):
    """NPV and missed positives at one limit, each with half of delta."""
    half = delta / 2
    plan = planned(model, rng, n=n, alpha=alpha, delta=half, n_tuning=n_tuning, missed=(beta, half))
    scores, mutated = model.draw(rng, n)
    ceiling = certify_missed(scores[mutated], beta=beta, delta=half)
    result = certify_predictive_value(plan, scores, mutated, alpha=alpha, delta=half)
    limit = None if ceiling is None else common_limit(plan, [result], at_most=ceiling)
    if limit is None:
        return False, 0.0
    return model.risk(limit) > alpha or model.shares(limit)[0] > beta, model.coverage(limit)


def scored(model, limit, alpha):
    return (False, 0.0) if limit is None else (model.risk(limit) > alpha, model.coverage(limit))


RARE, COMMON = Binormal(0.87, 0.15), Binormal(0.87, 0.45)
COMMON_POSITIVE = Binormal(0.87, 0.45, sign=-1)
NPV = {"n": 1500, "alpha": 0.05, "delta": 0.05}
SCENARIOS = {
    "NPV >= .95, prevalence .15": (predictive, RARE, NPV),
    "the same, 40 tuning specimens": (predictive, RARE, NPV | {"n_tuning": 40}),
    "the same, 400 specimens": (predictive, RARE, NPV | {"n": 400}),
    "NPV >= .95, prevalence .45": (predictive, COMMON, NPV),
    "PPV >= .90, prevalence .45": (predictive, COMMON_POSITIVE, NPV | {"alpha": 0.10}),
    "NPV >= .95 and PPV >= .80, prevalence .15": (two_sided, RARE, NPV | {"alpha_positive": 0.20}),
    "NPV >= .95 and PPV >= .80, prevalence .45": (two_sided, COMMON, NPV | {"alpha_positive": 0.20}),
    "plateau at 1.08 alpha": (predictive, Plateau(0.054), NPV),
    "plateau just above alpha": (predictive, Plateau(0.0500001), NPV),
    "plateau just above alpha, 120 specimens": (predictive, Plateau(0.0500001), NPV | {"n": 120}),
    "missed <= .05, prevalence .15": (missed, RARE, {"n": 1500, "beta": 0.05, "delta": 0.05}),
    "missed <= .05, prevalence .45": (missed, COMMON, {"n": 1500, "beta": 0.05, "delta": 0.05}),
    "NPV >= .95 and missed <= .10, prevalence .15": (jointly, RARE, NPV | {"beta": 0.10}),
    "NPV >= .95 up to prevalence .20, from .15": (up_to_prevalence, RARE, NPV | {"prevalence_max": 0.20}),
    "NPV >= .80 up to prevalence .55, from .45": (
        up_to_prevalence,
        COMMON,
        NPV | {"alpha": 0.20, "prevalence_max": 0.55},
    ),
    "control: plug-in, prevalence .15": (plug_in, RARE, NPV),
    "control: plug-in, prevalence .45": (plug_in, COMMON, NPV),
    "control: certified at .15, used at .25": (moved, RARE, NPV | {"prevalence": 0.25}),
}


def simulate(name, n_simulations=N_SIMULATIONS):
    """Run one scenario; the same name gives the same figures."""
    way, model, terms = SCENARIOS[name]
    rng = generator("benchmarks.certification", name)
    outcomes = [way(model, rng, **terms) for _ in range(n_simulations)]
    coverages = np.array([coverage for _, coverage in outcomes])
    oracle = model.oracle(terms["alpha"]) if way in (predictive, plug_in) and isinstance(model, Binormal) else None
    return {
        "delta": terms["delta"],
        "violations": sum(bool(violated) for violated, _ in outcomes) / n_simulations,
        "certified": float(np.mean(coverages > 0)),
        "coverage": float(coverages.mean()),
        "oracle": None if oracle is None else float(oracle),
        "n_simulations": n_simulations,
    }


def allowance(figures):
    """The most violations that chance explains: delta and three standard errors."""
    delta = figures["delta"]
    return delta + 3 * math.sqrt(delta * (1 - delta) / figures["n_simulations"])


def table(results):
    lines = [
        "| claim | specimens | violations | delta (+ 3 s.e.) | certified | coverage | oracle's | of oracle's |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, figures in results.items():
        oracle = figures["oracle"]
        cells = (
            name,
            f"{SCENARIOS[name][2]['n']:,}",
            f"{figures['violations']:.3f}",
            f"{figures['delta']:.3f} ({allowance(figures):.3f})",
            f"{figures['certified']:.3f}",
            f"{figures['coverage']:.3f}",
            "-" if oracle is None else f"{oracle:.3f}",
            "-" if oracle is None else f"{figures['coverage'] / oracle:.0%}",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--simulations", type=int, default=N_SIMULATIONS)
    parser.add_argument("--json", type=Path, help="write the figures here as well")
    arguments = parser.parse_args()
    start = time.perf_counter()
    results = {name: simulate(name, arguments.simulations) for name in SCENARIOS}
    print(table(results))
    print(f"\n{arguments.simulations:,} simulations each, {time.perf_counter() - start:.0f} s in all.")
    if arguments.json:
        machine = {"python": platform.python_version(), "numpy": np.__version__, "scipy": scipy.__version__}
        arguments.json.write_text(json.dumps({"machine": machine, "results": results}, indent=2) + "\n")


if __name__ == "__main__":
    main()
