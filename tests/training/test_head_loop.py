from dataclasses import replace

import numpy as np
import pytest
import torch

from pellucid.aggregators import GatedAttentionConfig, load_head
from pellucid.encoders import state_digest
from pellucid.training import HeadTraining, TrainingConfig
from pellucid.training.determinism import deterministic, torch_generator
from pellucid.training.head_loop import ChannelDropout, ensemble_tasks, scan_weights, train_head
from pellucid.training.task import run_through

HEAD = GatedAttentionConfig(input_dim=8, trunk_dim=32, gate_dim=16)
CONFIG = TrainingConfig(head=HeadTraining(epochs=25, learning_rate=3e-3))


def train(bags):
    with deterministic(1):
        return train_head(bags, HEAD, CONFIG, lambda *_: None)


def test_head_learns_which_tiles_matter(bags):
    state, losses = train([bags(number, number % 2, shift=3.0) for number in range(24)])
    head = load_head(HEAD, state)
    unseen = [bags(number, number % 2, shift=3.0) for number in range(100, 120)]
    outputs = [head(torch.from_numpy(item.bag.features.astype(np.float32))) for item in unseen]
    assert losses[-1] < losses[0]
    assert all((float(out.logit) > 0) == item.scan.label for out, item in zip(outputs, unseen, strict=True))
    assert np.mean([float(out.attention[:4].sum()) for out in outputs]) > 0.5


def test_same_configuration_gives_the_same_weights_and_leaves_the_global_generator_alone(bags):
    items = [bags(number, number % 2) for number in range(8)]
    before = torch.get_rng_state()
    first, again = train(items)[0], train(items)[0]
    assert state_digest(first) == state_digest(again)
    assert torch.equal(torch.get_rng_state(), before)


def test_ensemble_learns_the_same_with_other_weights_and_leaves_the_first_head_as_it_is(bags):
    items = [bags(number, number % 2, shift=3.0) for number in range(24)]
    config = replace(CONFIG, ensemble_heads=2)
    with deterministic(1):
        tasks = ensemble_tasks(items, HEAD, config)
        for task in tasks:
            run_through(task, lambda *_: None)
        states = [task.state() for task in tasks]
        first, _ = train_head(items, HEAD, config, lambda *_: None)
    assert [task.name for task in tasks] == ["member-1", "member-2"]
    assert state_digest(first) == state_digest(train(items)[0])
    assert len({state_digest(state) for state in (first, *states)}) == 3
    unseen = [bags(number, number % 2, shift=3.0) for number in range(100, 120)]
    for head in (load_head(HEAD, state) for state in states):
        logits = [float(head(torch.from_numpy(item.bag.features.astype(np.float32))).logit) for item in unseen]
        assert [logit > 0 for logit in logits] == [bool(item.scan.label) for item in unseen]


def test_no_ensemble_where_none_is_wanted(bags):
    assert ensemble_tasks([bags(0), bags(1, 1)], HEAD, replace(CONFIG, ensemble_heads=0)) == []


def test_channel_dropout_drops_whole_channels_and_keeps_the_mean():
    dropout = ChannelDropout(0.25, torch_generator("drop"))
    ones = torch.ones(50, 4000)
    dropped = dropout(ones)
    assert torch.equal(dropped, dropped[:1].expand(50, -1))
    assert float(dropped.mean()) == pytest.approx(1, abs=0.05)
    assert torch.equal(dropout.eval()(ones), ones)


def test_classes_weigh_the_same_and_scans_of_one_specimen_share(bags):
    items = [bags(0, 1), bags(1, 0), bags(2, 0), bags(3, 0), bags(4, 0, specimen="C3-A", patient="P3")]
    weights = scan_weights(items)
    assert sum(weights) == pytest.approx(len(items))
    assert weights[3] == weights[4] == pytest.approx(weights[1] / 2)
    assert weights[0] > weights[1]
