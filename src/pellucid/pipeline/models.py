"""From a bundle, or a published encoder alone, to what the engine's processes load."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias, Union

from pellucid.core.digests import digest_json
from pellucid.domain.encoder import EncoderSpec
from pellucid.domain.reference import ReferenceProfile
from pellucid.domain.tumour import TumourHead
from pellucid.engine.accelerators import count_accelerators
from pellucid.engine.config import Models
from pellucid.engine.messages import Factory

if TYPE_CHECKING:
    from pellucid.bundle import Bundle
    from pellucid.bundle.parts import Calibration

AUTO: Final = "auto"
CPU: Final = "cpu"
CUDA: Final = "cuda"


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderAlone:
    """A published encoder in the place of a bundle, where a run ends with embeddings: it answers nothing.

    `spec` has the digest of the weights that are in the file `weights`, of `weights_bytes` bytes.
    """

    spec: EncoderSpec
    weights: Path
    weights_bytes: int

    @property
    def name(self) -> str:
        """The encoder's name."""
        return self.spec.id

    @property
    def digest(self) -> str:
        """What its embeddings are keyed by, where those of a bundle are keyed by the bundle's digest."""
        return digest_json(["encoder alone", self.spec.digest])

    @property
    def model_digest(self) -> str:
        """The same: there is no model beside the encoder."""
        return self.digest

    @property
    def synthetic(self) -> bool:
        """Nothing is known of slides that it was made from; no scan is decided under it."""
        return False

    @property
    def tumour(self) -> TumourHead | None:
        """There is none."""
        return None

    @property
    def calibration(self) -> "Calibration":
        """That of no specimen."""
        from pellucid.bundle.parts import Calibration

        return Calibration(temperature=1.0, n_specimens=0, n_positive=0, nll_before=0.0, nll_after=0.0)

    @property
    def reference(self) -> ReferenceProfile:
        """That of no slide."""
        return ReferenceProfile(
            mean=(), components=(), residual_scale=1.0, distance_limit=0.0, sd_limit=0.0, features={}, n_specimens=0
        )


Model: TypeAlias = Union["Bundle", EncoderAlone]


def models_of(model: Model, *, passes: bool = True, devices: int = 1, device: str = AUTO) -> Models:
    """The encoder, and a bundle's passes unless embeddings are all that is wanted.

    Args:
        model: a verified bundle, which the processes verify again, and refuse another one in its place; or an encoder
            alone, of which embeddings are all that there is.
        passes: whether the engine ends with a posterior.
        devices: how many accelerators to use, of those that are here; the CPU is one device.
        device: `cpu`, `cuda`, or `auto`: accelerators where there are any.
    """
    factories = tuple(_encoder(model, name) for name in device_names(device, devices))
    if isinstance(model, EncoderAlone):
        return Models(spec=model.spec, devices=factories, sampler=None)
    sampler = Factory(path="pellucid.engine.models:sampler_of_bundle", arguments=_of_bundle(model))
    return Models(spec=model.spec, devices=factories, sampler=sampler if passes else None)


def device_names(device: str, devices: int) -> tuple[str, ...]:
    """A name for each device process; where `cuda` is asked for and isn't here, the process itself says so."""
    present = 0 if device == CPU else count_accelerators()
    if device == CUDA:
        present = max(1, present)
    return tuple(f"{CUDA}:{number}" for number in range(min(devices, present))) or (CPU,) * devices


def _encoder(model: Model, device: str) -> Factory:
    if isinstance(model, EncoderAlone):
        arguments = {"spec": model.spec, "weights": model.weights.absolute(), "device": device}
        return Factory(path="pellucid.engine.models:encoder_of_weights", arguments=arguments)
    return Factory(path="pellucid.engine.models:encoder_of_bundle", arguments=_of_bundle(model) | {"device": device})


def _of_bundle(bundle: "Bundle") -> dict[str, object]:
    return {"folder": bundle.folder.absolute(), "trusted": (bundle.signed_by,), "digest": bundle.digest}
