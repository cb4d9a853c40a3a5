"""Only a regular file of a size that can be meant is read whole."""

import os
from pathlib import Path

import pytest

from m43.files import UnfitFileError, read_whole


def test_a_file_is_read_up_to_the_limit(tmp_path: Path) -> None:
    """The limit itself is allowed; one byte more is not."""
    path = tmp_path / "file"
    path.write_bytes(b"12345")

    assert read_whole(path, 5) == b"12345"
    with pytest.raises(UnfitFileError, match="more than 4 bytes"):
        read_whole(path, 4)


def test_a_link_is_followed(tmp_path: Path) -> None:
    """The cache of Hugging Face consists of links."""
    (tmp_path / "file").write_bytes(b"x")
    (tmp_path / "link").symlink_to("file")

    assert read_whole(tmp_path / "link", 1) == b"x"


def test_a_pipe_does_not_make_anybody_wait(tmp_path: Path) -> None:
    """Nobody writes to it, and reading it would never end."""
    os.mkfifo(tmp_path / "pipe")

    with pytest.raises(UnfitFileError, match="not a regular file"):
        read_whole(tmp_path / "pipe", 5)


def test_a_device_without_end_is_not_read() -> None:
    """Its size is 0, as that of an empty file."""
    with pytest.raises(UnfitFileError, match="not a regular file"):
        read_whole(Path("/dev/zero"), 5)


def test_a_folder_is_not_read(tmp_path: Path) -> None:
    """It opens, and holds no bytes."""
    with pytest.raises(UnfitFileError, match="not a regular file"):
        read_whole(tmp_path, 5)


def test_what_cannot_be_opened_is_an_error_of_the_system(tmp_path: Path) -> None:
    """It comes as open reports it."""
    (tmp_path / "circle").symlink_to("circle")

    for path in (tmp_path / "circle", tmp_path / "nothing"):
        with pytest.raises(OSError, match=str(path)):
            read_whole(path, 5)
