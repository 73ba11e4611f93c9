from dataclasses import fields

import numpy as np
import pytest

from heads import make_bag, make_head
from pellucid.aggregators import GatedAttentionConfig
from pellucid.aggregators.errors import BagShapeMismatch
from pellucid.domain.tumour import TumourHead
from pellucid.uncertainty import run_ensemble, run_passes, sample, tumour_probability

TUMOUR = TumourHead(weights=(0.5,) * 16, bias=0.1, threshold=0.5, limit=0.05, n_tiles=10, auroc=None)


def same(one, other):
    return all(np.array_equal(getattr(one, field.name), getattr(other, field.name)) for field in fields(one))


def test_without_more_heads_it_is_the_passes_alone():
    head, features = make_head(), make_bag(40)
    passes = sample(head, features, model="m", n_passes=7)
    assert same(passes, run_passes(head, features, model="m", n_passes=7))
    assert passes.ensemble_logits.shape == (0,)
    assert passes.tumour is None


def test_the_main_head_leads_the_ensemble_and_the_passes_are_untouched():
    heads, features = [make_head(seed=seed) for seed in range(4)], make_bag(40)
    passes = sample(heads[0], features, model="m", n_passes=7, ensemble=heads[1:], tumour=TUMOUR)
    assert np.array_equal(passes.ensemble_logits, run_ensemble(heads, features).logits)
    assert passes.ensemble_logits[0] == passes.dropout_free_logit
    assert np.array_equal(passes.tumour, tumour_probability(TUMOUR, features))
    plain = run_passes(heads[0], features, model="m", n_passes=7)
    for name in ("logits", "attention_mean", "attention_sd", "embedding"):
        assert np.array_equal(getattr(passes, name), getattr(plain, name))


def test_a_head_of_the_ensemble_for_another_encoder_is_refused():
    stranger = make_head(GatedAttentionConfig(input_dim=17))
    with pytest.raises(BagShapeMismatch, match="17"):
        sample(make_head(), make_bag(5), model="m", n_passes=2, ensemble=[stranger])
