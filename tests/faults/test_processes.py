"""A user who may have few processes: the limit is real, and another user's, as root has none."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.faults import matrix
from tests.faults.conftest import Starter
from tests.faults.matrix import Case
from tests.faults.remains import examine
from tests.faults.small_disk import NotAllowedError
from tests.faults.tree import FaultTree, copy_tree

# Nobody's, so that nothing else counts against its limit.
_USER = 54_321
# The interpreter may lie where only root may read; no other right goes along.
_READS = "+dac_override,+dac_read_search"


@pytest.fixture
def tree(prepared: Path) -> Iterator[FaultTree]:
    """Copy the repository to where another user may go; pytest's own folders are shut to them."""
    with TemporaryDirectory(prefix="m43-few-") as folder:
        Path(folder).chmod(0o755)
        yield copy_tree(prepared, Path(folder) / "repository")


def limited(tree: FaultTree, number: int) -> tuple[str, ...]:
    """Begin a command line as a user who is allowed so many processes, and owns the tree.

    Raises: NotAllowedError.
    """
    for path in (tree.root, *tree.root.rglob("*")):
        os.chown(path, _USER, _USER, follow_symlinks=False)
    user = (f"--reuid={_USER}", f"--regid={_USER}", "--clear-groups")
    rights = (f"--inh-caps={_READS}", f"--ambient-caps={_READS}")
    words = ("setpriv", *user, *rights, "prlimit", f"--nproc={number}")
    tried = subprocess.run([*words, "true"], capture_output=True, text=True, check=False)
    if tried.returncode:
        raise NotAllowedError(f"found {tried.stderr.strip()}, expected root, to become another")
    return words


@pytest.mark.parametrize("case", matrix.PROCESSES, ids=lambda case: case.id)
def test_too_few_processes_are_named_at_the_first_gate(begin: Starter, case: Case) -> None:
    """By the run itself, called directly, in the words of the limit and without a traceback."""
    number = int(case.fault.partition(" ")[0])
    rehearsal = begin(before=limited(begin.tree, number))
    status = rehearsal.end()
    assert "Traceback" not in rehearsal.text()
    assert "OpenBLAS" not in rehearsal.text()
    matrix.enter(case, examine(rehearsal, status))


def test_a_pytest_that_cannot_be_started_for_want_of_processes_is_told(tree: FaultTree) -> None:
    """By make, before it calls pytest: a single process may start no other."""
    words = [sys.executable, "-m", "m43.harness.pytest_start", "rehearsal"]
    ended = subprocess.run(
        [*limited(tree, 1), *words], cwd=tree.root, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 4
    (line,) = ended.stderr.splitlines()
    assert line.startswith("m43: found no further process or thread allowed, expected ")
    assert "ulimit -u" in line
