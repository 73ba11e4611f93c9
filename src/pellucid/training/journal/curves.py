"""The curves of a training as a picture that can be read on a telephone.

Okabe and Ito's colours, told apart by people with any kind of colour vision; the smoothed loss is also thicker than the
raw one, so that nothing depends on colour alone.
"""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pellucid.core.files import write_bytes
from pellucid.training.journal.series import TaskCurves

_BLUE, _ORANGE, _GREEN, _SKY = "#0072B2", "#D55E00", "#009E73", "#56B4E9"
_WIDTH_IN, _PANEL_IN, _DPI = 4.0, 1.75, 180  # 720 pixels: two for each of a telephone's
_MOST_TASKS = 6
_SMOOTH_SHARE = 0.05


def draw_curves(path: Path, curves: Mapping[str, TaskCurves], *, title: str, synthetic: bool) -> None:
    """Draw each task's training loss, validation score and learning rate, as far as it has them; of many, the latest.

    Args:
        path: a PNG file, written whole or not at all; left alone where there is nothing to draw.
        curves: by task.
        title: stands above it all.
        synthetic: whether to say that the slides are synthetic.

    Raises:
        StorageFull: the disk is full.
    """
    drawn = {task: one for task, one in curves.items() if len(one.loss)}
    if not drawn:
        return
    write_bytes(path, _picture(dict(list(drawn.items())[-_MOST_TASKS:]), _heading(title, len(drawn), synthetic)))


def _heading(title: str, n_tasks: int, synthetic: bool) -> str:
    lines = [title]
    if synthetic:
        lines.append("SYNTHETIC slides: says nothing about patients")
    if n_tasks > _MOST_TASKS:
        lines.append(f"the latest {_MOST_TASKS} of {n_tasks} tasks")
    return "\n".join(lines)


def _picture(curves: Mapping[str, TaskCurves], heading: str) -> bytes:
    # matplotlib costs a second; pyplot is left out, for it keeps every figure and chooses a window system
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    panels = [(task, kind) for task, one in curves.items() for kind in _kinds(one)]
    figure = Figure(figsize=(_WIDTH_IN, _PANEL_IN * len(panels) + 0.6), dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(heading, fontsize=9)
    for axes, (task, kind) in zip(figure.subplots(len(panels), 1, squeeze=False)[:, 0], panels, strict=True):
        _KINDS[kind](axes, curves[task])
        last = max([*curves[task].loss.points()[0][-1:], *curves[task].scores, 1.0])
        axes.set_xlim(-0.02 * last, 1.02 * last)
        axes.set_title(f"{task}: {kind}", fontsize=9, loc="left")
        axes.tick_params(labelsize=8)
        axes.grid(visible=True, linewidth=0.4, alpha=0.5)
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_xlabel("step", fontsize=8)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def _kinds(curves: TaskCurves) -> list[str]:
    present = {"training loss": len(curves.loss), "validation score": len(curves.scores)}
    present["learning rate"] = len(curves.learning_rate)
    return [kind for kind, number in present.items() if number]


def _draw_loss(axes: Any, curves: TaskCurves) -> None:
    steps, values = curves.loss.points()
    axes.plot(steps, values, color=_SKY, linewidth=0.6, marker="." if len(steps) < 3 else "", label="raw")
    axes.plot(steps, _smoothed(values), color=_BLUE, linewidth=1.8, label="smoothed")
    axes.legend(fontsize=7, frameon=False, loc="upper right")


def _draw_score(axes: Any, curves: TaskCurves) -> None:
    steps = sorted(curves.scores)
    axes.plot(steps, [curves.scores[step] for step in steps], color=_ORANGE, linewidth=1.4, marker="o", markersize=3)


def _draw_rate(axes: Any, curves: TaskCurves) -> None:
    steps, values = curves.learning_rate.points()
    axes.plot(steps, values, color=_GREEN, linewidth=1.4, marker="." if len(steps) < 3 else "")
    axes.ticklabel_format(axis="y", style="sci", scilimits=(-2, 3))
    axes.yaxis.get_offset_text().set_fontsize(8)


_KINDS = {"training loss": _draw_loss, "validation score": _draw_score, "learning rate": _draw_rate}


def _smoothed(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Means over a window of a twentieth of the curve, narrower at its ends; `(n,) float64` to the same."""
    width = max(1, int(len(values) * _SMOOTH_SHARE)) | 1
    window = np.ones(width)
    sums = np.convolve(values, window, mode="full")
    counts = np.convolve(np.ones(len(values)), window, mode="full")
    start = width // 2
    middle = slice(start, start + len(values))
    smooth: NDArray[np.float64] = sums[middle] / counts[middle]
    return smooth
