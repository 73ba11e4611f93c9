import os
import signal

import pytest

from pellucid.training.errors import TrainingInterrupted
from pellucid.training.stopping import StopFlag, stop_on_signals


def test_a_warning_stays_one_when_the_scheduler_ends_the_job_after_it():
    flag = StopFlag()
    with stop_on_signals(flag):
        os.kill(os.getpid(), signal.SIGUSR2)
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(TrainingInterrupted) as caught:
            flag.check()
    assert caught.value.context["signal"] == signal.SIGUSR2


def test_a_second_interrupt_ends_at_once():
    with stop_on_signals(StopFlag()):
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_all_ranks_take_over_the_first_signal_that_any_got():
    flags = [StopFlag(), StopFlag()]
    flags[1].signal = signal.SIGUSR2
    told = [flag.signal for flag in flags]
    for flag in flags:
        flag.agree(told)
    assert [flag.signal for flag in flags] == [signal.SIGUSR2, signal.SIGUSR2]
