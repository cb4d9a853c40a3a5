"""Namespaces or nothing; the toy that is served; a checkout; what the quick half leaves out."""

import compileall
from pathlib import Path

import pytest

from m43.rehearsal.toy_gemma import write_toy_gemma
from m43.rehearsal.world import new_token
from tests.faults.tree import FaultTree, copy_parts
from tests.world.circumstances import BAD, GOOD
from tests.world.engineer import Engineer
from tests.world.namespace import REPOSITORY, require_namespaces

_HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A world takes as long as its runs; the unit tests' limit is not meant for it."""
    for item in items:
        if item.path.parent == _HERE and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(900))


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """List what the quick half leaves out: nobody shall think that it was tried."""
    if config.getoption("-m") == "quick":
        terminalreporter.section("worlds that the quick half leaves out")
        for world in (*GOOD, *BAD):
            if not world.quick:
                terminalreporter.write_line(f"  {world.name}")
        terminalreporter.write_line("  the run with the child that really trains")
        terminalreporter.write_line("  the forged worlds, in which neither card nor model is there")


@pytest.fixture(scope="session")
def namespaces() -> None:
    """Fail, and never skip, where a world cannot be made."""
    require_namespaces()


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the toy that is served under the hub's real name."""
    folder = tmp_path_factory.mktemp("served") / "model"
    write_toy_gemma(folder)
    return folder


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy what a run needs once, and compile it: each child of each world would."""
    folder = tmp_path_factory.mktemp("prepared") / "repository"
    copy_parts(REPOSITORY, folder)
    assert compileall.compile_dir(folder / "m43", quiet=1)
    return folder


@pytest.fixture
def engineer(namespaces: None, prepared: Path, tmp_path: Path, model: Path) -> Engineer:
    """Give somebody who has just cloned the repository."""
    root = tmp_path / "repository"
    copy_parts(prepared, root)
    return Engineer(tree=FaultTree(root=root), folder=tmp_path, model=model, token=new_token())
