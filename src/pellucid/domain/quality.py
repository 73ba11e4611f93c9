"""Quality of a scan: numbers, each with its limit."""

import math
from dataclasses import dataclass
from enum import StrEnum

from pellucid.domain.reasons import Finding, Reason


class Sense(StrEnum):
    """On which side of its limit a measure is good."""

    AT_LEAST = "at_least"
    AT_MOST = "at_most"


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityMeasure:
    """One number about a scan and the limit it must keep.

    `value` is None where it could not be measured, which never passes. `label` is what a page shows.
    """

    name: str
    label: str
    value: float | None
    unit: str
    limit: float
    sense: Sense
    reason: Reason

    @property
    def passed(self) -> bool:
        """Whether the measure keeps its limit."""
        if self.value is None or not math.isfinite(self.value):
            return False
        return self.value >= self.limit if self.sense is Sense.AT_LEAST else self.value <= self.limit


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """All quality measures of one scan."""

    measures: tuple[QualityMeasure, ...]

    def __getitem__(self, name: str) -> QualityMeasure:
        for measure in self.measures:
            if measure.name == name:
                return measure
        raise KeyError(name)

    def findings(self, scan: str) -> tuple[Finding, ...]:
        """A finding for each measure that misses its limit."""
        return tuple(
            Finding(
                reason=measure.reason,
                detail=f"{measure.label}: {_number(measure.value)} {measure.unit}".rstrip()
                + f" (limit: {'at least' if measure.sense is Sense.AT_LEAST else 'at most'} {_number(measure.limit)})",
                value=measure.value if _measurable(measure.value) else None,
                limit=measure.limit,
                scan=scan,
            )
            for measure in self.measures
            if not measure.passed
        )


def _measurable(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _number(value: float | None) -> str:
    return f"{value:.3g}" if _measurable(value) else "not measurable"
