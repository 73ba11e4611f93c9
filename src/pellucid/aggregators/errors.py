"""What can be wrong with an aggregator's configuration, weights or input."""

from pellucid.core.errors import PellucidError


class HeadConfigInvalid(PellucidError):
    """A width or dropout rate of the head can't be used."""

    code = "PEL-MODEL-101"
    remedy = "Give widths of at least 1 and dropout rates from 0 up to, but not including, 1."


class HeadWeightsMismatch(PellucidError):
    """The weights don't belong to a head of this configuration."""

    code = "PEL-MODEL-102"
    remedy = "Load the weights with the configuration they were trained with; both are in the model bundle."


class HeadWeightsNonFinite(PellucidError):
    """A weight of the head is NaN or infinite."""

    code = "PEL-MODEL-103"
    remedy = "Restore the weights from their source; if they were trained so, train again with a lower learning rate."


class BagEmpty(PellucidError):
    """A bag has no tile, so there is nothing to attend to."""

    code = "PEL-MODEL-104"
    remedy = "Escalate a scan without tissue tiles instead of scoring it."


class BagShapeMismatch(PellucidError):
    """A bag isn't a matrix of as many columns as the head expects."""

    code = "PEL-MODEL-105"
    remedy = "Use the encoder that the head was trained on; the model bundle names it."


class LongNetConfigInvalid(PellucidError):
    """A width, count or segment of a LongNet slide encoder can't be used."""

    code = "PEL-MODEL-106"
    remedy = "Use the published configuration, `GIGAPATH_SLIDE`, or correct the named value."


class SlideWeightsUnreadable(PellucidError):
    """A file of slide encoder weights is missing, truncated, or no file of weights."""

    code = "PEL-MODEL-107"
    remedy = "Fetch slide_encoder.pth again from its source; it holds one entry, `model`, with tensors only."


class SlideWeightsMismatch(PellucidError):
    """Weights don't belong to a slide encoder of this configuration; the first differing key is named."""

    code = "PEL-MODEL-108"
    remedy = "Use the published weights of gigapath_slide_enc12l768d, or the configuration they were trained with."


class SlideWeightsAltered(PellucidError):
    """A file of slide encoder weights isn't the one that its pinned digest names."""

    code = "PEL-MODEL-109"
    remedy = "Fetch the file again at the pinned revision; if it was meant to change, pin its new digest."


class SlideWeightsUnavailable(PellucidError):
    """Slide encoder weights can't be fetched from the hub."""

    code = "PEL-MODEL-110"
    remedy = "Fetch slide_encoder.pth on a machine with a network and access to the gated files; then give its path."


class HubRevisionUnpinned(PellucidError):
    """A revision of the hub isn't a full commit, so what it names can change."""

    code = "PEL-MODEL-111"
    remedy = "Give the commit in full, 40 hexadecimal digits, not a branch or a tag."


class TileCoordinatesUnfit(PellucidError):
    """Coordinates of tiles aren't positions in pixels at the slide encoder's scale."""

    code = "PEL-MODEL-112"
    remedy = "Give corners in pixels at 0.5 um/px, at least float32: scale level-0 corners with `rescaled_coords`."
