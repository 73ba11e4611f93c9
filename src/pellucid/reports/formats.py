"""Numbers as people read them."""

import math

DASH = "–"
"""An en dash, as between the ends of an interval."""
ABSENT = "—"
"""What stands where there is no value."""


def probability(value: float) -> str:
    """Two decimals, and never a certainty that the number doesn't have: 0.998 reads `> 0.99`."""
    if value < 0.01:
        return "< 0.01"
    if value > 0.99:
        return "> 0.99"
    return f"{value:.2f}"


def fine(value: float) -> str:
    """Three decimals, for a probability that is held against a threshold; never a certainty either."""
    if value < 0.001:
        return "< 0.001"
    if value > 0.999:
        return "> 0.999"
    return f"{value:.3f}"


def interval(low: float, high: float) -> str:
    """Both ends of an interval of probabilities, such as `0.62–0.93`."""
    left, right = probability(low), probability(high)
    return f"{left} to {right}" if " " in left + right else f"{left}{DASH}{right}"


def percent(share: float) -> str:
    """A share as a percentage with at most one decimal."""
    return f"{100 * share:.1f}".removesuffix(".0") + "%"


def number(value: float | None, digits: int = 3) -> str:
    """`digits` significant digits without an exponent where people would not write one."""
    if value is None or not math.isfinite(value):
        return ABSENT
    if value == 0:
        return "0"
    size = math.floor(math.log10(abs(value)))
    if size < -4 or size >= 9:
        return f"{value:.{digits - 1}e}"
    decimals = max(0, digits - 1 - size)
    text = f"{value:,.{decimals}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def count(value: int) -> str:
    """An integer with thousands apart."""
    return f"{value:,}"


def counted(value: int, singular: str, plural: str | None = None) -> str:
    """A count with its noun: `1 scan`, `12 scans`."""
    return f"{count(value)} {singular if value == 1 else plural or singular + 's'}"


def seconds(value: float) -> str:
    """A duration: milliseconds, seconds, minutes or hours, whichever a person would say."""
    if value < 0.9995:
        return f"{1000 * value:.0f} ms"
    if value < 99.95:
        return f"{value:.1f} s"
    minutes = round(value / 60)
    if minutes < 100:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def moment(stamp: str) -> str:
    """A UTC time stamp of `core.clock` to the second, such as `2026-11-23 10:17:00 UTC`; any other text as it is."""
    if len(stamp) < 20 or stamp[10] != "T" or not stamp.endswith("Z"):
        return stamp
    return f"{stamp[:10]} {stamp[11:19]} UTC"


def short_digest(digest: str) -> str:
    """The first twelve digits of a digest, enough to tell two apart by eye."""
    return digest[:12]
