"""The models of the engine's processes: made by a function that is named, in the process that uses it."""

from collections.abc import Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pellucid.engine.errors import BundleChanged, ModelUnavailable
from pellucid.engine.messages import Factory

if TYPE_CHECKING:
    from pellucid.bundle import Bundle, TrustedKey
    from pellucid.domain.encoder import EncoderSpec
    from pellucid.encoders import TileEncoder
    from pellucid.uncertainty import Sampler


def make(factory: Factory | None) -> Any:
    """What a factory makes.

    Raises:
        ModelUnavailable: there is no such function.
        PellucidError: of the function.
    """
    if factory is None:
        raise ModelUnavailable("The process was given no model to load.")
    module, _, name = factory.path.partition(":")
    try:
        function = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ModelUnavailable(f"{factory.path} can't be imported: {error}.") from error
    return function(**factory.arguments)


def encoder_of_bundle(
    folder: Path, trusted: Sequence["TrustedKey"], digest: str, device: str = "auto"
) -> "TileEncoder":
    """The tile encoder of a bundle, after it reproduced the bundle's golden checks on this machine.

    Args:
        folder: the bundle.
        trusted: the keys that the site trusts.
        digest: the digest that the bundle must have.
        device: where the encoder runs: `cpu`, `cuda:<n>`, or `auto` for the first accelerator, if any.

    Raises:
        BundleChanged: it has another one.
        DeviceUnusable: the device isn't here.
        GoldenMismatch: the model gives other numbers here.
        PellucidError: of the bundle, where it can't be verified.
    """
    from pellucid.bundle.golden import compare_golden

    bundle = _bundle(folder, trusted, digest)
    encoder = bundle.load_encoder(device=device)
    compare_golden(bundle.golden(), encoder, bundle.load_head(), model=bundle.model_digest)
    return encoder


def encoder_of_weights(spec: "EncoderSpec", weights: Path, device: str = "auto") -> "TileEncoder":
    """A registered encoder with its published weights, without any bundle.

    Args:
        spec: its spec with the digest of the weights, which those in the file must have.
        weights: the file.
        device: where the encoder runs: `cpu`, `cuda:<n>`, or `auto` for the first accelerator, if any.

    Raises:
        PellucidError: of the encoders, where the weights can't be read, or aren't those of the spec.
    """
    from pellucid.encoders import encoder_entry, load_encoder
    from pellucid.encoders.weight_files import read_entry_weights

    return load_encoder(spec, read_entry_weights(encoder_entry(spec.id), weights), device=device)


def sampler_of_bundle(folder: Path, trusted: Sequence["TrustedKey"], digest: str) -> "Sampler":
    """A bundle's Monte-Carlo passes, as many as its calibration was made with, and its other heads, where it has any.

    The golden checks are left to the device process, which runs the head for them too.

    Raises:
        BundleChanged: the bundle has another digest than `digest`.
        PellucidError: of the bundle, where it can't be verified.
    """
    bundle = _bundle(folder, trusted, digest)

    from pellucid.uncertainty import sample  # torch: after all that can be refused without it

    return partial(
        sample,
        bundle.load_head(),
        model=bundle.model_digest,
        n_passes=bundle.calibration.n_passes,
        ensemble=bundle.load_ensemble(),
        tumour=bundle.tumour,
    )


def _bundle(folder: Path, trusted: Sequence["TrustedKey"], digest: str) -> "Bundle":
    from pellucid.bundle import load_bundle

    bundle = load_bundle(folder, trusted)
    if bundle.digest != digest:
        raise BundleChanged(f"The bundle {bundle.name} has the digest {bundle.digest[:16]}, not {digest[:16]}.")
    return bundle
