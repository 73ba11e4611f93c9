"""The configuration of a gated attention head, readable without torch."""

from dataclasses import dataclass, fields

from pellucid.aggregators.errors import HeadConfigInvalid


@dataclass(frozen=True, slots=True, kw_only=True)
class GatedAttentionConfig:
    """Widths and dropout rates of a gated attention head.

    Attributes:
        input_dim: width of a tile embedding.
        trunk_dim: width of both trunk layers and of the slide embedding.
        gate_dim: width of each of the two gate branches.
        trunk_dropout: rate after each trunk layer.
        gate_dropout: rate after each gate branch.
        head_dropout: rate on the pooled slide embedding.

    Raises:
        HeadConfigInvalid: a width below 1 or a rate outside [0, 1).
    """

    input_dim: int
    trunk_dim: int = 512
    gate_dim: int = 384
    trunk_dropout: float = 0.25
    gate_dropout: float = 0.25
    head_dropout: float = 0.25

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name.endswith("_dim") and value < 1:
                raise HeadConfigInvalid(f"{field.name} is {value}, which is no width.")
            if field.name.endswith("_dropout") and not 0 <= value < 1:
                raise HeadConfigInvalid(f"{field.name} is {value}, which is no dropout rate.")

    @property
    def sites(self) -> dict[str, tuple[int, float]]:
        """Width and rate of each place where channels are dropped, in the order that data meets them."""
        return {
            "trunk1": (self.trunk_dim, self.trunk_dropout),
            "trunk2": (self.trunk_dim, self.trunk_dropout),
            "gate_tanh": (self.gate_dim, self.gate_dropout),
            "gate_sigmoid": (self.gate_dim, self.gate_dropout),
            "head": (self.trunk_dim, self.head_dropout),
        }
