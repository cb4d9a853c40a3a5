"""The command `m43 checklist`: it looks, says what it saw, and whether a run could start."""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TextIO

from m43 import config, typed_json
from m43.evidence.contract import read_contract
from m43.evidence.summary_template import summary_template
from m43.harness.checklist_page import page
from m43.harness.checklist_screen import show
from m43.harness.opening import contract_path
from m43.harness.preflight import look
from m43.profile import Profile, RunTable


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
    profile = _profile(path, run)
    with _patience(stream):
        found = look(profile, path, repository, os.environ)
    if as_json:
        stream.write(typed_json.dump(found))
    else:
        show(page(found), stream)
    return 0 if found.ready else 1


def template(path: Path, run: str, repository: Path, stream: TextIO) -> int:
    """Write what the summary of an accepted run under this profile will look like.

    Raises: ProfileError, ContractError.
    """
    contract = read_contract(contract_path(repository))
    stream.write(summary_template(_profile(path, run), contract))
    return 0


def _profile(path: Path, run: str) -> Profile:
    profile = config.load(path)
    return replace(profile, run=RunTable(name=run)) if run else profile


@contextlib.contextmanager
def _patience(stream: TextIO) -> Iterator[None]:
    """Show a person that something is going on; some seconds without a word look like a fault."""
    if not stream.isatty():
        yield
        return
    from rich.console import Console

    with Console(file=stream).status("looking at the hub, the environment and the rows"):
        yield
