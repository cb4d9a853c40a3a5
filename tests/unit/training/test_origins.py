"""The origins: every file that was imported is named, also one that is gone; no other is."""

import importlib
import json
import subprocess
import sys
import venv
from pathlib import Path
from types import ModuleType

import pytest

from m43.training.origins import origins

REPOSITORY = Path(__file__).parents[3]


def test_a_module_without_a_file_of_its_own_is_not_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Torch makes two such while it is imported; they would count as code that has changed."""
    made = ModuleType("made_in_memory")
    made.__file__ = "_of_no_folder.py"
    monkeypatch.setitem(sys.modules, made.__name__, made)
    assert not [path for path in origins().modules if "_of_no_folder" in path]


def test_what_was_put_there_without_an_import_is_named_where_it_has_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever executes a file by hand is told by it."""
    made = ModuleType("by_hand")
    made.__file__ = str(tmp_path / "by_hand.py")
    (tmp_path / "by_hand.py").touch()
    monkeypatch.setitem(sys.modules, made.__name__, made)
    assert made.__file__ in origins().modules


# What a child says of its start-up, in an environment in which Python runs it.
SAYS = (
    "import json; from m43.training.origins import origins; found = origins()\n"
    "print(json.dumps([found.startup, found.modules]))\n"
)


def test_start_up_files_that_were_run_are_named(tmp_path: Path) -> None:
    """By an interpreter that is not isolated: both modules, and what a .pth imported."""
    venv.create(tmp_path / "env", symlinks=True)
    (site,) = (tmp_path / "env" / "lib").glob("*/site-packages")
    # Debian's Python has a sitecustomize of its own, which comes before that of site-packages.
    first = tmp_path / "first"
    first.mkdir()
    for folder, name in ((first, "sitecustomize"), (site, "usercustomize"), (site, "by_a_line")):
        (folder / f"{name}.py").write_text("")
    interpreter = tmp_path / "env" / "bin" / "python"

    def said() -> tuple[list[str], list[str]]:
        done = subprocess.run(
            [interpreter, "-c", SAYS],
            env={"PYTHONPATH": f"{first}:{REPOSITORY}"},
            capture_output=True,
            check=True,
        )
        startup, modules = json.loads(done.stdout)
        here = (Path(file) for file in modules if file.startswith(str(tmp_path)))
        return startup, sorted(file.stem for file in here)

    assert said() == (["sitecustomize"], ["sitecustomize"])
    (site / "first.pth").write_text("import by_a_line, usercustomize\n")
    names = ["by_a_line", "sitecustomize", "usercustomize"]
    assert said() == (names[1:], names)


def test_a_module_whose_file_is_gone_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was run; that it cannot be read any more is for the parent to say."""
    file = tmp_path / "module_that_goes.py"
    file.touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    module = importlib.import_module(file.stem)
    monkeypatch.setitem(sys.modules, file.stem, module)
    file.unlink()
    assert str(file) in origins().modules
