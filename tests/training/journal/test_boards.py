"""TensorBoard's files: their records, and the steps that a resume takes back."""

from journals import board_events, board_shows
from pellucid.training.journal.boards import Board


def test_figures_are_read_back(tmp_path):
    board = Board(tmp_path / "head", step=0)
    board.add(0, {"loss": 0.5, "learning_rate": 0.25}, at=1_700_000_000.0)
    board.close()

    assert board_shows(tmp_path / "head") == {("loss", 0): 0.5, ("learning_rate", 0): 0.25}
    (path,) = (tmp_path / "head").iterdir()
    assert board_events(path)[-1].wall_time == 1_700_000_000.0


def test_a_resume_in_the_same_second_keeps_the_earlier_file_and_purges_its_later_steps(tmp_path):
    board = Board(tmp_path / "head", step=0)
    for step in range(5):
        board.add(step, {"loss": float(step)}, at=1.0)
    board.close()
    board = Board(tmp_path / "head", step=3)
    board.add(3, {"loss": 30.0}, at=2.0)
    board.close()

    assert len(list((tmp_path / "head").iterdir())) == 2
    assert board_shows(tmp_path / "head") == {("loss", 0): 0, ("loss", 1): 1, ("loss", 2): 2, ("loss", 3): 30}


def test_flushed_figures_are_there_without_a_close(tmp_path):
    board = Board(tmp_path / "head", step=0)
    board.add(0, {"loss": 0.5}, at=1.0)
    board.flush()

    assert board_shows(tmp_path / "head") == {("loss", 0): 0.5}
