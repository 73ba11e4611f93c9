"""A measure passes only if it was measured and keeps its limit."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pellucid.domain.quality import Quality, QualityMeasure, Sense
from pellucid.domain.reasons import Reason


def _measure(value: float | None, sense: Sense = Sense.AT_LEAST, limit: float = 0.5) -> QualityMeasure:
    return QualityMeasure(
        name="focus", label="Tissue in focus", value=value, unit="%", limit=limit, sense=sense, reason=Reason.POOR_FOCUS
    )


@pytest.mark.parametrize("sense", list(Sense))
def test_the_limit_itself_is_kept(sense: Sense) -> None:
    assert _measure(0.5, sense).passed


@given(st.floats(0.001, 1e6))
def test_each_sense_has_one_good_side(step: float) -> None:
    assert _measure(0.5 + step, Sense.AT_LEAST).passed
    assert not _measure(0.5 + step, Sense.AT_MOST).passed
    assert not _measure(0.5 - step, Sense.AT_LEAST).passed
    assert _measure(0.5 - step, Sense.AT_MOST).passed


@pytest.mark.parametrize("sense", list(Sense))
@pytest.mark.parametrize("value", [None, math.nan, math.inf, -math.inf])
def test_what_was_not_measured_never_passes(value: float | None, sense: Sense) -> None:
    assert not _measure(value, sense).passed


def test_only_missed_limits_become_findings() -> None:
    finding, unmeasured = Quality(measures=(_measure(0.9), _measure(0.25), _measure(None))).findings("scan")
    assert (finding.reason, finding.value, finding.limit, finding.scan) == (Reason.POOR_FOCUS, 0.25, 0.5, "scan")
    assert finding.detail == "Tissue in focus: 0.25 % (limit: at least 0.5)"
    assert "not measurable" in unmeasured.detail


def test_a_measure_is_found_by_its_name() -> None:
    quality = Quality(measures=(_measure(0.9),))
    assert quality["focus"].value == 0.9
    with pytest.raises(KeyError, match="pen"):
        quality["pen"]
