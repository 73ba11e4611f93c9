"""Why no posterior can be drawn for a bag."""

from pellucid.core.errors import PellucidError


class BagNonFinite(PellucidError):
    """A tile embedding holds NaN or infinity."""

    code = "PEL-MODEL-201"
    remedy = "Check the scan and the encoder; the scan is escalated, never scored without the tile."


class LogitNonFinite(PellucidError):
    """A head gave NaN or infinity."""

    code = "PEL-MODEL-202"
    remedy = "Escalate the scan: its embeddings lie outside what the head can add up."


class TooFewPasses(PellucidError):
    """A spread can't be told from fewer than two passes."""

    code = "PEL-MODEL-203"
    remedy = "Ask for at least 2 passes; the calibration in the model bundle states how many it was fitted with."


class BagPrecisionMismatch(PellucidError):
    """Embeddings aren't float16, as the head sees them everywhere else."""

    code = "PEL-MODEL-204"
    remedy = "Round the embeddings to float16, as a bag stores them, before they are scored."
