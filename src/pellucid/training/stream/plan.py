"""How tiles are drawn and read, each setting with its one default."""

import math
from dataclasses import dataclass
from typing import Final

from pellucid.training.stream.errors import StreamPlanInvalid

_SHARES: Final = ("share", "max_unreadable", "max_failed")
_COUNTS: Final = ("epochs", "tiles", "chunk", "max_bytes", "in_a_row", "kills")


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamPlan:
    """What a stream of tiles is made of.

    What decides the tiles: `seed`, `epochs`, `share`, `tiles`, `chunk`, `max_unreadable`. What doesn't: `ahead`,
    `max_bytes`, and how patient it is.

    Attributes:
        seed: of the training.
        epochs: how many there are; nothing is read beyond the last.
        share: of the scans that an epoch sees.
        tiles: drawn from each slide; all of a slide with fewer.
        chunk: tiles that go through the encoder at once; the unit in which tiles are dealt to the ranks.
        ahead: slides that are read in advance, while their bytes fit.
        max_bytes: the most bytes of tiles in memory on one rank.
        max_unreadable: a slide of whose drawn tiles a larger share can't be decoded counts as failed.
        max_failed: when a larger share of an epoch's scans fails, rounded up, the training ends.
        in_a_row: when so many scans fail one after the other in one step, it ends too: the storage is gone.
        patience_s: how long, in seconds, they are tried again and again before it ends.
        stall_s: a reader that makes no step for so long, in seconds, is killed and replaced.
        kills: a slide whose reading ended so many processes counts as failed. From the second on it was alone there.
    """

    seed: int = 0
    epochs: int = 20
    share: float = 0.5
    tiles: int = 2208
    chunk: int = 96
    ahead: int = 2
    max_bytes: int = 4 << 30
    max_unreadable: float = 0.25
    max_failed: float = 0.1
    in_a_row: int = 5
    patience_s: float = 300.0
    stall_s: float = 120.0
    kills: int = 3

    def __post_init__(self) -> None:
        """Check every setting.

        Raises:
            StreamPlanInvalid: one can't be used.
        """
        bad = [name for name in _SHARES if not 0.0 <= getattr(self, name) <= 1.0]
        bad += [name for name in _COUNTS if getattr(self, name) < 1]
        bad += ["share"] if self.share == 0.0 else []
        bad += ["ahead"] if self.ahead < 0 else []
        bad += ["stall_s"] if not (math.isfinite(self.stall_s) and self.stall_s > 0.0) else []
        bad += ["patience_s"] if not (math.isfinite(self.patience_s) and self.patience_s >= 0.0) else []
        for name in bad:
            raise StreamPlanInvalid(f"{name} is {getattr(self, name)}, which can't be used.")
