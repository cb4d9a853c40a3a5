"""A repository of somebody's is made ready by what is added to it, and by nothing else."""

import io
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from m43.errors import M43Error
from m43.harness.commands.init import NotReadyError, init
from tests.unit.harness.carried import install

LINE = 'pytest_plugins = ["m43.harness.plugin.plugin"]\n'
INI = """\
[pytest]
generate_report_on_test = true
initial_sort = original
render_collapsed = passed,skipped
markers =
    production: the contract, for the run itself
    rehearsal: the contract, on a toy Gemma
"""


class Terminal(io.StringIO):
    """Where a person answers."""

    def isatty(self) -> bool:
        """Say that somebody is there."""
        return True


@pytest.fixture
def carried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Install m43."""
    return install(tmp_path / "site-packages", monkeypatch)


@pytest.fixture
def tree(tmp_path: Path, carried: Path) -> Path:
    """Make an empty folder."""
    tree = tmp_path / "tree"
    tree.mkdir()
    return tree


def called(tree: Path, answers: io.StringIO | None = None, *, yes: bool = True) -> tuple[int, str]:
    """Call the command; return its status and what it showed."""
    out = io.StringIO()
    return init(tree, answers or io.StringIO(), out, yes=yes), out.getvalue()


def texts(tree: Path) -> Mapping[str, bytes]:
    """Read every file of a tree."""
    return {
        path.relative_to(tree).as_posix(): path.read_bytes()
        for path in tree.rglob("*")
        if path.is_file() and ".git" not in path.parts
    }


def test_an_empty_folder_gets_everything_byte_for_byte(tree: Path, carried: Path) -> None:
    """The contract of the wheel, its conftest, and of pytest.ini what a run needs."""
    status, shown = called(tree)
    assert status == 0
    brought = {name: data for name, data in texts(carried).items() if name != "pyproject.toml"}
    assert texts(tree) == {**brought, "pytest.ini": INI.encode()}
    assert "\n+[pytest]\n+generate_report_on_test = true\n" in shown
    assert "pytest without a folder stops at acceptance/ now" in shown
    next_words = shown[shown.index("next\n") :]
    assert called(tree, yes=False) == (0, f"nothing is missing here\n{next_words}")


def test_a_folder_without_git_is_told_that_no_commit_will_be_named(tree: Path) -> None:
    """A run works there; what it was made with cannot be told later."""
    _, shown = called(tree)
    assert "this folder is in no git repository" in shown
    subprocess.run(["git", "init", "--quiet"], cwd=tree, check=True)
    assert "git" not in called(tree)[1]


@pytest.mark.parametrize(
    ("answers", "written"),
    [
        (io.StringIO("y\n"), False),
        (Terminal("\n"), False),
        (Terminal("n\n"), False),
        (Terminal("y\n"), True),
        (Terminal("YES\n"), True),
    ],
)
def test_it_is_written_when_a_person_says_so(
    tree: Path, answers: io.StringIO, *, written: bool
) -> None:
    """At a terminal, by an answer; a pipe is nobody."""
    status, shown = called(tree, answers, yes=False)
    assert bool(texts(tree)) is written
    assert status == (0 if written else 1)
    assert ("`python -m m43 init --yes` writes it" in shown) is not written


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        ("conftest.py", "import pytest\n\n\n", f"import pytest\n\n{LINE}"),
        ("conftest.py", "x = 1\r\n", f"x = 1\r\n\r\n{LINE}".replace("]\n", "]\r\n")),
        ("conftest.py", "", LINE),
        ("conftest.py", f"x = 1\n{LINE}", f"x = 1\n{LINE}"),
        ("conftest.py", LINE.replace("[", '["a", '), LINE.replace("[", '["a", ')),
        ("pytest.ini", "[pytest]\naddopts = -q\n", f"{INI}addopts = -q\n"),
        ("pytest.ini", "; mine\n[pytest]\n", f"; mine\n{INI}"),
        ("pytest.ini", "[other]\na = 1\n", f"[other]\na = 1\n\n{INI}"),
        ("pytest.ini", INI.replace("\n", "\r\n"), INI.replace("\n", "\r\n")),
        (
            "pytest.ini",
            "[pytest]\nmarkers =\n    slow: takes long\n    rehearsal: mine\naddopts = -q\n",
            INI.replace("    rehearsal: the contract, on a toy Gemma\n", "")
            + "    slow: takes long\n    rehearsal: mine\naddopts = -q\n",
        ),
    ],
)
def test_a_file_that_is_there_keeps_its_lines(
    tree: Path, name: str, before: str, after: str
) -> None:
    """Lines come in between or at the end, with the ends that its lines have."""
    (tree / name).write_bytes(before.encode())
    (tree / name).chmod(0o755)
    called(tree)
    assert (tree / name).read_bytes().decode() == after
    assert (tree / name).stat().st_mode & 0o777 == 0o755
    assert called(tree, yes=False)[0] == 0


def test_tests_of_ones_own_are_found_as_before(tree: Path) -> None:
    """Where pytest had no settings, it looked through the whole tree."""
    (tree / "tests").mkdir()
    _, shown = called(tree)
    assert "\ntestpaths = tests\n" in (tree / "pytest.ini").read_text()
    assert "pytest without a folder" not in shown


def test_a_contract_that_was_changed_stays_as_it_is(tree: Path) -> None:
    """What is missing of it comes back; what differs is somebody's own."""
    called(tree)
    profile = tree / "acceptance" / "production.toml"
    profile.write_text("mine")
    (tree / "acceptance" / "lies.py").unlink()
    _, shown = called(tree)
    assert shown.startswith("new file acceptance/lies.py, ")
    assert "\nwritten: 1 file\n" in shown
    assert profile.read_text() == "mine"


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("pyproject.toml", "[tool.pytest.ini_options]\n", "settings of pytest in pyproject.toml"),
        ("tox.ini", "[pytest]\n", "settings of pytest in tox.ini"),
        ("setup.cfg", "[tool:pytest]\n", "settings of pytest in setup.cfg"),
        (".pytest.ini", "", "settings of pytest in .pytest.ini"),
        ("pytest.toml", "", "settings of pytest in pytest.toml"),
        (
            "pytest.ini",
            "[pytest]\ninitial_sort = result\n",
            "found initial_sort = result, expected",
        ),
        ("pytest.ini", "no section\n", "found pytest.ini:1: "),
        ("conftest.py", "def (\n", "expected Python that can be read"),
        ("conftest.py", "def pytest_configure(): ...\n", "found hooks (pytest_configure)"),
        ("conftest.py", 'pytest_plugins = ["a"]\n', "found pytest_plugins without that of m43"),
        ("conftest.py", "pytest_plugins = named()\n", "found pytest_plugins without that of m43"),
        ("conftest.py", "\xff", "codec can't decode"),
        ("acceptance/test_login.py", "", "found a folder acceptance without"),
    ],
)
def test_where_additions_are_not_enough_it_is_refused_in_a_sentence(
    tree: Path, name: str, text: str, told: str
) -> None:
    """Before anything is written, and with what to do."""
    (tree / name).parent.mkdir(exist_ok=True)
    (tree / name).write_bytes(text.encode("latin-1"))
    before = texts(tree)
    with pytest.raises(M43Error) as refused:
        called(tree)
    (line,) = refused.value.lines
    assert told in line
    assert texts(tree) == before


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("pyproject.toml", "[project]\nname = 'x'\n"),
        ("pyproject.toml", "["),
        ("tox.ini", "[tox]\n"),
    ],
)
def test_files_without_settings_of_pytest_are_nobodys_business(
    tree: Path, name: str, text: str
) -> None:
    """Nor are those that cannot be read."""
    (tree / name).write_text(text)
    assert called(tree)[0] == 0


def test_a_folder_within_a_repository_is_refused(tree: Path) -> None:
    """A run digests the tree that it is in: not a part of it."""
    subprocess.run(["git", "init", "--quiet", str(tree)], check=True)
    inner = tree / "inner"
    inner.mkdir()
    with pytest.raises(NotReadyError, match="found a folder within the repository"):
        called(inner)
    assert called(tree)[0] == 0


def test_the_m43_of_a_checkout_is_refused(tmp_path: Path) -> None:
    """It would take its own checkout for the tree."""
    with pytest.raises(NotReadyError, match="found the m43 of the checkout"):
        called(tmp_path)
