"""Networks by the name that specs give them, built without drawing a weight.

timm is imported when a network of its is built, never before. A name may end in `@<n>`: the same network with its first
n blocks only, for tests and trials; it is another architecture and so another spec.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from pellucid.encoders.errors import FoundationMissing, SpecUnusable
from pellucid.encoders.small import SmallEncoder

_NAME = re.compile(r"(?P<family>.+?)(?:@(?P<blocks>[1-9]\d?))?")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Family:
    """How a network is built. `input_px` is the one edge that it takes, 0 any; `blocks` whether it may be cut short."""

    build: Callable[[dict[str, int]], nn.Module]
    input_px: int = 0
    blocks: bool = False


def build_network(architecture: str) -> nn.Module:
    """The network, without weights: on torch's meta device, but for the small encoder, whose weights are drawn.

    Raises:
        SpecUnusable: the architecture is unknown.
        FoundationMissing: timm isn't installed.
    """
    family, depth = _look_up(architecture)
    return family.build(depth)


def input_px_of(architecture: str) -> int:
    """The edge in pixels of the pictures that the network takes; 0 where it takes any.

    Raises:
        SpecUnusable: the architecture is unknown.
    """
    return _look_up(architecture)[0].input_px


def known_architectures() -> tuple[str, ...]:
    """The names that `build_network` takes."""
    return tuple(_FAMILIES)


def _look_up(architecture: str) -> tuple[_Family, dict[str, int]]:
    match = _NAME.fullmatch(architecture)
    family = None if match is None else _FAMILIES.get(match["family"])
    if match is None or family is None or (match["blocks"] and not family.blocks):
        raise SpecUnusable(f"architecture {architecture!r} is unknown (known: {', '.join(_FAMILIES)})")
    return family, {"depth": int(match["blocks"])} if match["blocks"] else {}


class _WithoutMemory(TorchFunctionMode):
    """Within it, new parameters are on the meta device.

    Only what parameters and buffers are made of: timm before 1.0.21 also asks for small tables whose numbers it needs,
    which `torch.device("meta")` would take from it.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        given = dict(kwargs or {})
        if func in (torch.empty, torch.zeros, torch.ones, torch.randn) and given.get("device") is None:
            given["device"] = "meta"
        return func(*args, **given)


def _timm(model: str, settings: Mapping[str, Any]) -> nn.Module:
    try:
        import timm
    except ImportError as error:
        raise FoundationMissing("timm, which builds foundation encoders, is not installed.") from error
    with _WithoutMemory():
        network: nn.Module = timm.create_model(model, pretrained=False, num_classes=0, **settings)
    return network


def _swiglu() -> dict[str, Any]:
    from timm.layers.mlp import SwiGLUPacked

    return {"mlp_layer": SwiGLUPacked, "act_layer": nn.SiLU}


def _gigapath(depth: dict[str, int]) -> nn.Module:
    # timm's name says 14; the published weights have patches of 16
    settings = {"patch_size": 16, "img_size": 224, "embed_dim": 1536, "num_heads": 24, "depth": 40}
    return _timm("vit_giant_patch14_dinov2", settings | {"init_values": 1e-5, "mlp_ratio": 5.33334} | depth)


def _vit_l16(depth: dict[str, int]) -> nn.Module:
    return _timm("vit_large_patch16_224", {"img_size": 224, "patch_size": 16, "init_values": 1e-5} | depth)


def _vit_g14_reg4(depth: dict[str, int]) -> nn.Module:
    settings = {"img_size": 224, "init_values": 1e-5, "global_pool": "token"}
    return _timm("vit_giant_patch14_reg4_dinov2", settings | depth)


def _vit_h14_reg8(depth: dict[str, int]) -> nn.Module:
    _require_timm()
    size = {"img_size": 224, "patch_size": 14, "embed_dim": 1536, "num_heads": 24, "depth": 24, "reg_tokens": 8}
    settings = size | {"init_values": 1e-5, "mlp_ratio": 2.66667 * 2, "no_embed_class": True} | _swiglu()
    return _timm("vit_giant_patch14_224", settings | depth)


def _vit_h14_reg4_mean(depth: dict[str, int]) -> nn.Module:
    _require_timm()
    settings = {"img_size": 224, "init_values": 1e-5, "reg_tokens": 4, "mlp_ratio": 5.3375, "global_pool": ""}
    network = _timm("vit_huge_patch14_224", settings | _swiglu() | depth)
    network.register_forward_hook(_class_and_mean)
    return network


def _class_and_mean(_network: nn.Module, _inputs: Any, tokens: Tensor) -> Tensor:
    """The class token and the mean of the patches' tokens, side by side; register tokens are left out."""
    return torch.cat([tokens[:, 0], tokens[:, 5:].mean(dim=1)], dim=1)


def _efficientnet_lite0(_depth: dict[str, int]) -> nn.Module:
    # the weights were converted from TensorFlow: its padding and its epsilon
    return _timm("tf_efficientnet_lite0", {})


def _require_timm() -> None:
    try:
        import timm  # noqa: F401
    except ImportError as error:
        raise FoundationMissing("timm, which builds foundation encoders, is not installed.") from error


_FAMILIES: Final[Mapping[str, _Family]] = {
    "small-conv": _Family(build=lambda _depth: SmallEncoder()),
    "gigapath-vit-g16": _Family(build=_gigapath, input_px=224, blocks=True),
    "efficientnet-lite0": _Family(build=_efficientnet_lite0),
    "vit-l16": _Family(build=_vit_l16, input_px=224, blocks=True),
    "vit-h14-reg8": _Family(build=_vit_h14_reg8, input_px=224, blocks=True),
    "vit-h14-reg4-mean": _Family(build=_vit_h14_reg4_mean, input_px=224, blocks=True),
    "vit-g14-reg4": _Family(build=_vit_g14_reg4, input_px=224, blocks=True),
}
