"""What can be wrong with an encoder's spec, weights, input, features or bags."""

from pellucid.core.errors import PellucidError


class SpecUnusable(PellucidError):
    """An encoder spec names an architecture, transform or precision that can't be run."""

    code = "PEL-MODEL-001"
    remedy = "Use a spec that this version of Pellucid knows, or install the version that wrote it."


class WeightsUnfit(PellucidError):
    """Weights don't fit the network: a tensor is missing, extra, misshapen, of the wrong type or not finite."""

    code = "PEL-MODEL-002"
    remedy = "Use the weights that were made for this architecture; a bundle's own weights always fit."


class WeightsAltered(PellucidError):
    """Weights are not those that the spec names by their digest."""

    code = "PEL-MODEL-003"
    remedy = "Restore the weights that belong to this spec; results of other weights must not carry its digest."


class TilesUnfit(PellucidError):
    """Tiles have another shape, type or number than the spec says."""

    code = "PEL-MODEL-004"
    remedy = "Lay the grid with the spec's tile_px and mpp, and encode at most batch_size tiles at once."


class NonFiniteFeatures(PellucidError):
    """An encoder gave NaN or infinite features, or features beyond the range of float16."""

    code = "PEL-MODEL-005"
    remedy = "Check the encoder's weights and precision; the scan is not answered from such features."


class BagUnfit(PellucidError):
    """A bag's arrays have another shape or type than a bag must have."""

    code = "PEL-MODEL-006"
    remedy = "Give features (n, dim) float16, coords (n, 2) int32 with n >= 1, and provenance as text."


class BagUnreadable(PellucidError):
    """A bag file is truncated, altered or no bag at all."""

    code = "PEL-MODEL-007"
    remedy = "Delete the file so that the bag is made again from its scan."


class BagVersionUnknown(PellucidError):
    """A bag file was written in a format that this version doesn't read."""

    code = "PEL-MODEL-008"
    remedy = "Read it with the version of Pellucid that wrote it, or delete it so that it is made again."


class EncoderUnknown(PellucidError):
    """No encoder of this name is registered."""

    code = "PEL-MODEL-009"
    remedy = "Use one of the names that `pellucid encoder list` shows."


class WeightsMissing(PellucidError):
    """An encoder's weights are not where they were said to be, or were not named at all."""

    code = "PEL-MODEL-010"
    remedy = (
        "Give the file with --weights, or the folder that it lies in; `pellucid encoder list` says where it is from."
    )


class WeightsUnreadable(PellucidError):
    """A file of weights is truncated, damaged, or holds something else than named tensors."""

    code = "PEL-MODEL-011"
    remedy = "Fetch the file again and compare its size and SHA-256 with those that its publisher states."


class FoundationMissing(PellucidError):
    """A package that foundation encoders need is not installed."""

    code = "PEL-MODEL-012"
    remedy = "Install it: `pip install 'pellucid[foundation]'`."


class GoldenTileMismatch(PellucidError):
    """An encoder gives another embedding of its publisher's golden tile than the publisher did."""

    code = "PEL-MODEL-013"
    remedy = "Don't use these weights: they, the transform or the precision are not those of the publisher."


class GoldenTileUnreadable(PellucidError):
    """A folder of golden tiles holds no picture with its embedding, or one that can't be read."""

    code = "PEL-MODEL-014"
    remedy = "Give a folder with pictures `<name>.png`, each with its embedding as a tensor `<name>.pt`."


class HubUnreachable(PellucidError):
    """The hub can't be reached, or has no such file at this revision."""

    code = "PEL-MODEL-015"
    remedy = "Fetch the file on a machine that reaches the hub, copy it here, and give it with --weights."


class HubAccessRefused(PellucidError):
    """The hub refuses the file to this account: its publisher gives access on request only."""

    code = "PEL-MODEL-016"
    remedy = "Ask for access on the model's page, log in with `hf auth login`, and run the same command again."


class RevisionUnpinned(PellucidError):
    """A file was asked of the hub without the commit that it belongs to."""

    code = "PEL-MODEL-017"
    remedy = "Name the commit, 40 hexadecimal digits, with --revision: a branch may hold other weights tomorrow."


class DeviceUnusable(PellucidError):
    """The device that was asked for an encoder isn't here, or this installation can't use it."""

    code = "PEL-MODEL-018"
    remedy = "Use --device cpu, or install the torch build and driver for this accelerator (`pellucid doctor`)."
