"""The kernel's log: the lines of the card's driver since a moment, or why there are none."""

import errno
import os
from pathlib import Path

import pytest

from m43.harness.card import card_lines, kernel_log

LOST = "NVRM: Xid (PCI:0000:01:00): 79, pid=4711, name=python, GPU has fallen off the bus."
LOG = f"""\
4,100,900000000,-;NVRM: Xid (PCI:0000:01:00): 31, pid=1, name=old, MMU Fault
6,101,995500000,-;NVRM: loading NVIDIA UNIX Open Kernel Module for x86_64  580.95.05
3,102,996000000,-;{LOST}
 SUBSYSTEM=pci
6,103,1001000000,c;usb 1-1: new device, Xid 7
3,104,1002000000,-;NVRM: The GPU has fallen off the bus\x1b[31m and is not responding
no record; NVRM: Xid
"""


def test_the_drivers_lines_since_a_moment_are_read(tmp_path: Path) -> None:
    """Neither older ones, nor those of others, nor what steers a terminal."""
    path = tmp_path / "kmsg"
    path.write_text(LOG)
    lines, not_told = card_lines(1000.0, path)
    assert not_told == ""
    assert lines[0] == LOST
    assert len(lines) == 2
    assert "\x1b" not in lines[1]
    assert card_lines(2000.0, path) == ((), "")


def test_a_log_that_may_not_be_read_says_so(tmp_path: Path) -> None:
    """A container has none; a restricted one refuses at the first record."""
    assert card_lines(0.0, tmp_path / "none") == (
        (),
        f"No such file or directory ({tmp_path / 'none'})",
    )


def test_the_log_is_read_as_the_kernel_gives_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Record by record, over one that was lost meanwhile, to the newest, without waiting."""
    answers: list[bytes | OSError] = [
        *(f"{line}\n".encode() for line in LOG.splitlines()[:2]),
        BrokenPipeError(errno.EPIPE, "lost"),
        f"{LOG.splitlines()[2]}\n".encode(),
        BlockingIOError(errno.EAGAIN, "no more"),
    ]

    def read(file: int, size: int) -> bytes:
        answer = answers.pop(0)
        if isinstance(answer, OSError):
            raise answer
        return answer

    path = tmp_path / "kmsg"
    path.write_text("")
    monkeypatch.setattr(os, "read", read)
    assert kernel_log.card_lines(1000.0, path) == ((LOST,), "")
    assert answers == []


def test_a_refusal_in_the_middle_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As kernel.dmesg_restrict does it."""
    path = tmp_path / "kmsg"
    path.write_text("")

    def read(file: int, size: int) -> bytes:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "read", read)
    assert card_lines(0.0, path) == ((), f"Operation not permitted ({path})")
