"""In m43's own tests every warning is an error, although a run only notes them."""

import shutil
from pathlib import Path

import pytest

from tests.unit.harness.copied_tree import CopiedTree, copy_tree

REPOSITORY = Path(__file__).resolve().parents[2]
WARN = "import warnings\nwarnings.warn('old', DeprecationWarning, stacklevel=1)\n"
TEST = "import warnings\ndef test_it():\n    warnings.warn('old', FutureWarning, stacklevel=1)\n"
QUIET = "def test_it():\n    pass\n"
FIXTURE = (
    "import threading, pytest, warnings\n@pytest.fixture(autouse=True)\ndef late():\n    yield\n"
    "    warnings.warn('old', PendingDeprecationWarning, stacklevel=1)\n"
)


@pytest.fixture
def tree(tmp_path: Path) -> CopiedTree:
    """Copy the repository with its tests' conftest, and no test."""
    tree = copy_tree(REPOSITORY, tmp_path / "repository")
    (tree.root / "tests" / "unit" / "part").mkdir(parents=True)
    shutil.copy2(REPOSITORY / "tests" / "conftest.py", tree.root / "tests")
    return tree


@pytest.mark.parametrize("folder", ["unit", "faults", "parity"])
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("test_it.py", TEST),
        ("test_it.py", WARN + QUIET),
        ("conftest.py", WARN),
        ("conftest.py", FIXTURE),
    ],
)
def test_a_warning_anywhere_in_the_tests_is_an_error(
    tree: CopiedTree, folder: str, name: str, text: str
) -> None:
    """In a test, in what is imported for it, in a conftest below, in a fixture that ends."""
    part = tree.root / "tests" / folder / "part"
    part.mkdir(parents=True, exist_ok=True)
    (part / "test_it.py").write_text(QUIET)
    (part / name).write_text(text)
    for arguments in ((f"tests/{folder}",), (f"tests/{folder}/part/test_it.py",)):
        result = tree.pytest(*arguments)
        assert result.returncode != 0, result.stdout
        assert "Warning: old" in result.stdout + result.stderr


def test_tests_that_do_not_warn_pass(tree: CopiedTree) -> None:
    """The copy itself gives no warning, so that the errors above are those of the warnings."""
    (tree.root / "tests" / "unit" / "part" / "test_it.py").write_text(QUIET)
    assert tree.pytest("tests/unit").returncode == 0
    assert tree.pytest().returncode == 0
