"""The signals end a run at a place that is made for it, once, and are remembered."""

import os
import signal
from collections.abc import Iterator

import pytest

from m43.harness.process.signals import Interruption

NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@pytest.fixture
def interruption() -> Iterator[Interruption]:
    """Listen, and leave the signals as they were found."""
    before = [signal.getsignal(number) for number in NUMBERS]
    listening = Interruption()
    listening.listen()
    yield listening
    listening.restore()
    assert [signal.getsignal(number) for number in NUMBERS] == before


@pytest.mark.parametrize("number", NUMBERS)
def test_a_signal_waits_until_it_is_asked_for(
    interruption: Interruption, number: signal.Signals
) -> None:
    """A line of the journal is never torn from what it stands for."""
    os.kill(os.getpid(), number)
    assert interruption.cause == number.name
    with pytest.raises(KeyboardInterrupt):
        interruption.check()


def test_only_the_first_signal_ends_anything(interruption: Interruption) -> None:
    """A second Ctrl-C neither loses the child that is being ended nor tears the documents."""
    os.kill(os.getpid(), signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        interruption.check()
    for number in NUMBERS:
        os.kill(os.getpid(), number)
        interruption.check()
    assert interruption.cause == "SIGINT"
