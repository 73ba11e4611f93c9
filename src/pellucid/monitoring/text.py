"""The monitoring report for a terminal."""

import io
import itertools
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from pellucid.monitoring.autonomy import AnswerRates, Autonomy
from pellucid.monitoring.confidence import Confidence
from pellucid.monitoring.drift import Drift, DriftState, EvidencePoint
from pellucid.monitoring.escalation import Escalation
from pellucid.monitoring.rates import Count, Rate, Spread
from pellucid.monitoring.report import MonitoringReport
from pellucid.monitoring.seen import Seen

if TYPE_CHECKING:
    from rich.console import Group, RenderableType
    from rich.table import Table

_BARS = "▁▂▃▄▅▆▇█"
_NONE = "-"
_STYLES = {
    DriftState.ALARM: "bold red",
    DriftState.QUIET: "green",
    DriftState.TOO_FEW: "yellow",
    DriftState.NO_REFERENCE: "yellow",
}


def render(report: MonitoringReport) -> "Group":
    """The report as tables for a rich console."""
    from rich.console import Group
    from rich.padding import Padding
    from rich.text import Text

    head: list[RenderableType] = [Text(_title(report), style="bold")]
    head += [Text(f"  note: {note}", style="yellow") for note in report.notes]
    if not report.seen.n_observations:
        return Group(*head)
    parts = itertools.chain(
        _seen(report.seen),
        _confidence(report.confidence),
        _drift(report.drift),
        _escalation(report.escalation),
        _autonomy(report.autonomy),
    )
    return Group(*head, *(Text(part) if isinstance(part, str) else Padding(part, _above(part)) for part in parts))


def _above(part: "RenderableType") -> tuple[int, int, int, int]:
    """A blank line above a table, none above a line of text."""
    from rich.table import Table

    return (1, 0, 0, 0) if isinstance(part, Table) else (0, 0, 0, 0)


def render_text(report: MonitoringReport, *, width: int = 110) -> str:
    """The report as plain text of at most `width` columns."""
    from rich.console import Console

    console = Console(file=io.StringIO(), width=width, color_system=None, highlight=False)
    with console.capture() as captured:
        console.print(render(report))
    return captured.get()


def sparkline(values: Sequence[float | None], *, low: float | None = None, high: float | None = None) -> str:
    """One block a value, from the lowest to the highest or between the given bounds; a blank where there is none."""
    known = [value for value in values if value is not None]
    if not known:
        return ""
    bottom = min(known) if low is None else low
    span = (max(known) if high is None else high) - bottom
    top = len(_BARS) - 1
    return "".join(
        " "
        if value is None
        else _BARS[min(top, max(0, round((value - bottom) / span * top)))]
        if span > 0
        else _BARS[0]
        for value in values
    )


def _title(report: MonitoringReport) -> str:
    bundle = f" under {report.bundle}{' (SYNTHETIC)' if report.synthetic else ''}" if report.bundle else ""
    model = f", model {report.model[:12]}" if report.model else ""
    return f"Monitoring{bundle}{model}, {report.made_at}"


def _seen(seen: Seen) -> Iterable["RenderableType"]:
    yield _heading("What the model sees")
    span = f"{seen.first_at} to {seen.last_at}"
    yield f"{seen.n_scans} scans of {seen.n_specimens} specimens in {seen.n_observations} readings, {span}"
    yield f"failed: {_rate(seen.failed)}" + (f"  {_counts(seen.failures)}" if seen.failures else "")
    table = _table("", "counts")
    _row(table, "scanner", _counts(seen.scanners))
    _row(table, "um/px", _counts(seen.mpp))
    _row(table, "um/px from", _counts(seen.mpp_sources))
    for name, counts in seen.strata.items():
        _row(table, name, _counts(counts))
    yield table
    yield _spreads("feature", seen.features | ({"tiles": seen.tiles} if seen.tiles else {}))
    if seen.seconds:
        yield _spreads("seconds in", seen.seconds)


def _confidence(confidence: Confidence) -> Iterable["RenderableType"]:
    yield _heading("How confidence is distributed")
    overall = confidence.overall
    if overall is None or overall.probability is None:
        yield "No scan under this model has an answer yet."
        return
    spread = overall.probability
    yield (
        f"probability of {overall.n} scans: median {spread.median:.2f}, quartiles {spread.lower_quartile:.2f} to "
        f"{spread.upper_quartile:.2f};  0 {sparkline(confidence.histogram, low=0)} 1"
    )
    windows = confidence.windows
    yield (
        f"over time, by {confidence.by}:  median probability "
        f"{sparkline([one.probability.median if one.probability else None for one in windows], low=0, high=1)}"
        f"  mean sd {sparkline([one.mean_sd_logit for one in windows], low=0)}"
        f"  escalated {sparkline([one.escalated.share for one in windows], low=0, high=1)}"
    )
    table = _table(confidence.by, "n", "failed", "median p", "mean sd", "90% width", "escalated", "for the slide")
    for one in (*windows, overall):
        _row(
            table,
            one.label,
            str(one.n),
            str(one.n_failed),
            _number(one.probability.median if one.probability else None),
            _number(one.mean_sd_logit),
            _number(one.mean_interval_width),
            _fraction(one.escalated),
            _fraction(one.escalated_for_slide),
        )
    yield table


def _drift(drift: Drift) -> Iterable["RenderableType"]:
    from rich.text import Text

    yield _heading("Whether anything drifts against the bundle's reference")
    yield Text(drift.sentence, style=_STYLES[drift.state])
    yield from (Text(caveat, style="yellow") for caveat in drift.caveats)
    if not drift.features:
        return
    yield (
        f"log evidence over {drift.n_specimens} specimens "
        f"{sparkline([point.log_evidence for point in _thinned(drift)], low=0, high=drift.log_limit)}"
        f"  at {drift.log_evidence:.1f}, highest {drift.peak_log_evidence:.1f}, alarm at {drift.log_limit:.1f}"
    )
    table = _table("feature", "reference", "n", "latest", "n", "shift, sd", "p, hint", "evidence", "highest")
    for one in sorted(drift.features, key=lambda one: -one.peak_log_evidence):
        _row(
            table,
            one.feature,
            _middle(one.reference),
            str(one.n_reference),
            _middle(one.current),
            str(one.current.n if one.current else 0),
            _NONE if one.shift_sd is None else f"{one.shift_sd:+.2f}",
            _number(one.hint_p, "{:.3f}"),
            f"{one.log_evidence:.1f}",
            f"{one.peak_log_evidence:.1f}",
        )
    yield table
    yield (
        "Medians; p is a hint where to look, without a guarantee; evidence and highest are logs, and that of all "
        "features together has a guarantee."
    )
    for text, names in (("not observed", drift.only_in_reference), ("not in the reference", drift.not_in_reference)):
        if names:
            yield f"{text}: {', '.join(names)}"


def _thinned(drift: Drift, most: int = 40) -> Sequence[EvidencePoint]:
    step = max(1, -(-len(drift.path) // most))
    return [
        max(drift.path[start : start + step], key=lambda one: one.log_evidence)
        for start in range(0, len(drift.path), step)
    ]


def _escalation(escalation: Escalation) -> Iterable["RenderableType"]:
    yield _heading("What is escalated, and why")
    if not escalation.n_decided:
        yield "No specimen has been decided under this model."
        return
    yield f"escalated: {_rate(escalation.escalated)}"
    yield f"for a reason of the slide, not only for want of a certificate: {_rate(escalation.escalated_for_slide)}"
    table = _table("reason", "specimens", "95% interval", "meaning")
    for one in escalation.reasons:
        _row(table, one.reason.value, _fraction(one.rate), f"{one.rate.low:.2f}-{one.rate.high:.2f}", one.sentence)
    yield table
    measured = [missed for missed in escalation.limits if missed.limit is not None or missed.codes]
    if measured:
        table = _table("limit or code", "reason", "findings", "limit", "values", "such as")
        for missed in measured:
            _row(
                table,
                missed.what,
                missed.reason.value,
                str(missed.n),
                _number(missed.limit, "{:.3g}"),
                f"{missed.values.minimum:.3g} to {missed.values.maximum:.3g}" if missed.values else _NONE,
                missed.example,
            )
        yield table
    table = _table("by", "group", "escalated", "for the slide", "reasons")
    for group in escalation.groups:
        _row(
            table,
            group.by,
            group.group,
            _fraction(group.escalated),
            _fraction(group.escalated_for_slide),
            ", ".join(f"{one.reason.value} {one.rate.k}" for one in group.reasons),
        )
    yield table


def _autonomy(autonomy: Autonomy) -> Iterable["RenderableType"]:
    from rich.text import Text

    yield _heading("What is answered under a certificate")
    check = autonomy.check
    yield Text(check.sentence, style="bold red" if check.n_defects else "green" if check.looked else "yellow")
    yield from (Text(f"  {one.n} times: {one.name}", style="bold red") for one in check.defects)
    if not autonomy.overall.answered.n:
        return
    yield f"negative or positive: {_rate(autonomy.overall.answered)}"
    table = _table("by", "group", *autonomy.overall.verdicts, "reported", "answered over time")
    for by, rates in ((autonomy.by, one) for one in (*autonomy.windows, autonomy.overall)):
        _row(table, by, rates.label, *_answers(rates), "")
    for group in autonomy.groups:
        over_time = sparkline([one.share for one in group.over_time], low=0, high=1)
        _row(table, group.by, group.rates.label, *_answers(group.rates), over_time)
    yield table


def _answers(rates: AnswerRates) -> list[str]:
    return [_fraction(one) for one in (*rates.verdicts.values(), rates.dispositions["reported"])]


def _heading(text: str) -> "RenderableType":
    from rich.text import Text

    return Text(f"\n{text}", style="bold underline")


def _table(*columns: str) -> "Table":
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold", no_wrap=column == "feature")
    return table


def _row(table: "Table", *cells: str) -> None:
    """Add a row of plain text: a name with brackets is no markup."""
    from rich.text import Text

    table.add_row(*(Text(cell) for cell in cells))


def _spreads(what: str, spreads: dict[str, Spread]) -> "Table":
    table = _table(what, "n", "5%", "25%", "median", "75%", "95%")
    for name, one in spreads.items():
        numbers = (one.low, one.lower_quartile, one.median, one.upper_quartile, one.high)
        _row(table, name, str(one.n), *(f"{number:.3g}" for number in numbers))
    return table


def _middle(spread: Spread | None) -> str:
    return _NONE if spread is None else f"{spread.median:.3g}"


def _counts(counts: Sequence[Count]) -> str:
    return ", ".join(f"{one.name} {one.n}" for one in counts)


def _number(value: float | None, form: str = "{:.2f}") -> str:
    return _NONE if value is None else form.format(value)


def _fraction(rate: Rate) -> str:
    return f"{rate.k}/{rate.n}" if rate.n else _NONE


def _rate(rate: Rate) -> str:
    if rate.share is None:
        return "none of none"
    return f"{rate.k} of {rate.n} ({rate.share:.0%}, 95% interval {rate.low:.0%} to {rate.high:.0%})"
