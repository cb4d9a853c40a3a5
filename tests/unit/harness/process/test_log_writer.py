"""The log writer: lines, long lines, strange bytes, and no secrets in any of them."""

import base64
import io
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from m43.evidence.journal.secrets import holds_secret
from m43.harness.process.log_writer import LogWriter
from m43.text import visible
from tests.unit.fuzzing import hostile

SECRET = "a-very-secret-word"


def written(*pieces: bytes) -> tuple[bytes, tuple[str, ...]]:
    """Send pieces through a real pipe; give the log and the last lines."""
    reading, writing = os.pipe()
    log = io.BytesIO()
    with os.fdopen(reading, "rb") as pipe:
        carrier = LogWriter(pipe, log, (SECRET,))
        with os.fdopen(writing, "wb", buffering=0) as end:
            for piece in pieces:
                end.write(piece)
        carrier.close(10.0)
        return log.getvalue(), carrier.lines


def test_lines_are_carried_as_they_are() -> None:
    """A last line without an end gets one."""
    assert written(b"one\ntwo")[0] == b"one\ntwo\n"


def test_a_carriage_return_ends_a_line() -> None:
    """A progress bar would otherwise be one endless line."""
    assert written(b"10%\r20%\rdone\r\n")[0] == b"10%\n20%\ndone\n"


def test_bytes_that_are_no_text_do_not_stop_the_log() -> None:
    """A child may print anything."""
    log, lines = written(b"\xff\xfe ok\n")
    assert lines[0].endswith(" ok")
    assert log.decode().endswith(" ok\n")


def test_a_secret_is_found_wherever_a_long_line_is_cut() -> None:
    """A line that does not end is written at spaces, where no secret is."""
    words = (b"word " * 1000 + SECRET.encode() + b" ") * 300
    log, _ = written(words, b"end\n")
    assert SECRET.encode() not in log
    assert log.count(b"[REDACTED]") == 300
    assert log.endswith(b"end\n")


def test_a_line_without_an_end_or_a_space_is_left_out() -> None:
    """Where a cut could fall into a secret, nothing is written."""
    log, _ = written(*[b"x" * 65536] * 40, b"\nnext\n")
    assert b"was left out" in log
    assert log.endswith(b"next\n")


def test_only_the_last_lines_are_kept_at_hand() -> None:
    """An hour of output does not fill the parent's memory."""
    _, lines = written(*[f"line {number}\n".encode() for number in range(500)])
    assert lines[-1] == "line 499"
    assert len(lines) < 100


def test_a_log_that_takes_nothing_more_does_not_stop_the_child() -> None:
    """On a full disk the pipe is read to its end, and the last lines are kept at hand."""

    class FullDisk(io.BytesIO):
        def write(self, data: object) -> int:
            raise OSError(28, "No space left on device")

    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as pipe:
        carrier = LogWriter(pipe, FullDisk(), ())
        with os.fdopen(writing, "wb", buffering=0) as end:
            end.write(b"one\n")
            end.write(b"two\n" * 100_000)
        carrier.close(10.0)
    assert carrier.lines[-1] == "two"
    assert len(carrier.lines) > 1


@pytest.mark.parametrize("secret", [SECRET, base64.b64encode(SECRET.encode()).decode()])
def test_a_secret_that_is_split_over_two_lines_is_on_neither(secret: str) -> None:
    """At every place, and with the pieces arriving one by one."""
    for place in range(1, len(secret)):
        head, tail = f"a {secret[:place]}\n".encode(), f"  {secret[place:]} b\nend\n".encode()

        log, lines = written(head, tail)

        assert log == b"a [REDACTED] b\nend\n"
        assert lines == ("a [REDACTED] b", "end")


def test_a_secret_that_is_split_over_many_lines_is_on_none() -> None:
    """One letter on each."""
    log, _ = written("\n".join(SECRET).encode() + b"\nend\n")
    assert log == b"[REDACTED]\nend\n"


def test_a_line_that_waited_in_vain_is_written_as_it_was() -> None:
    """Before the next one, or at the end."""
    assert written(b"a-very\nnice word\n")[0] == b"a-very\nnice word\n"
    assert written(b"hf_\n", b"\n")[0] == b"hf_\n\n"
    assert written(b"hf_Ab")[0] == b"hf_Ab\n"


def test_a_secret_in_colours_is_found() -> None:
    """Some libraries print every argument in another colour."""
    log, _ = written(f"\x1b[1m{SECRET[:5]}\x1b[0;31m{SECRET[5:]}\x1b[0m\n".encode())
    assert log == b"[REDACTED]\n"


def test_a_log_steers_no_terminal() -> None:
    """Colours are left out; what else would move, ring or turn the line is replaced."""
    log, lines = written(
        "\x1b]0;title\x07\x1b[2Jred \x1b[31mx\x1b[0m \x1b \x07 \u202e \x9b31m\n".encode()
    )
    assert log.decode() == "red x \ufffd \ufffd \ufffd \ufffd31m\n"
    assert lines == ("red x \ufffd \ufffd \ufffd \ufffd31m",)


@hostile(20)
@given(
    st.lists(
        st.binary(max_size=30)
        | st.sampled_from(
            [SECRET.encode(), SECRET[:7].encode(), SECRET[7:].encode(), b"\n", b"\r"]
        ),
        max_size=8,
    )
)
def test_whatever_a_child_prints_the_log_is_plain_and_without_secrets(pieces: list[bytes]) -> None:
    """In any pieces, of any bytes."""
    log, lines = written(*pieces)

    assert not holds_secret(log, (SECRET,))
    assert visible(log.decode()) == log.decode()
    assert log.decode() == "".join(f"{line}\n" for line in lines)
