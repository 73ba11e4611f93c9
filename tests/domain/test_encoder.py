"""An encoder spec is one encoder: any other field makes another."""

from dataclasses import fields, replace

import pytest

from pellucid.core.serial import from_plain, to_plain
from pellucid.domain.encoder import Decoding, EncoderSpec

_SPEC = EncoderSpec(
    id="e",
    architecture="a",
    weights_digest="0" * 64,
    tile_px=224,
    mpp=0.5,
    input_px=224,
    mean=(0.5, 0.5, 0.5),
    std=(0.25, 0.25, 0.25),
    dim=8,
    batch_size=4,
    licence="Apache-2.0",
    scope="tests",
)
_OTHERS = {
    "id": "f",
    "architecture": "b",
    "weights_digest": "1" * 64,
    "tile_px": 256,
    "mpp": 0.25,
    "input_px": 192,
    "mean": (0.5, 0.5, 0.4),
    "std": (0.25, 0.2, 0.25),
    "dim": 9,
    "batch_size": 5,
    "decoding": Decoding.SCALED_DCT,
    "precision": "bfloat16",
    "mpp_tolerance": 0.1,
    "licence": "other",
    "scope": "other",
}


@pytest.mark.parametrize("name", sorted(_OTHERS))
def test_a_change_of_any_field_is_another_encoder(name: str) -> None:
    assert replace(_SPEC, **{name: _OTHERS[name]}).digest != _SPEC.digest


def test_every_field_was_tried() -> None:
    assert {field.name for field in fields(EncoderSpec)} == set(_OTHERS)


def test_a_spec_keeps_its_digest_through_json() -> None:
    again = from_plain(EncoderSpec, to_plain(_SPEC))
    assert again == _SPEC
    assert again.digest == _SPEC.digest


def test_a_whole_number_of_microns_is_the_same_spec_however_written() -> None:
    assert replace(_SPEC, mpp=1).digest == replace(_SPEC, mpp=1.0).digest
