"""The hold: one writer at a time, and none after its process has died."""

import errno
import fcntl
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from m43.files import FileLock, HeldError, is_held, one_at_a_time, written_together

TAKE = (
    "import sys, time; from pathlib import Path; from m43.files import FileLock; "
    "hold = FileLock.take(Path(sys.argv[1])); print('held', flush=True); time.sleep(60)"
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Give a file to hold."""
    (tmp_path / "journal.jsonl").write_text("")
    return tmp_path / "journal.jsonl"


def test_a_file_is_held_once(path: Path) -> None:
    """Not even another part of the same process gets it as well."""
    hold = FileLock.take(path)
    with pytest.raises(HeldError, match="still writes it"):
        FileLock.take(path)
    hold.release()
    hold.release()
    FileLock.take(path).release()


def test_whether_a_file_is_held_can_be_seen_without_writing(path: Path) -> None:
    """Also in a folder of another person's, and as often as one likes."""
    path.chmod(0o444)
    assert not is_held(path)
    assert not is_held(path)
    hold = FileLock.take(path)
    assert is_held(path)
    hold.release()
    assert not is_held(path)


def test_who_only_looks_keeps_nobody_out(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A checklist at the very moment at which a run begins: the run looks again."""
    looking = path.open()
    fcntl.flock(looking, fcntl.LOCK_SH)
    monkeypatch.setattr(time, "sleep", lambda seconds: looking.close())
    FileLock.take(path).release()


def test_what_dies_holds_nothing(path: Path) -> None:
    """SIGKILL needs no cleaning up, so what was cut off can be told from what runs."""
    process = subprocess.Popen(
        [sys.executable, "-c", TAKE, str(path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "held\n"
        with pytest.raises(HeldError):
            FileLock.take(path)
    finally:
        process.kill()
        process.communicate()
    FileLock.take(path).release()


def test_two_wait_for_each_other(tmp_path: Path) -> None:
    """The ledger's lines follow each other, also when two runs begin at once."""
    order: list[str] = []

    def inside(name: str) -> None:
        with one_at_a_time(tmp_path / "runs" / "attempts.jsonl"):
            order.append(f"{name} in")
            time.sleep(0.05)
            order.append(f"{name} out")

    threads = [threading.Thread(target=inside, args=(name,)) for name in ("a", "b")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [text.split()[1] for text in order] == ["in", "out", "in", "out"]
    assert [text.split()[0] for text in order[::2]] == [text.split()[0] for text in order[1::2]]


def test_several_write_into_one_file_and_none_has_it_alone(tmp_path: Path) -> None:
    """Each holds it shared for as long as it writes, at bytes of its own."""
    path = tmp_path / "file"
    path.write_bytes(bytes(4))
    with written_together(path) as one, written_together(path) as two:
        os.pwrite(one, b"1", 0)
        os.pwrite(two, b"2", 2)
        with pytest.raises(HeldError):
            FileLock.take(path)
    assert path.read_bytes() == b"1\x002\x00"
    FileLock.take(path).release()


def test_a_file_that_cannot_be_locked_is_written_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some shared file systems know no locks."""

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    path = tmp_path / "file"
    path.write_bytes(bytes(2))
    with written_together(path) as descriptor:
        os.pwrite(descriptor, b"1", 1)
    assert path.read_bytes() == b"\x001"
