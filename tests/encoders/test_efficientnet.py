"""EfficientNet-Lite0's packaged weights run in timm's network as they ran in the network that they were made for."""

import numpy as np
import pytest
import torch

from pellucid.core.seeds import generator
from pellucid.encoders import WeightsUnfit, build_network, encoder_entry, load_published, read_published, read_weights
from pellucid.encoders.efficientnet import packaged_weights, timm_names
from pellucid.encoders.weights import check_state

ENTRY = encoder_entry("efficientnet-lite0")
FEATURES = {0: 0.89458, 194: 0.09404, 776: 0.22639}
MEAN = 0.131831


def test_every_name_of_the_file_has_its_place_in_the_network() -> None:
    path = packaged_weights()
    assert path is not None
    named = timm_names(read_weights(path))
    check_state(build_network("efficientnet-lite0").state_dict(), named, what="efficientnet-lite0")
    assert len(named) == 294


def test_the_digest_is_the_registered_one() -> None:
    spec, _ = read_published(ENTRY)
    encoder = load_published(ENTRY, batch_size=2)
    assert encoder.spec.weights_digest == spec.weights_digest == ENTRY.spec.weights_digest


def test_features_are_those_of_the_network_that_the_weights_were_published_for() -> None:
    """Figures of efficientnet_lite_pytorch 0.1.0's own network, before its classifier, on this very tile."""
    tile = generator("efficientnet").integers(0, 256, (1, 224, 224, 3), dtype=np.uint8)
    features = load_published(ENTRY, batch_size=1).encode(tile)[0]
    assert features.shape == (1280,)
    assert {n: float(features[n]) for n in FEATURES} == pytest.approx(FEATURES, rel=1e-3)
    assert features.mean() == pytest.approx(MEAN, rel=1e-3)


def test_names_of_something_else_stay_and_are_refused() -> None:
    path = packaged_weights()
    assert path is not None
    state = read_weights(path)
    state["_blocks.16._expand_conv.weight"] = torch.zeros(1)
    with pytest.raises(WeightsUnfit, match=r"'_blocks\.16\._expand_conv\.weight': the network has no such tensor"):
        check_state(build_network("efficientnet-lite0").state_dict(), timm_names(state), what="efficientnet-lite0")
    assert set(timm_names({"layer1.0.conv1.weight": 1, "_bn9.bias": 2})) == {"layer1.0.conv1.weight", "_bn9.bias"}
