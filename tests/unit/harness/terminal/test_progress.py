"""Where a gate is, in one line."""

from dataclasses import replace

from m43.harness.process.process import Sight
from m43.harness.terminal.progress import Progress
from m43.records.run_records import Heartbeat

BEAT = Heartbeat(phase="train", done=0, total=300, loss_nats=1.25, tokens_per_s=1000.4, beat=1)


def seen(progress: Progress, elapsed_s: float, **changes: object) -> str:
    """Give the line after one more sight of the child."""
    beat = replace(BEAT, **{"beat": int(elapsed_s), **changes})  # type: ignore[arg-type]
    progress.child(Sight(beat=beat, steps=beat.done, elapsed_s=elapsed_s))
    return progress.line


def test_the_line_of_training_tells_step_loss_speed_time_left_and_memory() -> None:
    """Two hundred of three hundred steps in twenty seconds leave ten."""
    progress = Progress("train-300")
    seen(progress, 5.0)
    line = seen(progress, 25.0, done=200, tokens_per_s=3000.4, host_bytes=2_140_000_000)
    assert line == "step 200 of 300, loss 1.250, 2000 tokens/s, 10 s left, 1.99 GiB memory"


def test_the_memory_of_the_device_is_told_where_it_counts() -> None:
    """A CPU does not count; a card does."""
    progress = Progress("train-300")
    line = seen(progress, 5.0, host_bytes=3e9, device_bytes=21e9, tokens_per_s=0.0)
    assert line == "step 0 of 300, loss 1.250, 2.79 GiB memory, 19.56 GiB on the device"


def test_the_loss_has_a_direction_once_there_are_steps_enough() -> None:
    """A tired person need not remember the number of a minute ago."""
    progress = Progress("train-300")
    lines = [seen(progress, float(step), done=step, loss_nats=9 / step) for step in range(1, 9)]
    assert "loss 1.286," in lines[6]
    assert "loss 1.125 falling," in lines[7]


def test_the_line_of_the_evaluation_tells_rows() -> None:
    """Which model is decoded is in the phase's name."""
    progress = Progress("eval")
    base = {"phase": "decode base model", "total": 100, "loss_nats": 0, "tokens_per_s": 0}
    seen(progress, 1.0, **base)
    assert seen(progress, 3.0, **base, done=50) == "decode base model: row 50 of 100, 2 s left"


def test_a_phase_that_counts_nothing_tells_its_time() -> None:
    """Also after the steps, whose counts the child keeps."""
    progress = Progress("train-300")
    first = seen(progress, 3.0, phase="compile 96 tokens", total=0)
    seen(progress, 4.0, done=299)
    seen(progress, 5.0, done=300)
    seen(progress, 6.0, phase="save", done=300)
    assert first == "compile 96 tokens, 0 s"
    assert seen(progress, 9.0, phase="save", done=300) == "save, 3 s"


def test_before_the_first_beat_the_child_is_starting() -> None:
    """Silence at the beginning is shown as what it is."""
    progress = Progress("train-300")
    assert progress.line == "preparing"
    progress.child(Sight(beat=None, steps=0, elapsed_s=3.0))
    assert progress.line == "starting, 3 s"


def test_a_download_tells_its_bytes() -> None:
    """Which file it is at, and how much of it has come."""
    progress = Progress("train-300")
    progress.download(Sight(beat=None, steps=0, elapsed_s=3.0))
    assert progress.line == "asking for the model's files, 3 s"
    beat = Heartbeat(
        phase="download model.safetensors",
        done=2**21,
        total=2**22,
        loss_nats=0,
        tokens_per_s=0,
        beat=1,
    )
    progress.download(Sight(beat=beat, steps=2**21, elapsed_s=5.0))
    assert progress.line == "download model.safetensors: 2.0 MiB of 4.0 MiB, 5 s"
