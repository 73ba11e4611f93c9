"""What can be wrong before encoder and head are trained together."""

from pellucid.core.errors import PellucidError


class JointSettingsInvalid(PellucidError):
    """A setting of the joint step or of its recipe can't be used."""

    code = "PEL-TRAIN-030"
    remedy = "Correct the named setting."


class BlocksUnknown(PellucidError):
    """It isn't known which parts of an encoder follow one another, so none can be frozen or computed anew."""

    code = "PEL-TRAIN-031"
    remedy = "Train the whole encoder without activation checkpointing, or take an encoder that is made of blocks."


class JointUnfit(PellucidError):
    """An encoder, its spec and a head don't fit each other."""

    code = "PEL-TRAIN-032"
    remedy = "Build the head for the encoder's width, and give the encoder with its own spec."


class TilesMisplaced(PellucidError):
    """The tiles that a rank was given aren't those of its share of the bag."""

    code = "PEL-TRAIN-033"
    remedy = "Cut the bag into chunks of the same size as the joint step, with the same number of ranks."
