"""The signals that pytest ignores take the way of Ctrl-C."""

import os
import signal

import pytest

from m43.harness.interruption import Interruption


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_becomes_an_interrupt_and_is_remembered(number: signal.Signals) -> None:
    """The journal can then say what ended the run."""
    before = signal.getsignal(number)
    interruption = Interruption()
    interruption.listen()
    try:
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
    finally:
        interruption.restore()
    assert interruption.cause == number.name
    assert signal.getsignal(number) == before


def test_the_last_lines_of_a_run_are_not_disturbed() -> None:
    """A second Ctrl-C while the documents are written does not tear them."""
    before = signal.getsignal(signal.SIGINT)
    interruption = Interruption()
    interruption.listen()
    interruption.ignore()
    try:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            os.kill(os.getpid(), number)
    finally:
        interruption.restore()
    assert signal.getsignal(signal.SIGINT) == before
