"""Pages that stand alone: no script, font or picture from elsewhere, readable from a folder or a mail."""

import base64
import functools
import hashlib
import math
import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote

import jinja2
from markupsafe import Markup, escape
from scipy.special import expit

from pellucid._version import __version__
from pellucid.core.files import write_text
from pellucid.domain.decision import Disposition
from pellucid.domain.policy import Mode
from pellucid.domain.quality import Sense
from pellucid.domain.reasons import Finding, Reason
from pellucid.monitoring import MonitoringReport, Rate, Spread
from pellucid.reports import charts, formats, heatmap, promises, wording
from pellucid.reports.errors import PicturePathInvalid, PseudonymInvalid
from pellucid.reports.redaction import without_paths
from pellucid.reports.views import RunFacts, RunView, SpecimenView, failure_counts, reason_counts, verdict_counts

INDEX_PAGE = "index.html"
MONITORING_PAGE = "monitoring.html"
SPECIMEN_FOLDER = "specimens"
_PSEUDONYM = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def specimen_page(pseudonym: str) -> str:
    """The path of a specimen's page relative to the run's folder.

    Raises:
        PseudonymInvalid: the pseudonym can't name a file.
    """
    if not _PSEUDONYM.fullmatch(pseudonym):
        raise PseudonymInvalid(f"{pseudonym!r} can't name a page.")
    return f"{SPECIMEN_FOLDER}/{pseudonym}.html"


def write_specimen_page(folder: Path, view: SpecimenView) -> Path:
    """Write a specimen's page below the run's `folder` and return its path.

    Raises:
        PseudonymInvalid: the pseudonym can't name a file.
        PicturePathInvalid: a picture's path leads out of `folder`.
    """
    path = folder / specimen_page(view.pseudonym)
    text = render_template(
        "specimen.html",
        root="../",
        synthetic=view.run.synthetic,
        silent=view.decision.disposition is Disposition.SILENT,
        imprint=_imprint(view.run),
        view=view,
        run=view.run,
        side=promises.side_of(view.decision.verdict),
        compared=[scan for scan in view.scans if scan.deterministic_logit is not None or scan.ensemble_logits],
        reasons=_by_reason(view.decision.findings),
        other_reasons=[reason for reason in view.decision.reasons if reason is not Reason.NO_CERTIFICATE],
    )
    write_text(path, text)
    return path


def write_index(folder: Path, view: RunView) -> Path:
    """Write the index page of a run into its `folder` and return its path; highest probability first.

    Raises:
        PseudonymInvalid: a specimen's pseudonym can't name a file.
        PicturePathInvalid: a picture or file lies outside `folder`.
    """
    path = folder / INDEX_PAGE
    lines = sorted(view.lines, key=lambda line: -1.0 if line.probability is None else line.probability, reverse=True)
    text = render_template(
        "index.html",
        root="",
        synthetic=view.run.synthetic,
        silent=view.policy.mode is Mode.SILENT,
        imprint=_imprint(view.run),
        view=view,
        run=view.run,
        policy=view.policy,
        term=promises.term_of(view.policy, view.made_on),
        n_elsewhere=sum(line.policy not in {"", view.policy_digest} for line in lines),
        verdicts=verdict_counts(lines),
        lines=lines,
        reasons=reason_counts(view.lines),
        failures=failure_counts(view.failures),
        probabilities=[line.probability for line in lines if line.probability is not None],
    )
    write_text(path, text)
    return path


def write_monitoring_page(folder: Path, report: MonitoringReport) -> Path:
    """Write the monitoring page into the run's `folder` and return its path."""
    path = folder / MONITORING_PAGE
    windows = report.confidence.windows
    bundle = f" · bundle {report.bundle}" if report.bundle else ""
    text = render_template(
        "monitoring.html",
        root="",
        synthetic=report.synthetic,
        imprint=f"Pellucid {__version__}{bundle} · made {formats.moment(report.made_at)}",
        report=report,
        seen=report.seen,
        confidence=report.confidence,
        drift=report.drift,
        escalation=report.escalation,
        points=[(float(point.index), point.log_evidence) for point in report.drift.path],
        medians=[one.probability.median if one.probability else math.nan for one in windows],
        deviations=[math.nan if one.mean_sd_logit is None else one.mean_sd_logit for one in windows],
        autonomy=report.autonomy,
        answered_shares=_shares([one.answered for one in report.autonomy.windows]),
        shares=_shares([one.escalated_for_slide for one in windows]),
    )
    write_text(path, text)
    return path


def render_template(template: str, *, root: str, synthetic: bool, imprint: str, **values: Any) -> str:
    """The text of a page; `root` leads from its folder to the run's folder (`""` or `"../"`)."""
    page = _environment().get_template(template)
    return page.render(root=root, synthetic=synthetic, imprint=imprint, **values)


def _imprint(run: RunFacts) -> str:
    return f"Pellucid {run.software_version} · run {run.run} · bundle {run.bundle}"


def local_url(path: str) -> str:
    """A path relative to the run's folder as a URL.

    Raises:
        PicturePathInvalid: the path is absolute, leads upwards or isn't a plain path.
    """
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or ".." in parts or "\\" in path or "\0" in path:
        raise PicturePathInvalid(f"{path!r} is no path below the run's folder.")
    return quote(path)


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("pellucid.reports", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        probability=formats.probability,
        fine=formats.fine,
        chance=expit,
        percent=formats.percent,
        number=formats.number,
        count=formats.count,
        seconds=formats.seconds,
        moment=formats.moment,
        short=formats.short_digest,
        clean=without_paths,
        unbroken=_unbroken,
        without_lead=_without_lead,
        spread=_five_numbers,
        shares=_shares,
        url=local_url,
        reason=wording.reason_label,
        advice=wording.reason_advice,
        verdict=wording.verdict_label,
        disposition=wording.disposition_label,
    )
    script = read_resource("viewer.js")
    environment.globals.update(
        charts=charts,
        interval=formats.interval,
        counted=formats.counted,
        absent=formats.ABSENT,
        words=wording,
        say=promises,
        specimen_page=specimen_page,
        at_least=Sense.AT_LEAST,
        gradient=", ".join(heatmap.palette_stops()),
        css=Markup(read_resource("style.css")),  # noqa: S704 - the package's own file
        script=Markup(script),  # noqa: S704 - the package's own file
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )
    return environment


def read_resource(name: str) -> str:
    """A file of the package's templates."""
    return (Path(__file__).parent / "templates" / name).read_text(encoding="utf-8").strip()


def _unbroken(text: str) -> Markup:
    """Escape `text` and keep each interval, such as `0.62–0.93`, on one line."""
    return Markup(re.sub(rf"[\d.]+{formats.DASH}[\d.]+\d", r'<span class="unbroken">\g<0></span>', str(escape(text))))  # noqa: S704


def _without_lead(text: str) -> str:
    """A notice without its first sentence, which the page sets in bold."""
    return text.split(". ", 1)[1]


def _five_numbers(spread: Spread | None) -> tuple[float, ...] | None:
    if spread is None:
        return None
    return (spread.low, spread.lower_quartile, spread.median, spread.upper_quartile, spread.high)


def _shares(rates: Sequence[Rate]) -> list[float]:
    """Rates for a sparkline, with a gap where there is none."""
    return [math.nan if rate.share is None else rate.share for rate in rates]


def _by_reason(findings: Sequence[Finding]) -> list[tuple[Reason, list[Finding]]]:
    groups = {reason: [finding for finding in findings if finding.reason is reason] for reason in Reason}
    return [(reason, group) for reason, group in groups.items() if group]
