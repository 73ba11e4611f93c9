"""The ROC curve of a cross-validation as a PNG."""

import io

from pellucid.training.validation.figures import RocBand, SeededFigure

_INCHES = 5.0
_DPI = 120


def draw_roc(band: RocBand, area: SeededFigure, *, n_patients: int) -> bytes:
    """The mean curve with its pointwise band; the same numbers give the same bytes with the same matplotlib."""
    # figures of their own, not pyplot's, so that no display and no global state is touched
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(_INCHES, _INCHES), dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    interval = area.interval
    told = f"AUROC {interval.estimate:.3f} ({interval.low:.3f} to {interval.high:.3f})"
    axes.fill_between(band.false_positive_rate, band.low, band.high, alpha=0.25, linewidth=0, label="95% by patient")
    axes.plot(band.false_positive_rate, band.true_positive_rate, label=told)
    axes.plot((0, 1), (0, 1), linestyle=":", color="grey", label="chance")
    axes.set(
        xlim=(0, 1),
        ylim=(0, 1),
        aspect="equal",
        xlabel="False-positive rate",
        ylabel="True-positive rate",
        title=f"Out-of-fold answers, {n_patients} patients",
    )
    axes.legend(loc="lower right")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()
