import pytest

from pellucid.training.checkpoints import Checkpoints, Retention
from pellucid.training.ranks import Ranks
from training.checkpoints.states import IDENTITY


@pytest.fixture
def open_checkpoints(tmp_path):
    """Opens the checkpoints of a task in `tmp_path`, as a new start does."""

    def open_them(folder=None, identity=IDENTITY, ranks=None, lock=None, trace=None, **retention):
        traced = {} if trace is None else {"trace": trace}
        return Checkpoints(
            folder or tmp_path / "head",
            identity=identity,
            retention=Retention(**retention),
            ranks=ranks or Ranks(),
            lock=lock,
            **traced,
        )

    return open_them
