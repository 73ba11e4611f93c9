"""From a bundle to what the engine's processes load."""

from typing import TYPE_CHECKING

from pellucid.engine.config import Models
from pellucid.engine.messages import Factory

if TYPE_CHECKING:
    from pellucid.bundle import Bundle


def models_of(bundle: "Bundle", *, passes: bool = True, devices: int = 1) -> Models:
    """The encoder of a bundle, and its passes unless embeddings are all that is wanted.

    Args:
        bundle: a verified bundle; the processes verify it again, and refuse another one in its place.
        passes: whether the engine ends with a posterior.
        devices: how many accelerators there are; 1 for the CPU.
    """
    arguments = {"folder": bundle.folder.absolute(), "trusted": (bundle.signed_by,), "digest": bundle.digest}
    encoder = Factory(path="pellucid.engine.models:encoder_of_bundle", arguments=arguments)
    sampler = Factory(path="pellucid.engine.models:sampler_of_bundle", arguments=arguments)
    return Models(spec=bundle.spec, devices=(encoder,) * devices, sampler=sampler if passes else None)
