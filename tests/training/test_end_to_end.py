import pytest

from pellucid.training import TrainingConfigInvalid
from pellucid.training.config import EndToEndTraining
from pellucid.training.end_to_end import _require_watchable, hold_out


def test_the_best_epoch_needs_somebody_to_tell_it_by(scans):
    few = tuple(scans(number, number % 2) for number in range(6))
    settings = EndToEndTraining(encoder="pellucid-small", validation=0.1, deploy_best=True)
    _, held_out = hold_out(few, settings.validation, 0)
    with pytest.raises(TrainingConfigInvalid, match="both labels"):
        _require_watchable(settings, held_out)
    _, held_out = hold_out(few, 0.4, 0)
    _require_watchable(settings, held_out)


def test_the_best_epoch_without_validation_is_refused():
    with pytest.raises(TrainingConfigInvalid, match="deploy_best"):
        EndToEndTraining(validation=0.0, deploy_best=True)
