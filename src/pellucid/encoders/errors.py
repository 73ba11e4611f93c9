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
