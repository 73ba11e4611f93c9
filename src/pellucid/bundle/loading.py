"""Loading a bundle: nothing of it is used before all of it is verified."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pellucid.bundle.contents import list_files, read_file, read_verified, verify_files
from pellucid.bundle.ensemble import ensemble_from_bytes
from pellucid.bundle.errors import (
    BundleAltered,
    BundleMissing,
    BundleTooNew,
    BundleUnsigned,
    ModelDigestMismatch,
)
from pellucid.bundle.golden import compare_golden, golden_from_bytes
from pellucid.bundle.keys import TrustedKey
from pellucid.bundle.manifest import (
    CALIBRATION,
    ENCODER,
    ENSEMBLE,
    GOLDEN,
    HEAD,
    MANIFEST,
    MAX_MANIFEST_BYTES,
    MODEL_CARD,
    REFERENCE,
    SIGNATURE,
    TUMOUR,
    TUNING,
    Manifest,
    parse_manifest,
)
from pellucid.bundle.parts import Calibration, GoldenChecks
from pellucid.bundle.reading import checked, read_plain, refusing
from pellucid.bundle.signature import MAX_SIGNATURE_BYTES, check_signature
from pellucid.bundle.tuning import TuningRecord, check_tumour, check_tuning
from pellucid.core.digests import digest_bytes
from pellucid.domain.encoder import EncoderSpec
from pellucid.domain.reference import ReferenceProfile
from pellucid.domain.tumour import TumourHead
from pellucid.domain.tuning import PatientDigests, TuningSpecimen

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from pellucid.aggregators import GatedAttention, GatedAttentionConfig
    from pellucid.encoders import TileEncoder


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Bundle:
    """A verified model bundle.

    `digest` covers every file; `signed_by` is the trusted key that signed it. `ensemble_size` counts the heads that
    `load_ensemble` gives; `tumour` is the tile-level tumour head; `patients` are digests of those whose slides the
    model was made with, `tuning` is what it said of the tuning specimens. A bundle of format 1 has none of these.
    Only `load_encoder`, `load_head`, `load_ensemble` and `check_golden` need torch.
    """

    folder: Path
    digest: str
    manifest: Manifest
    signed_by: TrustedKey
    head_config: "GatedAttentionConfig"
    calibration: Calibration
    reference: ReferenceProfile
    model_card: str
    ensemble_size: int = 0
    tumour: TumourHead | None = None
    patients: PatientDigests | None = None
    tuning: tuple[TuningSpecimen, ...] = ()

    @property
    def name(self) -> str:
        """The bundle's name, for people."""
        return self.manifest.name

    @property
    def model_digest(self) -> str:
        """What keys the dropout masks: spec, weights, head and mask scheme."""
        return self.manifest.model_digest

    @property
    def synthetic(self) -> bool:
        """Whether the model was made from synthetic slides; no real scan is decided under such a model."""
        return self.manifest.synthetic

    @property
    def spec(self) -> EncoderSpec:
        """The encoder's spec."""
        return self.manifest.encoder

    @property
    def weights_bytes(self) -> int:
        """Bytes of the encoder's weights."""
        return self.manifest.files[ENCODER].size

    def load_encoder(self, *, device: str = "cpu") -> "TileEncoder":
        """The tile encoder with its weights, checked once more against the spec's digest.

        The weights are mapped from the file, not read into memory of their own, as far as they stay on the CPU.

        Args:
            device: where it runs: `cpu`, `cuda:<n>`, or `auto` for the first accelerator, if any.

        Raises:
            BundleAltered: the file was changed since the bundle was loaded.
            PellucidError: of the encoders, where the weights aren't those of the spec.
        """
        from pellucid.encoders import load_encoder

        return load_encoder(self.spec, _load_state(self.folder, ENCODER), device=device)

    def load_head(self) -> "GatedAttention":
        """The attention head with its weights, checked once more against the manifest's digest.

        Raises:
            BundleAltered: the file was changed since the bundle was loaded.
            ModelDigestMismatch: the weights are not those that the model digest covers.
        """
        from pellucid.aggregators import load_head
        from pellucid.encoders import state_digest

        state = _load_state(self.folder, HEAD)
        digest = state_digest(state)
        if digest != self.manifest.head_digest:
            raise ModelDigestMismatch(f"{HEAD} has the state digest {digest}, not {self.manifest.head_digest}.")
        return load_head(self.head_config, state)

    def load_ensemble(self) -> "tuple[GatedAttention, ...]":
        """The ensemble's heads besides the main one, in their order; empty where the bundle has none.

        Raises:
            BundleAltered: the file was changed since the bundle was loaded.
            HeadWeightsMismatch: the weights are not those of heads with this bundle's configuration.
            HeadWeightsNonFinite: a weight is NaN or infinite.
        """
        if ENSEMBLE not in self.manifest.files:
            return ()
        import torch

        from pellucid.aggregators import load_head

        states = _read_ensemble(self.folder, self.manifest)
        return tuple(
            load_head(self.head_config, {name: torch.tensor(array) for name, array in state.items()})
            for state in states
        )

    def golden(self) -> GoldenChecks:
        """The golden inputs and outputs.

        Raises:
            BundleAltered: the file was changed since the bundle was loaded.
            ManifestInvalid: the file holds other arrays than it should.
        """
        data = read_verified(self.folder, GOLDEN, self.manifest.files[GOLDEN])
        with refusing(GOLDEN):
            return golden_from_bytes(data)

    def check_golden(self) -> None:
        """Reproduce the golden tile embeddings and bag logits on this machine.

        Raises:
            GoldenMismatch: a number differs by more than `golden.TOLERANCE`.
        """
        compare_golden(self.golden(), self.load_encoder(), self.load_head(), model=self.model_digest)


def load_bundle(folder: Path, trusted: Sequence[TrustedKey]) -> Bundle:
    """Verify the bundle in `folder` and read all of it but the weights; doesn't import torch.

    In this order: the folder is there; the manifest is one; every file is there, none is added, all have the size and
    then the digest that the manifest says; a trusted key signed the manifest; the model digest is that of spec, head
    and weights.

    Args:
        folder: the bundle.
        trusted: the keys that the site's settings list (see `load_trusted_keys`); a key in the folder is never used.

    Raises:
        BundleMissing: no folder, or no manifest in it.
        BundleUnreadable: the operating system refuses a file.
        ManifestInvalid: the manifest, or a file it vouches for, doesn't follow the format.
        BundleTooNew: made by a later version of Pellucid.
        BundleAltered: names the first file that is missing, added or other than signed.
        BundleUnsigned: no signature.
        BundleUntrusted: signed by a key not in `trusted`.
        SignatureInvalid: the signature isn't that of this manifest.
        ModelDigestMismatch: the model digest isn't that of its parts.
    """
    files = list_files(folder)
    if MANIFEST not in files:
        raise BundleMissing(f"{folder} holds no {MANIFEST}.")
    data = read_file(folder / MANIFEST, limit=MAX_MANIFEST_BYTES)
    manifest = parse_manifest(data)
    verify_files(folder, files, manifest.files)
    signed_by = _check_signed(folder, files, data, trusted)
    head_config = _head_config(manifest)
    _check_model_digest(manifest, head_config)
    tuning = _read_tuning(folder, manifest)
    return Bundle(
        folder=folder.absolute(),
        digest=digest_bytes(data),
        manifest=manifest,
        signed_by=signed_by,
        head_config=head_config,
        calibration=read_plain(folder, manifest, CALIBRATION, Calibration),
        reference=read_plain(folder, manifest, REFERENCE, ReferenceProfile),
        model_card=read_verified(folder, MODEL_CARD, manifest.files[MODEL_CARD]).decode(errors="replace"),
        ensemble_size=len(_read_ensemble(folder, manifest)),
        tumour=_read_tumour(folder, manifest),
        patients=tuning.patients,
        tuning=tuning.specimens,
    )


def _check_signed(folder: Path, files: dict[str, int], manifest: bytes, trusted: Sequence[TrustedKey]) -> TrustedKey:
    if SIGNATURE not in files:
        raise BundleUnsigned(f"The bundle {folder} holds no {SIGNATURE}.")
    signature = read_file(folder / SIGNATURE, limit=MAX_SIGNATURE_BYTES)
    return check_signature(manifest, signature, trusted)


def _head_config(manifest: Manifest) -> "GatedAttentionConfig":
    from pellucid.aggregators import GatedAttentionConfig

    return checked(MANIFEST, GatedAttentionConfig, manifest.head)


def _check_model_digest(manifest: Manifest, head_config: "GatedAttentionConfig") -> None:
    from pellucid.uncertainty import MASK_SCHEME, model_digest

    if manifest.mask_scheme != MASK_SCHEME:
        raise BundleTooNew(
            f"The bundle's dropout masks follow the scheme {manifest.mask_scheme}; "
            f"this version of Pellucid draws {MASK_SCHEME}."
        )
    digest = model_digest(manifest.encoder, head_config, manifest.head_digest)
    if digest != manifest.model_digest:
        raise ModelDigestMismatch(
            f"Spec, head and weights have the model digest {digest}; the manifest says {manifest.model_digest}."
        )


def _read_tuning(folder: Path, manifest: Manifest) -> TuningRecord:
    if TUNING not in manifest.files:
        return TuningRecord()
    record = read_plain(folder, manifest, TUNING, TuningRecord)
    with refusing(TUNING):
        check_tuning(record)
    return record


def _read_tumour(folder: Path, manifest: Manifest) -> TumourHead | None:
    if TUMOUR not in manifest.files:
        return None
    head = read_plain(folder, manifest, TUMOUR, TumourHead)
    with refusing(TUMOUR):
        check_tumour(head, manifest.encoder.dim)
    return head


def _read_ensemble(folder: Path, manifest: Manifest) -> "tuple[dict[str, NDArray[Any]], ...]":
    if ENSEMBLE not in manifest.files:
        return ()
    data = read_verified(folder, ENSEMBLE, manifest.files[ENSEMBLE])
    with refusing(ENSEMBLE):
        return ensemble_from_bytes(data)


def _load_state(folder: Path, name: str) -> "dict[str, Tensor]":
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return dict(load_file(folder / name))
    except (OSError, SafetensorError) as error:
        raise BundleAltered(f"{name} of the bundle {folder} was changed since it was verified.", file=name) from error
