"""Heartbeats and divergence: what is written, how often, and when a run is stopped."""

import io
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from m43.errors import FailureClass
from m43.records.profile import DivergenceTable
from m43.records.run_dir import read_record
from m43.records.run_records import Heartbeat
from m43.training.control_groups import own_bytes
from m43.training.progress import DivergedError, DivergenceWatch, Heartbeats


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        """Say what the time is."""
        return self.now


@pytest.fixture
def clock() -> Iterator[Clock]:
    """Start at zero."""
    return Clock()


def test_a_phase_beats_at_its_start_and_is_measured(tmp_path: Path, clock: Clock) -> None:
    """The parent learns of a phase at once; its length is known when it has ended."""
    path = tmp_path / "train.heartbeat.json"
    beats = Heartbeats(path, io.StringIO(), clock)

    with beats.phase("compile"):
        said = read_record(path, Heartbeat)
        clock.now = 2.5

    assert (said.phase, said.beat) == ("compile", 1)
    assert [(phase.name, phase.duration_s) for phase in beats.phases] == [("compile", 2.5)]


def test_a_phase_that_fails_is_not_counted_as_ended(tmp_path: Path, clock: Clock) -> None:
    """Only what was finished has a length; where it stopped is still on disk."""
    path = tmp_path / "beat.json"
    beats = Heartbeats(path, io.StringIO(), clock)

    with pytest.raises(ValueError, match="boom"), beats.phase("save"):
        raise ValueError("boom")

    assert beats.phases == ()
    assert read_record(path, Heartbeat).phase == "save"


def test_progress_is_written_twice_a_second_and_at_the_end(tmp_path: Path, clock: Clock) -> None:
    """Steps of 1/8 s are told every half second; the last of them always."""
    path = tmp_path / "beat.json"
    beats = Heartbeats(path, io.StringIO(), clock)
    seen = []

    with beats.phase("train", total=13):
        for done in range(1, 14):
            clock.now += 0.125
            beats.progress(done, loss_nats=2.0, tokens_per_s=50.0)
            seen.append(read_record(path, Heartbeat))

    assert [beat.done for beat in seen] == [0, 0, 0, 4, 4, 4, 4, 8, 8, 8, 8, 12, 13]
    assert [beat.beat for beat in seen] == sorted(beat.beat for beat in seen)
    assert seen[-1].loss_nats == 2.0


def test_finished_steps_stay_visible_in_later_phases(tmp_path: Path, clock: Clock) -> None:
    """A parent that looks while the model is saved still sees all steps."""
    path = tmp_path / "beat.json"
    beats = Heartbeats(path, io.StringIO(), clock)
    with beats.phase("train", total=3):
        beats.progress(3)

    with beats.phase("save"):
        said = read_record(path, Heartbeat)

    assert (said.phase, said.done, said.total) == ("save", 3, 3)


def test_a_log_line_comes_every_few_seconds(tmp_path: Path, clock: Clock) -> None:
    """Long work can be followed in a log without drowning it."""
    log = io.StringIO()
    beats = Heartbeats(tmp_path / "beat.json", log, clock)

    with beats.phase("train", total=80):
        for done in range(1, 81):
            clock.now += 0.125
            beats.progress(done, loss_nats=1.5)

    lines = log.getvalue().splitlines()
    assert lines[0] == "train: 1 of 80, loss 1.5000"
    assert lines[-2:] == ["train: 80 of 80, loss 1.5000", "train: 10.0 s"]
    assert len(lines) == 4


def test_a_beat_tells_the_memory_of_the_process_and_of_the_device(
    tmp_path: Path, clock: Clock
) -> None:
    """What is held now, not the peak; of a device only once there is one to ask."""
    path = tmp_path / "beat.json"
    beats = Heartbeats(path, io.StringIO(), clock)
    with beats.phase("import"):
        before = read_record(path, Heartbeat)
    beats.measure_device(lambda: 21)
    with beats.phase("train"):
        after = read_record(path, Heartbeat)

    assert (before.device_bytes, after.device_bytes) == (0, 21)
    # A Python with numpy in it, on any machine that these tests run on.
    assert 10**7 < before.host_bytes < 10**11


def test_where_the_system_does_not_say_no_memory_is_told(tmp_path: Path) -> None:
    """Elsewhere than on Linux there is no such file."""
    assert own_bytes("resident", tmp_path / "absent") is None


TABLE = DivergenceTable(first_steps=3, last_steps=4, loss_ratio=2.0)


def watched(losses: Sequence[float]) -> int:
    """Show the losses to a watch; give the step at which it stopped, 0 if it did not."""
    watch = DivergenceWatch(TABLE)
    try:
        for step, loss in enumerate(losses, start=1):
            watch.update(step, loss)
    except DivergedError as error:
        return error.step
    return 0


def test_a_loss_that_stays_twice_as_high_has_diverged() -> None:
    """First 3 steps 1.0; of 1, 1, 5, 5 the median is 3, above 2 times 1.0."""
    assert watched([1.0, 1.0, 1.0, 1.0, 1.0, 5.0, 5.0, 5.0]) == 7


def test_one_hard_batch_is_no_divergence() -> None:
    """However hard it is."""
    assert watched([1.0] * 5 + [1e6] + [1.0] * 5) == 0


def test_a_loss_at_the_limit_has_not_diverged() -> None:
    """More than so many times, not as many."""
    assert watched([1.0] * 3 + [2.0] * 9) == 0


@pytest.mark.parametrize("steps", range(7))
def test_too_few_steps_tell_nothing(steps: int) -> None:
    """Before the last steps are others than the first ones there is nothing to compare."""
    assert watched([1.0, 1.0, 1.0, 9.0, 9.0, 9.0, 9.0][:steps]) == 0


@given(st.lists(st.floats(0.01, 10.0), min_size=3, max_size=60))
def test_losses_within_the_ratio_never_stop_a_run(noise: list[float]) -> None:
    """Nothing below twice the smallest of the first losses is ever called divergence."""
    first = [10.0, 10.0, 10.0]
    assert watched(first + noise) == 0


def test_the_message_says_both_medians_and_where_the_limit_stands() -> None:
    """A tired person sees by how much, and which table it is."""
    watch = DivergenceWatch(TABLE)
    for step in range(1, 7):
        watch.update(step, 1.0 if step <= 3 else 3.0)
    with pytest.raises(DivergedError, match=r"3\.00 times the first 3 steps' 1\.0000") as raised:
        watch.update(7, 3.0)
    assert raised.value.failure_class is FailureClass.DIVERGED
    assert "[divergence] in the profile" in str(raised.value)
