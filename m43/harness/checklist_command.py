"""The command `m43 checklist`: it looks, says what it saw, and whether a run could start."""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TextIO

from m43 import config, typed_json
from m43.config import RunTable
from m43.harness.checklist_page import page
from m43.harness.checklist_screen import show
from m43.harness.preflight import look


def checklist(
    path: Path, run: str, repository: Path, stream: TextIO, *, as_json: bool = False
) -> int:
    """Look at everything and write the page, or the record; give the exit status.

    Args:
        path: The profile.
        run: The name of the run folder; empty for the profile's own.
        repository: The working tree.
        stream: Where it is written; in colour if that is a terminal.
        as_json: For machines.

    Raises: ProfileError.
    """
    profile = config.load(path)
    if run:
        profile = replace(profile, run=RunTable(name=run))
    with _patience(stream):
        found = look(profile, path, repository, os.environ)
    if as_json:
        stream.write(typed_json.dump(found))
    else:
        show(page(found), stream)
    return 0 if found.ready else 1


@contextlib.contextmanager
def _patience(stream: TextIO) -> Iterator[None]:
    """Show a person that something is going on; some seconds without a word look like a fault."""
    if not stream.isatty():
        yield
        return
    from rich.console import Console

    with Console(file=stream).status("looking at the hub, the environment and the rows"):
        yield
