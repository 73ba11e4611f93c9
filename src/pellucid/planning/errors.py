"""What a plan can't be made from."""

from pellucid.core.errors import PellucidError


class NothingMeasured(PellucidError):
    """A run has no answered scan that a plan could take figures from."""

    code = "PEL-PLANNING-001"
    remedy = "Name the output folder of a run that answered scans, or give the figures as options."
