"""The model card: what a model is, what it was made from, and what it was found to do."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from pellucid.bundle import RESEARCH_USE, Calibration
from pellucid.domain.cohort import Cohort
from pellucid.domain.encoder import EncoderSpec
from pellucid.domain.reference import ReferenceProfile
from pellucid.domain.tumour import TumourHead
from pellucid.domain.tuning import TuningSpecimen
from pellucid.statistics import (
    Interval,
    auroc,
    brier,
    calibration_in_the_large,
    calibration_intercept,
    calibration_slope,
    ece,
    log_loss,
    patient_bootstrap,
)
from pellucid.statistics.bootstrap import Metric
from pellucid.statistics.errors import BootstrapImpossible, OneClass
from pellucid.training.calibrate import TunedSpecimen
from pellucid.training.config import TrainingConfig
from pellucid.training.scans import ScanLeftOut

_OF_PROBABILITY: dict[str, Metric] = {
    "AUROC": auroc,
    "Brier score": brier,
    "Log loss (nats)": log_loss,
    "Calibration error (bias removed)": ece,
}
_OF_LOGIT: dict[str, Metric] = {
    "Calibration slope": calibration_slope,
    "Calibration intercept": calibration_intercept,
    "Calibration in the large": calibration_in_the_large,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitSize:
    """How many patients, specimens and scans of a split were used, and how many specimens are positive."""

    patients: int
    specimens: int
    scans: int
    positive: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What a training found, for the card and the record."""

    training: SplitSize
    tuning: SplitSize
    figures: dict[str, Interval]
    calibration: Calibration
    reference: ReferenceProfile
    tumour: TumourHead | None
    specimens: tuple[TuningSpecimen, ...]
    left_out: tuple[ScanLeftOut, ...]


def measure(tuned: Sequence[TunedSpecimen], config: TrainingConfig) -> dict[str, Interval]:
    """Figures on the tuning split with 95% intervals over patients; those that can't be computed are absent."""
    probabilities = [one.posterior.probability for one in tuned]
    logits = [one.posterior.mean_logit for one in tuned]
    labels = [one.label for one in tuned]
    patients = [one.patient for one in tuned]
    figures = {}
    for metrics, predicted in ((_OF_PROBABILITY, probabilities), (_OF_LOGIT, logits)):
        for name, metric in metrics.items():
            try:
                figures[name] = patient_bootstrap(metric, predicted, labels, patients, seed=config.seed)
            except (BootstrapImpossible, OneClass):
                # the card says "not computable" for what is absent: a figure without its interval would mislead
                continue
    return figures


def write_card(cohort: Cohort, spec: EncoderSpec, findings: Findings, config: TrainingConfig) -> str:
    """The model card, Markdown."""
    return "\n".join(
        [
            f"# {config.name}",
            "",
            *_what_it_is(cohort, spec, findings, config),
            *_data(cohort, findings),
            *_performance(findings),
            *_limits(cohort, findings),
        ]
    )


def _what_it_is(cohort: Cohort, spec: EncoderSpec, findings: Findings, config: TrainingConfig) -> list[str]:
    made_from = "generated (synthetic) slides" if cohort.synthetic else "the slides of the cohort named below"
    return [
        RESEARCH_USE,
        "",
        "## What it is",
        (
            f"- Tile encoder `{spec.id}` ({spec.architecture}, {spec.dim} features) on {spec.tile_px} px tiles at "
            f"{spec.mpp} um/px, trained here on {made_from}."
        ),
        "- Gated attention over all tissue tiles of a scan; one logit a scan.",
        (
            f"- {config.n_passes} Monte-Carlo dropout passes: dropout in trunk, gate and head. A specimen's scans are "
            "combined pass by pass."
        ),
        _ensemble(config),
        _tumour_head(findings.tumour),
        f"- Encoder licence: {spec.licence}. Scope: {spec.scope}.",
        "",
    ]


def _ensemble(config: TrainingConfig) -> str:
    if config.ensemble_heads == 0:
        return "- No ensemble of heads to hold the passes against."
    return (
        f"- {config.ensemble_heads} more heads, trained on the same slides from other seeds, to hold the passes "
        "against; no answer rests on them."
    )


def _tumour_head(head: TumourHead | None) -> str:
    if head is None:
        return "- No tumour head, as nobody said where tumour is: a site has to confirm each diagnosis."
    ranking = "not computable" if head.auroc is None else f"{head.auroc:.3f}"
    return (
        f"- A linear tumour head, fitted on {head.n_tiles} tiles whose tumour is known (AUROC on the tuning split's "
        f"tiles {ranking}). A scan of whose tiles less than {head.limit:.1%} are called tumour is not answered alone."
    )


def _data(cohort: Cohort, findings: Findings) -> list[str]:
    rows = [
        f"| {name} | {size.patients} | {size.specimens} | {size.scans} | {size.positive} |"
        for name, size in (("training", findings.training), ("tuning", findings.tuning))
    ]
    return [
        "## Data",
        f"Cohort `{cohort.name}`, digest `{cohort.digest or 'not stated'}`"
        + (", **synthetic**." if cohort.synthetic else "."),
        "",
        "| split | patients | specimens | scans | positive specimens |",
        "|---|---|---|---|---|",
        *rows,
        "",
        f"{len(findings.left_out)} scans were left out (unreadable, no usable scale, or of insufficient quality).",
        "",
    ]


def _performance(findings: Findings) -> list[str]:
    rows = [_figure(name, findings.figures.get(name)) for name in (*_OF_PROBABILITY, *_OF_LOGIT)]
    calibration = findings.calibration
    return [
        "## Figures on the tuning split",
        (
            "Of specimens, by patient; 95% bootstrap intervals. The temperature was fitted on this split, so its "
            "calibration figures are optimistic; the weights were not selected on it. A slope of 1, an intercept of 0 "
            "and a calibration error of 0 would be perfect."
        ),
        (f"{sum(one.passed for one in findings.specimens)} of {len(findings.specimens)} specimens pass every gate."),
        "",
        "| figure | estimate | 95% interval |",
        "|---|---|---|",
        *rows,
        "",
        (
            f"Temperature {calibration.temperature:.3f}: mean negative log likelihood "
            f"{calibration.nll_before:.3f} before, {calibration.nll_after:.3f} after."
        ),
        "",
    ]


def _figure(name: str, interval: Interval | None) -> str:
    if interval is None:
        return f"| {name} | not computable | |"
    return f"| {name} | {interval.estimate:.3f} | {interval.low:.3f} to {interval.high:.3f} |"


def _limits(cohort: Cohort, findings: Findings) -> list[str]:
    reference = findings.reference
    known = (
        "It knows nothing of real tissue. The signal it answers from was planted by the generator."
        if cohort.synthetic
        else "Nothing is known of other laboratories, scanners and populations than those of the cohort."
    )
    return [
        "## Limits",
        f"- {known}",
        (
            f"- A slide farther than {reference.distance_limit:.2f} from the training slides, or a specimen whose "
            f"calibrated logit spreads by more than {reference.sd_limit:.2f} (sd), is not answered alone."
        ),
        "- No certificate comes with a model: what it may decide without a person is for each site to show.",
        "- Only a molecular test tells a mutation; this model's answer is no such test.",
        "",
    ]


def findings_as_plain(findings: Findings) -> dict[str, object]:
    """Plain JSON types, without the reference, which the bundle holds."""
    return {
        "training": asdict(findings.training),
        "tuning": asdict(findings.tuning),
        "figures": {name: asdict(interval) for name, interval in findings.figures.items()},
        "calibration": asdict(findings.calibration),
        "distance_limit": findings.reference.distance_limit,
        "sd_limit": findings.reference.sd_limit,
        "tumour": None if findings.tumour is None else _without_weights(findings.tumour),
        "left_out": [asdict(item) for item in findings.left_out],
    }


def _without_weights(head: TumourHead) -> dict[str, object]:
    return {name: value for name, value in asdict(head).items() if name not in {"weights", "bias"}}


def split_size(tuned: Sequence[tuple[str, str, int]]) -> SplitSize:
    """Sizes from one (patient, specimen, label) a scan."""
    positive = {specimen for _, specimen, label in tuned if label == 1}
    return SplitSize(
        patients=len({patient for patient, _, _ in tuned}),
        specimens=len({specimen for _, specimen, _ in tuned}),
        scans=len(tuned),
        positive=len(positive),
    )
