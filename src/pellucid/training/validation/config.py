"""The settings of a cross-validation, readable without torch."""

import itertools
import math
from dataclasses import asdict, dataclass, field, fields

from pellucid.training.errors import TrainingConfigInvalid

PATIENT = "patient"
_MOST_CANDIDATES = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """Values of the head's settings to choose among; a setting without values stays as it is configured."""

    learning_rate: tuple[float, ...] = ()
    weight_decay: tuple[float, ...] = ()
    epochs: tuple[int, ...] = ()
    bags_per_step: tuple[int, ...] = ()
    tiles_per_bag: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        for item in fields(self):
            values = getattr(self, item.name)
            least = 0.0 if item.name == "weight_decay" else math.ulp(0.0)
            if any(not (math.isfinite(value) and value >= least) for value in values):
                raise TrainingConfigInvalid(f"candidates.{item.name} is {list(values)}, which can't be used.")
            if len(set(values)) < len(values):
                raise TrainingConfigInvalid(f"candidates.{item.name} is {list(values)}, which names a value twice.")
        if (size := math.prod(max(1, len(values)) for values in asdict(self).values())) > _MOST_CANDIDATES:
            raise TrainingConfigInvalid(f"The candidates make {size} combinations; {_MOST_CANDIDATES} are the most.")

    def combinations(self) -> list[dict[str, float]]:
        """Every combination of the values, by the settings' names; one without any where there are no values."""
        varied = {name: values for name, values in asdict(self).items() if values}
        return [dict(zip(varied, values, strict=True)) for values in itertools.product(*varied.values())]


@dataclass(frozen=True, slots=True, kw_only=True)
class Validation:
    """How a head's training is cross-validated, and its settings chosen.

    `outer_folds` estimate (0: no cross-validation); within the rest of each, `inner_folds` choose among the
    `candidates` and fit a temperature. All of it is done `seeds` times, with other folds and other heads. `group` names
    what stays together: `patient`, or a stratum of the cohort table such as `site`, with all its patients. In the inner
    folds at most `inner_tiles` tiles of a bag are scored, drawn at random; the outer folds score them all.
    """

    outer_folds: int = 0
    inner_folds: int = 3
    seeds: int = 1
    group: str = PATIENT
    inner_tiles: int = 1024
    candidates: Grid = field(default_factory=Grid)

    def __post_init__(self) -> None:
        for name, least in (("inner_folds", 2), ("seeds", 1), ("inner_tiles", 1)):
            if getattr(self, name) < least:
                raise TrainingConfigInvalid(f"{name} is {getattr(self, name)}; {least} is the least.")
        if self.outer_folds < 0 or self.outer_folds == 1:
            raise TrainingConfigInvalid(f"outer_folds is {self.outer_folds}; it must be 0, for none, or at least 2.")
        if not self.group.strip():
            raise TrainingConfigInvalid(f"group is empty; it must be {PATIENT!r} or a stratum of the table.")
