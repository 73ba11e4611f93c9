"""Where an end-to-end training starts: an encoder with its first weights."""

import numpy as np
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from pellucid.core.seeds import generator
from pellucid.domain.encoder import EncoderSpec
from pellucid.encoders import SMALL_SPEC, SmallEncoder, encoder_entry
from pellucid.encoders.architectures import build_network
from pellucid.encoders.published import read_published
from pellucid.encoders.weight_files import read_weights
from pellucid.slides import open_slide, read_tiles_into
from pellucid.training.config import EndToEndTraining
from pellucid.training.joint.inputs import normalised
from pellucid.training.survey import SurveyedScan

_TILES = 256
_PER_SCAN = 16


def spec_of(settings: EndToEndTraining) -> EncoderSpec:
    """The spec of the encoder that is trained, as far as it is known before its weights are read.

    Raises:
        EncoderUnknown: names the nearest one.
    """
    return encoder_entry(settings.encoder).spec


def first_encoder(settings: EndToEndTraining, seed: int, scans: list[SurveyedScan]) -> nn.Module:
    """The network with the weights that it starts from, loaded strictly.

    The small encoder starts from the seed where no weights are named. It then learns the statistics of its batch
    normalisation from tiles of the training slides once, as they stay as they are from then on.

    Args:
        settings: the encoder and its weights.
        seed: of the training.
        scans: training slides.

    Raises:
        EncoderUnknown, WeightsMissing, WeightsUnreadable, WeightsUnfit, FoundationMissing: of the encoders.
    """
    entry = encoder_entry(settings.encoder)
    if entry.spec.architecture == SMALL_SPEC.architecture:
        small = SmallEncoder(seed=seed)
        if settings.weights is None:
            _learn_statistics(small, entry.spec, seed, scans)
        else:
            _load(small, read_weights(settings.weights))
        return small
    _, state = read_published(entry, settings.weights)
    network = build_network(entry.spec.architecture)
    _load(network, {name: value.clone() for name, value in state.items()})
    return network


def _load(network: nn.Module, state: dict[str, torch.Tensor]) -> None:
    from pellucid.encoders import check_state

    check_state(network.state_dict(), state, what=type(network).__name__)
    network.load_state_dict(state, strict=True, assign=True)


def _learn_statistics(network: nn.Module, spec: EncoderSpec, seed: int, scans: list[SurveyedScan]) -> None:
    draw = generator("statistics", seed)
    chosen = draw.permutation(len(scans))[: _TILES // _PER_SCAN].tolist()
    tiles = np.concatenate([_some_tiles(scans[nth], spec, draw) for nth in chosen])
    for module in network.modules():
        if isinstance(module, _BatchNorm):
            module.momentum = None  # the plain mean over all that is seen
            module.reset_running_stats()
    network.train()
    with torch.no_grad():
        network(normalised(torch.from_numpy(tiles), spec))
    network.eval()


def _some_tiles(scan: SurveyedScan, spec: EncoderSpec, draw: np.random.Generator) -> np.ndarray:
    index = np.sort(draw.permutation(len(scan.grid))[:_PER_SCAN])
    pixels = np.empty((len(index), spec.tile_px, spec.tile_px, 3), np.uint8)
    with open_slide(scan.entry.path, mpp=scan.entry.mpp, mpp_detail="cohort table") as slide:
        readable = read_tiles_into(slide, scan.grid.coords[index], scan.grid.level0_px, pixels, decoding=spec.decoding)
    return pixels[readable]
