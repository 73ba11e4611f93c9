"""What a joint step tells."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class JointOutcome:
    """One step's figures; the same on every rank but for the seconds.

    Attributes:
        loss: the slide's weight times its cross-entropy.
        logit: of the positive class minus the negative, under this step's dropout.
        grad_norm: Euclidean norm of the gradient of encoder and head, before any clipping.
        skipped: a float16 gradient overflowed: there are no gradients, and the optimiser's step changes nothing.
        n_tiles: tiles of the bag.
        feature_bytes: what the features of the whole bag take, on the first rank; their gradient takes as much again.
        encode_s: the first pass through the encoder.
        head_s: head forward and backward; on other ranks than the first, waiting for it.
        backward_s: the second pass, with the summing of gradients over the ranks, which overlaps its last chunk.
        exchange_s: gathering features, handing out their gradients and the head's.
    """

    loss: float
    logit: float
    grad_norm: float
    skipped: bool
    n_tiles: int
    feature_bytes: int
    encode_s: float
    head_s: float
    backward_s: float
    exchange_s: float
