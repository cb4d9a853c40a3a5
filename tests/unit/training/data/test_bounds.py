"""Work that others ask for ends, in time and in memory, and leaves the process as it was."""

import itertools
import resource
import signal
import threading

import pytest

from m43.training.data.tokenizer import OutOfTimeError, bounded


def test_what_keeps_its_bounds_is_not_disturbed() -> None:
    """Nothing of the limits is left behind."""
    before = resource.getrlimit(resource.RLIMIT_DATA), signal.getsignal(signal.SIGVTALRM)

    with bounded(cpu_s=5.0, memory_bytes=1 << 28):
        assert len(bytearray(1 << 20)) == 1 << 20

    after = resource.getrlimit(resource.RLIMIT_DATA), signal.getsignal(signal.SIGVTALRM)
    assert after == before
    assert signal.getitimer(signal.ITIMER_VIRTUAL) == (0.0, 0.0)


def test_what_computes_without_end_is_ended() -> None:
    """After the seconds that it computed, not those that it waited."""
    with pytest.raises(OutOfTimeError), bounded(cpu_s=0.05, memory_bytes=1 << 28):
        sum(1 for _ in itertools.repeat(1))

    assert signal.getitimer(signal.ITIMER_VIRTUAL) == (0.0, 0.0)


def test_what_asks_for_too_much_memory_is_refused_before_it_has_it() -> None:
    """And what comes after may have it again."""
    with pytest.raises(MemoryError), bounded(cpu_s=5.0, memory_bytes=1 << 28):
        _ = b"a" * (1 << 33)

    assert len(bytearray(1 << 29)) == 1 << 29


def test_another_thread_has_the_bound_of_memory_alone() -> None:
    """Signals reach the main thread only."""
    found: list[type[BaseException]] = []

    def work() -> None:
        try:
            with bounded(cpu_s=5.0, memory_bytes=1 << 28):
                _ = b"a" * (1 << 33)
        except MemoryError as error:
            found.append(type(error))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()

    assert found == [MemoryError]
