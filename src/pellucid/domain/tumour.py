"""The tile-level tumour head of a model bundle: one linear layer on embeddings."""

from dataclasses import dataclass

from pellucid.core.digests import digest_json
from pellucid.core.serial import to_plain


@dataclass(frozen=True, slots=True, kw_only=True)
class TumourHead:
    """Tells tumour tiles from others: probability = logistic(weights . embedding + bias).

    Attributes:
        weights: one a feature, for float16-rounded embeddings.
        bias: in logits.
        threshold: a tile is tumour where its probability is at least this.
        limit: the least share of tumour tiles of a scan that may be answered without a person; from the tuning split.
        n_tiles: how many tiles it was fitted on.
        auroc: on the tuning split's tiles, None where they hold one class only.
    """

    weights: tuple[float, ...]
    bias: float
    threshold: float
    limit: float
    n_tiles: int
    auroc: float | None

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical JSON of every field."""
        return digest_json(to_plain(self))
