"""Curves stay small, and their picture shows what was recorded."""

import numpy as np
import pytest
from matplotlib.image import imread

from pellucid.training.journal.curves import draw_curves
from pellucid.training.journal.series import TaskCurves, Thinned, read_curves

BLUE, ORANGE, GREEN = (0x00, 0x72, 0xB2), (0xD5, 0x5E, 0x00), (0x00, 0x9E, 0x73)


def curves(n_steps=200, task="head", **figures):
    lines = [{"task": task, "step": n, "loss": 1 / (n + 1), **figures} for n in range(n_steps)]
    lines += [{"kind": "epoch", "task": task, "step": n, "score": n / n_steps} for n in range(49, n_steps, 50)]
    return read_curves(lines)


def pixels(path):
    return (imread(path)[..., :3] * 255).round().astype(int)


def has_colour(image, colour):
    return bool((np.abs(image - colour).max(axis=-1) <= 2).sum() > 20)


def test_a_long_curve_stays_small_and_keeps_its_shape():
    curve = Thinned()
    for step in range(100_000):
        curve.add(step, float(step))
    steps, values = curve.points()

    assert len(steps) <= 2048
    assert len(steps) > 500
    np.testing.assert_allclose(steps, values)


def test_a_curve_read_back_equals_the_one_that_grew():
    grown, back = Thinned(), Thinned()
    for step in range(5000):
        grown.add(step, step**0.5)
    for step in reversed(range(5000)):
        back.add(step, step**0.5)

    np.testing.assert_array_equal(grown.points()[0], back.points()[0])
    np.testing.assert_allclose(grown.points()[1], back.points()[1])


def test_lines_without_numbers_are_passed_over():
    read = read_curves([{"task": "head", "step": 0, "loss": None}, {"task": "head"}, {"step": 1}, {"at": "now"}])

    assert len(read["head"].loss) == 0


def test_a_picture_shows_all_three_curves_at_a_telephone_s_width(tmp_path):
    draw_curves(tmp_path / "losses.png", curves(learning_rate=1e-4), title="run", synthetic=True)
    image = pixels(tmp_path / "losses.png")

    assert image.shape[1] == 720
    assert image.std() > 5
    for colour in (BLUE, ORANGE, GREEN):
        assert has_colour(image, colour)


def test_what_was_not_measured_has_no_panel(tmp_path):
    lines = read_curves([{"task": "head", "step": n, "loss": 1.0 - n / 10} for n in range(5)])
    draw_curves(tmp_path / "losses.png", lines, title="run", synthetic=False)
    image = pixels(tmp_path / "losses.png")

    assert has_colour(image, BLUE)
    assert not has_colour(image, ORANGE)


@pytest.mark.parametrize("drawn", [{}, {"head": TaskCurves()}])
def test_nothing_to_draw_leaves_no_file(tmp_path, drawn):
    draw_curves(tmp_path / "losses.png", drawn, title="run", synthetic=False)

    assert list(tmp_path.iterdir()) == []


def test_of_many_tasks_the_latest_are_drawn(tmp_path):
    few = {f"fold-{n}": curves(20)["head"] for n in range(6)}
    draw_curves(tmp_path / "few.png", few, title="run", synthetic=False)
    draw_curves(
        tmp_path / "many.png",
        {f"old-{n}": curves(20)["head"] for n in range(20)} | few,
        title="run",
        synthetic=False,
    )

    assert pixels(tmp_path / "many.png").shape[:2] == pixels(tmp_path / "few.png").shape[:2]
