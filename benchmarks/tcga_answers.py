"""Heads trained on some institutions and what they say of the others."""

from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from benchmarks.tcga_data import N_FOLDS, as_training_scan
from pellucid.aggregators import GatedAttentionConfig, load_head
from pellucid.core.digests import digest_json
from pellucid.statistics import combine_scans, distances, fit_whitening
from pellucid.training.config import TrainingConfig
from pellucid.training.determinism import deterministic
from pellucid.training.head_loop import train_head
from pellucid.uncertainty import pass_masks, run_deterministic, run_passes
from pellucid.uncertainty.networks import networks_of

N_PASSES = TrainingConfig().n_passes
N_SEEDS = 5
_AGREE = 1e-4


@dataclass(frozen=True, kw_only=True, eq=False)
class Said:
    """What one seed's heads say of the cases in one role, each by the head that has it in this role.

    `passes` is `(n, n_passes)` and `plain` `(n,)`, raw logits with dropout and without; `distance` `(n,)` is that to
    the training slides, of a case's farthest slide. NaN where no head has the case in this role.
    """

    passes: np.ndarray
    plain: np.ndarray
    distance: np.ndarray


class HeadPasses:
    """`run_passes` for many bags of one head, whose thinned weights are made once: they take longer than a small bag.

    Raises:
        AssertionError: the first bag's logits aren't those of `run_passes`.
    """

    def __init__(self, head, model):
        masks = [None, *(pass_masks(model, head.config, index) for index in range(N_PASSES))]
        self._head, self._networks = head, networks_of(head, masks)
        self._reference = partial(run_passes, head, model=model, n_passes=N_PASSES)
        self._checked = False

    def __call__(self, features):
        """The plain logit, the logits `(n_passes,)` and the plain embedding `(trunk_dim,)`."""
        with torch.inference_mode():
            tiles = torch.from_numpy(np.ascontiguousarray(features)).float()
            first = self._head.trunk1
            scores, sums = self._networks.attend(torch.addmm(first.bias[:, None], first.weight, tiles.T).relu_())
        scores = scores.double().numpy()
        mass = np.exp(scores - scores.max(axis=1, keepdims=True)).sum(axis=1, keepdims=True)
        pooled = sums.double().numpy() / mass
        logits = np.sum(pooled * self._networks.head_weight, axis=1) + self._networks.head_bias
        if not self._checked:
            expected = self._reference(features)
            assert np.allclose(logits[1:], expected.logits, rtol=0, atol=_AGREE)
            assert np.allclose(pooled[0], expected.embedding, rtol=0, atol=_AGREE)
            self._checked = True
        return logits[0], logits[1:], pooled[0]


def answers_of(task, report, kept):
    """What each seed's heads say, `(tests, tunings)`; from `kept` where it holds them."""
    path = kept / f"{task.name.replace(' ', '_')}.npz" if kept else None
    if path and path.exists():
        with np.load(path) as stored:
            said = {name: stored[name] for name in stored.files}
    else:
        pairs = [answer(task, seed, report) for seed in range(N_SEEDS)]
        said = {
            f"{role}_{name}": np.stack([getattr(pair[nth], name) for pair in pairs])
            for nth, role in enumerate(("test", "tuning"))
            for name in ("passes", "plain", "distance")
        }
        if path:
            kept.mkdir(parents=True, exist_ok=True)
            np.savez(path, **said)
    return tuple(
        [
            Said(**{name: said[f"{role}_{name}"][seed] for name in ("passes", "plain", "distance")})
            for seed in range(N_SEEDS)
        ]
        for role in ("test", "tuning")
    )


def answer(task, seed, report):
    """Train one head a fold and let it answer: its test fold, and the fold that it is tuned on.

    With `N_FOLDS` folds of whole institutions, head k is tested on fold k, tuned on fold k + 1 and trained on the rest.

    Returns:
        What is said of the cases as tests and as tuning specimens.
    """
    test, tuning = _nothing(len(task.cases)), _nothing(len(task.cases))
    for fold in range(N_FOLDS):
        _answer_fold(task, seed, fold, test, tuning)
        report(f"{task.name}, seed {seed}, fold {fold + 1} of {N_FOLDS}")
    return test, tuning


def _answer_fold(task, seed, fold, test, tuning):
    bags = [as_training_scan(one, int(task.labels[nth])) for nth in task.learnt_by(fold) for one in task.slides[nth]]
    head_config = GatedAttentionConfig(input_dim=bags[0].bag.features.shape[1])
    with deterministic(1):
        state, _ = train_head(bags, head_config, TrainingConfig(seed=seed), _silent)
        head = load_head(head_config, state)
        whitening = fit_whitening(np.stack([run_deterministic(head, item.bag.features).embedding for item in bags]))
        passes = HeadPasses(head, digest_json([task.name, seed, fold]))
        for role, rows in ((test, np.flatnonzero(task.folds == fold)), (tuning, task.tuned_on(fold))):
            for nth in rows:
                _answer_case(role, nth, task.slides[nth], passes, whitening)


def _answer_case(role, nth, slides, passes, whitening):
    plain, dropped, embeddings = zip(*(passes(one.features) for one in slides), strict=True)
    role.plain[nth] = np.mean(plain)
    role.passes[nth] = combine_scans(dropped)
    role.distance[nth] = distances(whitening, np.stack(embeddings)).max()


def _nothing(n):
    return Said(passes=np.full((n, N_PASSES), np.nan), plain=np.full(n, np.nan), distance=np.full(n, np.nan))


def _silent(*_):
    pass
