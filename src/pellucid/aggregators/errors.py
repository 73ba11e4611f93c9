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
