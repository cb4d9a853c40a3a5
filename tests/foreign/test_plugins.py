"""Plugins that run tests side by side, again, or in another order: installed, and refused.

They live in an environment of their own (`make foreign`): where one is installed, pytest loads it
for every call.
"""

import re
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.unit.harness.copied_tree import CopiedTree, copy_tree

REPOSITORY = Path(__file__).resolve().parents[2]
RUN = ("acceptance", "-m", "rehearsal")
# By the names that pytest gives them: what is installed for each.
DISTRIBUTIONS = {
    "xdist": "pytest-xdist",
    "rerunfailures": "pytest-rerunfailures",
    "randomly": "pytest-randomly",
    "pytest_order": "pytest-order",
    "repeat": "pytest-repeat",
}
# How a person would use each, and what m43 calls that.
USES = (
    ("xdist", ("-n", "2"), "-n (xdist)"),
    ("xdist", ("-n", "0"), "the pytest plugin xdist"),
    ("xdist", ("--dist", "loadfile"), "--dist (xdist)"),
    ("xdist", ("--tx", "2*popen"), "--tx (xdist)"),
    ("rerunfailures", ("--reruns", "2"), "--reruns"),
    ("randomly", ("-p", "randomly"), "the pytest plugin randomly"),
    ("randomly", ("--randomly-seed", "3"), "the pytest plugin randomly"),
    ("pytest_order", ("--order-scope", "module"), "the pytest plugin pytest_order"),
    ("repeat", ("--count", "2"), "--count (repeat)"),
)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> CopiedTree:
    """Copy the repository, once: what is refused leaves it as it was."""
    return copy_tree(REPOSITORY, tmp_path_factory.mktemp("foreign") / "repository")


def refusal(tree: CopiedTree, plugin: str, *arguments: str) -> str:
    """Call pytest with one plugin, see it refuse and leave nothing, and give its words."""
    others = [word for name in DISTRIBUTIONS if name != plugin for word in ("-p", f"no:{name}")]
    result = tree.pytest(*RUN, *others, *arguments)
    assert result.returncode == 4, result.stdout + result.stderr
    assert "nothing was written for it" in result.stderr
    assert "Traceback" not in result.stderr
    assert not tree.runs.exists()
    return result.stderr


@pytest.mark.parametrize("plugin", DISTRIBUTIONS)
def test_a_plugin_that_is_only_installed_is_refused_by_name(tree: CopiedTree, plugin: str) -> None:
    """It need not be asked for to change what a run is; how to leave it away is said."""
    assert version(DISTRIBUTIONS[plugin])
    told = refusal(tree, plugin)
    assert f"found the pytest plugin {plugin}" in told
    assert f"-p no:{plugin}" in told


@pytest.mark.parametrize(("plugin", "options", "name"), USES)
def test_the_use_of_a_plugin_is_refused_by_the_name_of_its_option(
    tree: CopiedTree, plugin: str, options: tuple[str, ...], name: str
) -> None:
    """As it was typed, beside the plugin itself."""
    assert f"found {name}" in refusal(tree, plugin, *options)


def test_all_of_them_at_once_are_all_named(tree: CopiedTree) -> None:
    """One correction suffices: the command that was meant then only looks."""
    result = tree.pytest(*RUN, "-n", "2", "--reruns", "1")
    named = set(re.findall(r"found the pytest plugin (\w+)", result.stderr))
    assert result.returncode == 4
    assert set(DISTRIBUTIONS) <= named
    away = [word for name in named for word in ("-p", f"no:{name}")]
    looked = tree.pytest(*RUN, *away, "--collect-only", "-q")
    assert looked.returncode == 0, looked.stdout + looked.stderr
