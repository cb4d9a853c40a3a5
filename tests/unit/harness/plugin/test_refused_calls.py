"""Every way that pytest offers to run something else than the contract, tried in a copy."""

import importlib.util
import marshal
import re
import subprocess
import sys
from pathlib import Path

import pluggy._result
import pytest
from _pytest.assertion import rewrite

from m43.harness.run import code_integrity
from tests.unit.harness.conftest import REPOSITORY
from tests.unit.harness.copied_tree import CopiedTree

# Replaces the gate that trains by one that does nothing, as soon as it is loaded.
SABOTAGE = """
from m43.harness.gates import gates
gates.pass_train = lambda attempt, progress: None
"""
# Judges twice whatever is collected, as pytest-repeat does.
REPEATER = """
def pytest_collection_modifyitems(items):
    items.extend(list(items))
"""


def refused(tree: CopiedTree, told: str, *arguments: str, **variables: str) -> None:
    """Call pytest, and see it refuse with a reason and without a trace."""
    result = tree.pytest(*(arguments or ("acceptance", "-m", "rehearsal")), **variables)
    assert result.returncode == 4, result.stdout + result.stderr
    assert "nothing was written for it" in result.stderr
    assert "Traceback" not in result.stdout + result.stderr
    assert told in result.stderr
    assert not tree.runs.exists()


def test_options_from_the_environment_are_options(copied_tree: CopiedTree) -> None:
    """PYTEST_ADDOPTS is read as if it had been typed; all that is wrong is told at once."""
    options = "-k auth --lf -p no:m43-stages --rootdir m43 -o python_files=x.py"
    result = copied_tree.pytest("acceptance", "-m", "rehearsal", PYTEST_ADDOPTS=options)
    assert result.returncode == 4
    assert not copied_tree.runs.exists()
    off = "the pytest plugin 'm43-stages' switched off"
    for told in ("-k,", "--lf,", "-o,", off, "the root"):
        assert f"found {told}" in result.stderr


@pytest.mark.parametrize("way", ["-p", "PYTEST_PLUGINS"])
def test_a_plugin_that_m43_does_not_know_is_refused(copied_tree: CopiedTree, way: str) -> None:
    """Whatever it does: repeat, reorder, or set outcomes."""
    (copied_tree.root / "stranger.py").write_text(REPEATER)
    arguments = ("acceptance", "-m", "rehearsal")
    path = {"PYTHONPATH": str(copied_tree.root)}
    told = "found the pytest plugin stranger, expected those only that m43 knows"
    if way == "-p":
        refused(copied_tree, told, *arguments, "-p", "stranger", **path)
    else:
        refused(copied_tree, told, PYTEST_PLUGINS="stranger", **path)


def test_a_module_that_only_has_the_name_of_a_known_plugin_is_refused(
    copied_tree: CopiedTree,
) -> None:
    """A known plugin is known by its place, beside pytest itself."""
    (copied_tree.root / "pytest_timeout.py").write_text(REPEATER)
    refused(
        copied_tree,
        "found the pytest plugin timeout (pytest_timeout)",
        PYTHONPATH=str(copied_tree.root),
    )


# Calls itself a module of pytest's own, in every way in which a module can.
PRETENDER = """
import sys, _pytest.main
sys.modules['_pytest.evil'] = sys.modules[__name__]
__name__ = '_pytest.evil'
{}
def pytest_collection_modifyitems(items):
    items.extend(list(items))
"""


@pytest.mark.parametrize(
    "also",
    ["", "del __file__", "__file__ = None", "__file__ = _pytest.main.__file__"],
)
def test_a_module_that_calls_itself_pytests_own_is_refused(
    copied_tree: CopiedTree, also: str
) -> None:
    """What counts is the wheel that brought its file, and that its hooks are of that file."""
    (copied_tree.root / "evil.py").write_text(PRETENDER.format(also))
    told = "found the pytest plugin evil (_pytest.evil), expected those only that m43 knows"
    path = {"PYTHONPATH": str(copied_tree.root)}
    refused(copied_tree, told, PYTEST_ADDOPTS="-p evil", **path)


def test_an_object_that_calls_itself_pytests_own_is_refused(copied_tree: CopiedTree) -> None:
    """A class can name any module as its own; it is looked for there."""
    conftest = copied_tree.root / "acceptance" / "conftest.py"
    hook = "class Session:\n    def pytest_collection_modifyitems(self, items): items += items\n"
    hook += "Session.__module__ = '_pytest.main'\n"
    hook += "def pytest_configure(config): config.pluginmanager.register(Session(), 'mine')\n"
    conftest.write_text(conftest.read_text() + hook)
    refused(copied_tree, "found the pytest plugin mine (_pytest.main)")


def test_a_module_at_the_root_of_the_checkout_is_refused(copied_tree: CopiedTree) -> None:
    """Python finds it before the one that is meant, also where it does what that one does."""
    real = "import pathlib, sysconfig\n"
    real += "exec(pathlib.Path(sysconfig.get_path('stdlib'), 'argparse.py').read_text())\n"
    (copied_tree.root / "argparse.py").write_text(real)
    refused(copied_tree, "found argparse (from argparse.py)")


@pytest.mark.parametrize("leaves", ["its module", "nothing"])
@pytest.mark.parametrize("name", ["sitecustomize", "usercustomize"])
def test_start_up_code_at_the_root_of_the_checkout_is_refused(
    copied_tree: CopiedTree, name: str, leaves: str
) -> None:
    """PYTHONPATH leads Python there before it runs pytest; a module may take itself out again."""
    code = "import sys\nsys.mine = 1\n"
    code += "del sys.modules[__name__]\n" if leaves == "nothing" else ""
    (copied_tree.root / f"{name}.py").write_text(code)
    refused(copied_tree, name, PYTHONPATH=".")


def test_a_conftest_above_the_repository_is_refused(copied_tree: CopiedTree) -> None:
    """With --confcutdir pytest would load it."""
    above = copied_tree.root.parent
    (above / "conftest.py").write_text(REPEATER)
    refused(copied_tree, "conftest.py", "acceptance", "-m", "rehearsal", "--confcutdir", str(above))


@pytest.mark.parametrize("way", ["link/acceptance", "link/acceptance/test_production.py"])
def test_a_call_through_a_link_is_the_same_call(copied_tree: CopiedTree, way: str) -> None:
    """From elsewhere, as a folder and as a file."""
    (copied_tree.root.parent / "link").symlink_to(copied_tree.root)
    elsewhere = copied_tree.root.parent / "elsewhere"
    elsewhere.mkdir()
    arguments = (str(elsewhere.parent / way), "-m", "rehearsal")
    result = subprocess.run(
        copied_tree.command(*arguments),
        cwd=elsewhere,
        env=copied_tree.environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "ACCEPTED" in result.stdout


def test_a_link_to_the_folder_alone_is_refused_in_a_sentence(copied_tree: CopiedTree) -> None:
    """Pytest then reads neither the ini file nor the conftest of the checkout."""
    (copied_tree.root.parent / "short").symlink_to(copied_tree.root / "acceptance")
    result = subprocess.run(
        copied_tree.command("short", "-m", "rehearsal"),
        cwd=copied_tree.root.parent,
        env=copied_tree.environment(PYTHONPATH=str(copied_tree.root)),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 4
    assert f"pytest {copied_tree.root}/acceptance -m rehearsal" in result.stderr
    assert not copied_tree.runs.exists()


@pytest.mark.parametrize("marker", ["rehearsal", "production"])
def test_a_call_without_a_folder_is_told_the_whole_command(
    copied_tree: CopiedTree, marker: str
) -> None:
    """pytest.ini's testpaths stand for it, which nobody typed."""
    (copied_tree.root / "tests" / "unit").mkdir(parents=True)
    told = f"found no folder, expected acceptance: pytest acceptance -m {marker}"
    refused(copied_tree, told, "-m", marker)


def test_a_checkout_with_other_line_ends_is_refused(copied_tree: CopiedTree) -> None:
    """Told before the first gate, where the toy would only have another revision."""
    tokenizer = copied_tree.root / "m43" / "rehearsal" / "tokenizer.json"
    tokenizer.write_bytes(tokenizer.read_bytes().replace(b"\n", b"\r\n"))
    told = "line ends were changed (LF to CRLF) in 1 file (m43/rehearsal/tokenizer.json) of this"
    refused(copied_tree, told)


def test_a_gate_that_a_conftest_replaced_is_refused_by_name(copied_tree: CopiedTree) -> None:
    """The functions in the process are held against m43's files before the first gate."""
    conftest = copied_tree.root / "acceptance" / "conftest.py"
    conftest.write_text(conftest.read_text() + SABOTAGE)
    refused(copied_tree, "found m43.harness.gates.gates.pass_train (other code")


def compile_as(source: Path, text: str, cached: Path) -> None:
    """Keep the compiled form of a text as if it were that of a source."""
    cached.parent.mkdir(parents=True, exist_ok=True)
    named = importlib.util.source_hash(source.read_bytes())
    code = marshal.dumps(compile(text, str(source), "exec"))
    cached.write_bytes(importlib.util.MAGIC_NUMBER + (3).to_bytes(4, "little") + named + code)


def test_compiled_code_that_is_not_the_sources_is_refused(
    copied_tree: CopiedTree, tmp_path: Path
) -> None:
    """Of a package that judges: no wheel recorded it, and Python runs it unseen."""
    source = Path(str(pluggy._result.__file__))
    cached = tmp_path / Path(*source.parts[1:]).with_suffix(f".{sys.implementation.cache_tag}.pyc")
    compile_as(source, f"{source.read_text()}\nmine = 1\n", cached)
    told = "found pluggy._result (compiled otherwise, "
    refused(copied_tree, told, PYTHONPYCACHEPREFIX=str(tmp_path))


def test_start_up_code_of_m43s_own_environment_is_refused(
    copied_tree: CopiedTree, tmp_path: Path
) -> None:
    """A line in a .pth leaves no module behind; that no wheel brought the file remains."""
    site = tmp_path / "lib" / "site-packages"
    site.mkdir(parents=True)
    (site / "mine.pth").write_text("import sys; sys.mine = 1\n")
    told = "found site-packages/mine.pth, expected what a wheel brought, as it brought it"
    refused(copied_tree, told, PYTHONPATH=str(site))


def test_a_contract_that_was_compiled_to_keep_everything_is_not_believed(
    copied_tree: CopiedTree,
) -> None:
    """The verdict holds every promise against the records once more, from the contract's text."""
    source = copied_tree.root / "acceptance" / "test_production.py"
    words = re.sub(r"(?m)^    assert .*(\n     +.*|\n    \))*$", "    pass", source.read_text())
    cached = source.parent / "__pycache__" / f"test_production{rewrite.PYC_TAIL}"
    compile_as(source, words, cached)
    refused(copied_tree, "test_production (compiled otherwise, ")


def test_another_ini_file_is_refused(copied_tree: CopiedTree) -> None:
    """What is collected stands in the one of the repository."""
    (copied_tree.root / "other.ini").write_text("[pytest]\npython_functions = test_auth_*\n")
    told = "found the ini file"
    refused(copied_tree, told, "acceptance", "-m", "rehearsal", "-c", "other.ini")


def test_asserts_that_are_switched_off_are_refused(copied_tree: CopiedTree) -> None:
    """Under -O every promise would be kept; m43 says so itself, in one sentence."""
    told = "found Python without asserts (-O or PYTHONOPTIMIZE), expected asserts: run without"
    for level in ("1", "2"):
        refused(copied_tree, told, PYTHONOPTIMIZE=level)


def test_a_gate_that_is_replaced_during_the_run_breaks_a_promise(
    copied_tree: CopiedTree,
) -> None:
    """After the first gate nothing is refused any more; the closing measures it instead."""
    late = "import pytest\n@pytest.fixture(autouse=True)\ndef sabotage(request):\n"
    late += "    if 'eval' in request.node.name:\n"
    late += "        from m43.harness.gates import gates\n        gates.pass_train = print\n"
    conftest = copied_tree.root / "acceptance" / "conftest.py"
    conftest.write_text(conftest.read_text() + late)
    result = copied_tree.pytest("acceptance", "-m", "rehearsal")
    (run,) = (path for path in copied_tree.runs.iterdir() if path.is_dir())
    assert result.returncode == 1, result.stdout + result.stderr
    assert "m43.harness.gates.gates.pass_train (builtin_function_or_method in its place)" in (
        run / "closing.json"
    ).read_text(encoding="utf-8")
    assert not (run / "m43_summary.md").exists()


def test_a_source_that_cannot_be_read_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be compared is not taken for equal."""
    module = sys.modules["m43.harness.run.code_integrity"]
    monkeypatch.setattr(code_integrity.Path, "read_bytes", _unreadable)
    found = code_integrity.foreign_code({module.__name__: module}, REPOSITORY / "m43", REPOSITORY)
    assert found == ("m43.harness.run.code_integrity (no source: gone)",)


def _unreadable(path: object) -> bytes:
    raise OSError("gone")
