"""What an encoder is made of, in the order that data meets it: to freeze its beginning, or compute parts anew."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import nn
from torch.utils.checkpoint import checkpoint

from pellucid.encoders.small import SmallEncoder
from pellucid.training.joint.errors import BlocksUnknown

_SEQUENCES = ("blocks", "stages", "layers")


@dataclass(frozen=True, slots=True, eq=False)
class Blocks:
    """An encoder's blocks and what follows them, such as the final norm, each by its name in the encoder."""

    blocks: Mapping[str, nn.Module]
    after: Mapping[str, nn.Module]

    def last(self, count: int) -> dict[str, nn.Module]:
        """The last `count` blocks and what follows them."""
        return dict(list(self.blocks.items())[-count:]) | dict(self.after)


def blocks_of(network: nn.Module) -> Blocks:
    """The blocks of an encoder.

    Known are timm's networks with `blocks` (vision transformers, EfficientNets), `stages` or `layers`, whose children
    are declared in the order that they run in; the small encoder; a plain `nn.Sequential`; and a module that wraps one
    of these as its only child with weights.

    Raises:
        BlocksUnknown: it is none of these.
    """
    return _blocks(network, "")


def _blocks(network: nn.Module, prefix: str) -> Blocks:
    children = {prefix + name: child for name, child in network.named_children()}
    weighty = {name: child for name, child in children.items() if any(True for _ in child.parameters())}
    if isinstance(network, SmallEncoder | nn.Sequential):
        return Blocks(weighty, {})
    for name in (prefix + sequence for sequence in _SEQUENCES):
        if isinstance(children.get(name), nn.Sequential | nn.ModuleList):
            names = list(children)
            after = {later: children[later] for later in names[names.index(name) + 1 :] if later in weighty}
            inner = {f"{name}.{number}": block for number, block in children[name].named_children()}
            return Blocks(inner, after)
    own = any(True for _ in network.parameters(recurse=False))
    if len(weighty) == 1 and not own:
        name, child = next(iter(weighty.items()))
        return _blocks(child, f"{name}.")
    raise BlocksUnknown(
        f"The children of {type(network).__name__} are {', '.join(children) or 'none'}; "
        f"none of {', '.join(_SEQUENCES)} is among them."
    )


def trainable_parameters(network: nn.Module, last_blocks: int | None) -> dict[str, nn.Parameter]:
    """The parameters of an encoder that train, by name, in the network's own order.

    Args:
        network: the encoder.
        last_blocks: how many of its last blocks train, with what follows them; None for all of it. What is directly a
            parameter of the network, such as a class token, belongs to its beginning.

    Raises:
        BlocksUnknown: `last_blocks` is given for a network whose blocks aren't known.
    """
    named = dict(network.named_parameters())
    if last_blocks is None:
        return named
    beginnings = tuple(f"{name}." for name in blocks_of(network).last(last_blocks))
    return {name: parameter for name, parameter in named.items() if name.startswith(beginnings)}


@contextmanager
def computed_anew(modules: Iterable[nn.Module]) -> Iterator[None]:
    """For the length of the context, keep of what these modules compute only their inputs, for a backward pass.

    timm's own switch is passed by: whether it re-enters autograd hangs on an environment variable, and with
    re-entrance DistributedDataParallel and a frozen beginning don't work. The state of torch's generators is kept and
    set for the second computation, so dropout is the same in both.
    """
    replaced: list[tuple[dict[str, Any], Any]] = []
    try:
        for module in modules:
            held = vars(module)
            replaced.append((held, held.get("forward")))
            held["forward"] = partial(checkpoint, module.forward, use_reentrant=False, preserve_rng_state=True)
        yield
    finally:
        for held, before in replaced:
            if before is None:
                del held["forward"]
            else:
                held["forward"] = before
