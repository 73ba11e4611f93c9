from dataclasses import replace

import numpy as np
import torch

from pellucid.core.seeds import generator
from pellucid.encoders import SMALL_SPEC
from pellucid.encoders.transform import normalise
from pellucid.training.joint.inputs import TileInputs, normalised

SPEC = replace(SMALL_SPEC, tile_px=40, input_px=32)
CPU = torch.device("cpu")


def pixels(n):
    return generator("inputs").integers(0, 256, (n, 40, 40, 3), dtype=np.uint8)


def test_network_sees_the_same_bits_as_at_inference():
    found, wanted = normalised(torch.from_numpy(pixels(3)), SPEC), normalise(pixels(3), SPEC)
    assert torch.equal(found, wanted)
    assert found.stride() == wanted.stride()


def test_every_chunk_has_one_shape_and_is_filled_with_its_own_tiles():
    inputs = TileInputs(SPEC, 5, device=CPU, dtype=torch.float64)
    made = inputs(pixels(2), None)
    assert made.shape == (5, 3, 32, 32)
    assert made.dtype == torch.float64
    assert torch.equal(made[[2, 3, 4]], made[[0, 1, 0]])
    assert torch.equal(made[:2].float(), normalise(pixels(2), SPEC))
    assert inputs.stand_in().shape == made.shape
