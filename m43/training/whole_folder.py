"""A folder that is there whole or not at all, also after a full disk or a power cut."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from m43.errors import FailureClass, M43Error


class ModelFolderError(M43Error):
    """A model that cannot be written where it was asked for."""

    failure_class = FailureClass.HARNESS_ERROR


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """Give a folder under another name, and rename it when it is whole and on the disk.

    Raises:
        ModelFolderError: if there is something in the folder already.
    """
    if folder.exists() and any(folder.iterdir()):
        raise ModelFolderError(
            found="a folder with files in it",
            expected="no folder, or an empty one",
            where=str(folder),
            action="name a folder that is not there",
        )
    partial = folder.with_name(f".{folder.name}.partial")
    if partial.exists():
        shutil.rmtree(partial)
    partial.mkdir(parents=True)
    try:
        yield partial
        for path in (*partial.iterdir(), partial):
            _flush(path)
    except BaseException:
        # A full disk is the likely cause: what is half written only takes more of it.
        shutil.rmtree(partial, ignore_errors=True)
        raise
    partial.replace(folder)
    _flush(folder.parent)


def _flush(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk and not in a cache."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
