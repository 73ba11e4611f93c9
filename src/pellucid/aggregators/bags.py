"""What counts as a bag."""

from pellucid.aggregators.errors import BagEmpty, BagShapeMismatch


def check_bag_shape(shape: tuple[int, ...], input_dim: int) -> None:
    """Refuse what is no bag for a head of this input width.

    Raises:
        BagEmpty: no tile.
        BagShapeMismatch: not `(n_tiles, input_dim)`.
    """
    if len(shape) != 2 or shape[1] != input_dim:
        raise BagShapeMismatch(f"A bag of shape {shape} was given to a head for (n_tiles, {input_dim}).")
    if shape[0] == 0:
        raise BagEmpty("The bag has no tile.")
