"""The log pump: lines, long lines, strange bytes, and no secrets in any of them."""

import io
import os

from m43.harness.log_pump import LogPump

SECRET = "a-very-secret-word"


def pump(*pieces: bytes) -> tuple[bytes, tuple[str, ...]]:
    """Send pieces through a real pipe; give the log and the last lines."""
    reading, writing = os.pipe()
    log = io.BytesIO()
    with os.fdopen(reading, "rb") as pipe:
        carrier = LogPump(pipe, log, (SECRET,))
        with os.fdopen(writing, "wb", buffering=0) as end:
            for piece in pieces:
                end.write(piece)
        carrier.close(10.0)
        return log.getvalue(), carrier.lines


def test_lines_are_carried_as_they_are() -> None:
    """A last line without an end gets one."""
    assert pump(b"one\ntwo")[0] == b"one\ntwo\n"


def test_a_carriage_return_ends_a_line() -> None:
    """A progress bar would otherwise be one endless line."""
    assert pump(b"10%\r20%\rdone\r\n")[0] == b"10%\n20%\ndone\n"


def test_bytes_that_are_no_text_do_not_stop_the_log() -> None:
    """A child may print anything."""
    log, lines = pump(b"\xff\xfe ok\n")
    assert lines[0].endswith(" ok")
    assert log.decode().endswith(" ok\n")


def test_a_secret_is_found_wherever_a_long_line_is_cut() -> None:
    """A line that does not end is written at spaces, where no secret is."""
    words = (b"word " * 1000 + SECRET.encode() + b" ") * 300
    log, _ = pump(words, b"end\n")
    assert SECRET.encode() not in log
    assert log.count(b"[REDACTED]") == 300
    assert log.endswith(b"end\n")


def test_a_line_without_an_end_or_a_space_is_left_out() -> None:
    """Where a cut could fall into a secret, nothing is written."""
    log, _ = pump(*[b"x" * 65536] * 40, b"\nnext\n")
    assert b"was left out" in log
    assert log.endswith(b"next\n")


def test_only_the_last_lines_are_kept_at_hand() -> None:
    """An hour of output does not fill the parent's memory."""
    _, lines = pump(*[f"line {number}\n".encode() for number in range(500)])
    assert lines[-1] == "line 499"
    assert len(lines) < 100


def test_a_log_that_takes_nothing_more_does_not_stop_the_child() -> None:
    """On a full disk the pipe is read to its end, and the last lines are kept at hand."""

    class FullDisk(io.BytesIO):
        def write(self, data: object) -> int:
            raise OSError(28, "No space left on device")

    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as pipe:
        carrier = LogPump(pipe, FullDisk(), ())
        with os.fdopen(writing, "wb", buffering=0) as end:
            end.write(b"one\n")
            end.write(b"two\n" * 100_000)
        carrier.close(10.0)
    assert carrier.lines[-1] == "two"
    assert len(carrier.lines) > 1
