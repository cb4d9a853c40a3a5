"""The signals end a run at a place that is made for it, once, and are remembered."""

import os
import signal
from collections.abc import Iterator

import pytest

from m43.harness.interruption import Interruption

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


@pytest.mark.parametrize("number", NUMBERS)
def test_where_it_is_welcome_it_comes_at_once(
    interruption: Interruption, number: signal.Signals
) -> None:
    """A request to the hub that hangs is ended where it hangs."""
    reached = []
    with pytest.raises(KeyboardInterrupt):
        send_inside(interruption, number, reached)
    assert not reached


def send_inside(interruption: Interruption, number: signal.Signals, reached: list[int]) -> None:
    """Send a signal where it is welcome, and note what comes behind it."""
    with interruption.welcome():
        os.kill(os.getpid(), number)
        reached.append(number)


def test_a_signal_that_came_before_is_told_at_the_door(interruption: Interruption) -> None:
    """What came while a document was written ends the next wait before it begins."""
    os.kill(os.getpid(), signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), interruption.welcome():
        raise AssertionError("the block was entered")


def test_only_the_first_signal_ends_anything(interruption: Interruption) -> None:
    """A second Ctrl-C neither loses the child that is being ended nor tears the documents."""
    with pytest.raises(KeyboardInterrupt), interruption.welcome():
        os.kill(os.getpid(), signal.SIGINT)
    for number in NUMBERS:
        os.kill(os.getpid(), number)
        interruption.check()
    assert interruption.cause == "SIGINT"
