"""What ends pytest before m43 can speak is told before pytest is started, in a sentence each."""

import os
import runpy
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from m43.harness import pytest_start
from m43.harness.commands.checklist import start_items
from m43.harness.gates.venv import own_problems
from tests.unit.harness.conftest import REPOSITORY
from tests.unit.harness.copied_tree import CopiedTree

OUTDATED = "def pytest_pycollect_makemodule(path, parent):\n    return None\n"
HARMLESS = "def pytest_configure(config):\n    pass\n"
BROKEN = "import no_such_module_anywhere\n"


def started(tree: CopiedTree, **variables: str) -> subprocess.CompletedProcess[str]:
    """Do what `make rehearsal` does before it calls pytest."""
    return subprocess.run(
        [sys.executable, "-m", "m43.harness.pytest_start", "rehearsal"],
        cwd=tree.root,
        env=tree.environment(**variables),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def sentences(tree: CopiedTree, **variables: str) -> list[str]:
    """Give what it says; its exit status agrees, and nothing is left behind."""
    before = sorted(tree.root.rglob("*"))
    ended = started(tree, **variables)
    assert "Traceback" not in ended.stderr
    lines = ended.stderr.splitlines()
    assert ended.returncode == (4 if lines else 0), ended.stderr
    assert all(line.startswith("m43: found ") and ", expected " in line for line in lines)
    caches = {"__pycache__"}
    after = [path for path in sorted(tree.root.rglob("*")) if not caches & {*path.parts}]
    assert after == [path for path in before if not caches & {*path.parts}]
    return [line.removeprefix("m43: ") for line in lines]


def site(folder: Path, name: str, text: str) -> str:
    """Make a folder with a distribution that registers a plugin with pytest."""
    information = folder / f"{name}_dist-1.5.dist-info"
    information.mkdir(parents=True)
    (information / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {name}-dist\nVersion: 1.5\n"
    )
    (information / "entry_points.txt").write_text(f"[pytest11]\n{name} = {name}_module\n")
    (folder / f"{name}_module.py").write_text(text)
    return str(folder)


@pytest.mark.parametrize("text", [OUTDATED, HARMLESS, BROKEN], ids=["outdated", "fine", "broken"])
def test_a_plugin_on_pythonpath_is_named_once(
    copied_tree: CopiedTree, tmp_path: Path, text: str
) -> None:
    """Refused by pytest with a traceback, by m43 as a stranger, or not to be imported."""
    folder = site(tmp_path / "ros", "launch", text)
    (sentence,) = sentences(copied_tree, PYTHONPATH=folder)
    assert sentence.startswith(f"found the pytest plugin launch of launch-dist 1.5 in {folder}, ")
    assert sentence.endswith(": unset PYTHONPATH")


def test_several_plugins_are_all_named(copied_tree: CopiedTree, tmp_path: Path) -> None:
    """One correction suffices."""
    folders = [
        site(tmp_path / name, name, text) for name, text in (("a", OUTDATED), ("b", HARMLESS))
    ]
    told = sentences(copied_tree, PYTHONPATH=os.pathsep.join(folders))
    assert len(told) == 2
    assert "plugin a of" in told[0]
    assert "plugin b of" in told[1]


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        ({"PYTHONOPTIMIZE": "1"}, "found Python without asserts (-O or PYTHONOPTIMIZE)"),
        ({"PYTEST_ADDOPTS": "-k auth"}, "found -k, expected none"),
        ({"PYTEST_ADDOPTS": "--lf"}, "found --lf, expected none"),
        ({"PYTEST_ADDOPTS": "-p no:html"}, "found the pytest plugin 'html' switched off"),
        ({"PYTEST_ADDOPTS": "--no-such-option"}, "unrecognized arguments: --no-such-option"),
        ({"PYTEST_PLUGINS": "no_such_plugin"}, 'Error importing plugin "no_such_plugin"'),
        ({"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}, "unset PYTEST_DISABLE_PLUGIN_AUTOLOAD"),
        ({"PYTHONOPTIMIZE": "1", "PYTEST_ADDOPTS": "-W error"}, "PYTEST_ADDOPTS, PYTHONOPTIMIZE"),
    ],
)
def test_what_the_shell_asks_of_pytest_is_told_in_one_sentence(
    copied_tree: CopiedTree, variables: dict[str, str], told: str
) -> None:
    """In m43's words where pytest comes so far, else in pytest's, with the variables named."""
    (sentence,) = sentences(copied_tree, **variables)
    assert told in sentence


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"PYTHONWARNINGS": "error"},
        {"PYTEST_ADDOPTS": "-W error"},
        {"PYTHONSTARTUP": "/no/such/file"},
        {"PYTHONDONTWRITEBYTECODE": "1"},
    ],
)
def test_a_shell_that_stands_in_nobodys_way_is_told_nothing(
    copied_tree: CopiedTree, variables: dict[str, str]
) -> None:
    """Nothing is said, and make goes on."""
    assert sentences(copied_tree, **variables) == []


def test_files_above_the_checkout_stand_in_nobodys_way(copied_tree: CopiedTree) -> None:
    """Pytest reads the nearest pytest.ini, and no conftest above it."""
    above = copied_tree.root.parent
    (above / "pytest.ini").write_text("[pytest]\nno_such_option = 1\n")
    (above / "pyproject.toml").write_text("not TOML")
    (above / "conftest.py").write_text("raise RuntimeError('never read')\n")
    assert sentences(copied_tree) == []


def test_another_m43_on_pythonpath_is_not_the_one_that_runs(
    copied_tree: CopiedTree, tmp_path: Path
) -> None:
    """pytest.ini puts the checkout first."""
    other = tmp_path / "other" / "m43"
    other.mkdir(parents=True)
    (other / "__init__.py").write_text("raise RuntimeError('never imported')\n")
    assert sentences(copied_tree, PYTHONPATH=str(other.parent)) == []


def test_the_checklist_says_the_same(copied_tree: CopiedTree) -> None:
    """One item, NO or ok."""
    bad = copied_tree.environment(PYTHONOPTIMIZE="1")
    (item,) = start_items(copied_tree.root, "production", bad)
    assert (item.name, item.state) == ("pytest can start here", "NO")
    assert item.found.startswith("Python without asserts")
    (item,) = start_items(copied_tree.root, "production", copied_tree.environment())
    assert (item.state, item.found, item.action) == ("ok", "yes", "")


def test_a_pytest_that_never_ends_is_told_too(
    copied_tree: CopiedTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A conftest that waits for something."""
    monkeypatch.setattr(pytest_start, "_PATIENCE_S", 0.01)
    (sentence,) = pytest_start.start_problems(
        copied_tree.root, "rehearsal", copied_tree.environment()
    )
    assert "found a pytest that does not start" in sentence


def test_the_file_needs_the_standard_library_alone() -> None:
    """It must speak where nothing else does."""
    code = (
        "import sys; before = set(sys.modules); import m43.harness.pytest_start; "
        "new = {name.split('.')[0] for name in set(sys.modules) - before}; "
        "sys.exit(str(new - sys.stdlib_module_names - {'m43'} or ''))"
    )
    ended = subprocess.run(
        [sys.executable, "-S", "-c", code], cwd=REPOSITORY, capture_output=True, check=False
    )
    assert ended.stderr.strip() == b""


def test_make_looks_before_it_calls_pytest() -> None:
    """The rule of the rehearsal."""
    rule = (REPOSITORY / "Makefile").read_text().partition("\nrehearsal:")[2].partition("\n\n")[0]
    assert rule.index("m43.harness.pytest_start rehearsal") < rule.index("pytest acceptance")


def test_an_environment_without_m43s_packages_is_told_in_a_sentence() -> None:
    """Another pytest may be the first on the PATH; it would use up an attempt."""
    versions = {"pytest": "8.0", "packaging": "26", "rich": "14.1"}

    def version_of(name: str) -> str:
        if name not in versions:
            raise metadata.PackageNotFoundError(name)
        return versions[name]

    (sentence,) = own_problems(REPOSITORY / "pyproject.toml", version_of, "/other/env")
    assert "pytest 8.0 instead of <10,>=9" in sentence
    assert "no huggingface_hub" in sentence
    assert "rich" not in sentence
    assert "in /other/env, expected m43's own packages" in sentence
    assert own_problems(REPOSITORY / "pyproject.toml", metadata.version, sys.prefix) == ()


def test_an_older_python_is_told_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is imported that it cannot read."""
    monkeypatch.setattr(sys, "version_info", (3, 10, 9))
    with pytest.raises(pytest.UsageError, match=r"found Python 3\.10\.9 .*expected 3\.11 to 3\.14"):
        runpy.run_path(str(REPOSITORY / "conftest.py"))
