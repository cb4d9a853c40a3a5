"""The command `m43 init`: what a repository of somebody's lacks for a run in it.

It only adds: a file that is there keeps every line that it has, and so does a contract.
"""

import difflib
import tomllib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from iniconfig import IniConfig

from m43.errors import M43Error
from m43.evidence.contract import M43, contract_path, home, is_installed, package
from m43.evidence.verify import git
from m43.harness.pytest_files import CONFTEST, INI, with_plugin, with_settings
from m43.text import counted

# Where else pytest looks for settings, and the table of them there. Each of the first two takes
# the place of a pytest.ini; a pytest.ini would take the place of each of the others.
_BEFORE = ("pytest.toml", ".pytest.toml")
_AFTER = {
    ".pytest.ini": "pytest",
    "pyproject.toml": "pytest",
    "tox.ini": "pytest",
    "setup.cfg": "tool:pytest",
}
_NEXT = """\
next
  pytest acceptance -m rehearsal     all four gates on a toy Gemma, on this machine's CPU
  python -m m43 checklist            could production start here?
"""
_NO_COMMIT = """\
this folder is in no git repository: the documents of a run will name no commit of it, and nobody
can tell later what it was made with; git init and commit first
"""
_ALONE = f"""\
pytest without a folder stops at {M43}/ now; testpaths in {INI} names the tests that it is to run
"""


class NotReadyError(M43Error):
    """A repository that files and lines alone do not make ready."""


@dataclass(frozen=True, kw_only=True)
class Addition:
    """A file that is made, or one that lines are added to; both texts with the lines' own ends."""

    name: str
    before: bytes | None  # None where there is no file
    after: bytes

    def __str__(self) -> str:
        if self.before is None and self.name.startswith(f"{M43}/"):
            return f"new file {self.name}, {len(self.after):,} bytes, as m43 brings it\n"
        old, new = ((data or b"").decode().splitlines() for data in (self.before, self.after))
        source = "/dev/null" if self.before is None else f"a/{self.name}"
        lines = difflib.unified_diff(old, new, source, f"b/{self.name}", lineterm="")
        return "".join(f"{line}\n" for line in lines)


def init(tree: Path, answers: TextIO, out: TextIO, *, yes: bool = False) -> int:
    """Show what is missing in a tree, and write it if that is wanted.

    Args:
        tree: The top of a repository, or a folder that is in none.
        answers: Where a person answers, if it is a terminal.
        out: Where it is shown.
        yes: Write it without asking.

    Returns: 0 if nothing is missing now, 1 if something is.

    Raises: NotReadyError, OtherSettingsError; nothing is written then.
    """
    _require_place(tree)
    _require_settings(tree)
    try:
        additions = tuple(_additions(tree))
        for addition in additions:
            out.write(str(addition))
        if not additions:
            out.write("nothing is missing here\n")
        elif not (yes or _wanted(answers, out)):
            out.write("nothing was written; `python -m m43 init --yes` writes it\n")
            return 1
        for addition in additions:
            path = tree / addition.name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(addition.after)
    except (OSError, UnicodeDecodeError) as error:
        action = "mend that, and call it again: it writes what is missing then"
        raise _refused(str(error), "files that can be read and written", tree, action) from None
    if additions:
        out.write(f"written: {counted(len(additions), 'file')}\n")
    out.write(_NEXT)
    if not _top(tree):
        out.write(_NO_COMMIT)
    if "testpaths" not in IniConfig(INI, data=(tree / INI).read_text(encoding="utf-8"))["pytest"]:
        out.write(_ALONE)
    return 0


def _wanted(answers: TextIO, out: TextIO) -> bool:
    if not answers.isatty():
        return False
    out.write("write this? [y/N] ")
    out.flush()
    return answers.readline().strip().lower() in ("y", "yes")


def _additions(tree: Path) -> Iterator[Addition]:
    m43 = home(tree)
    for path in sorted((m43 / M43).rglob("*")):
        name = path.relative_to(m43).as_posix()
        # What a person changed is theirs: `m43 verify` says in what it is not the M43 contract.
        if path.is_file() and "__pycache__" not in path.parts and not (tree / name).exists():
            yield Addition(name=name, before=None, after=path.read_bytes())
    for name in (CONFTEST, INI):
        before = (tree / name).read_bytes() if (tree / name).exists() else None
        text = (m43 / name).read_text(encoding="utf-8")
        if name == INI:
            fresh = b"[pytest]\ntestpaths = tests\n" if (tree / "tests").is_dir() else b""
            made = with_settings((fresh if before is None else before).decode(), text)
        else:
            made = text if before is None else with_plugin(before.decode())
        if made.encode() != before:
            yield Addition(name=name, before=before, after=made.encode())


def _top(tree: Path) -> str:
    """Return the top of the repository that a folder lies in; empty where there is none."""
    return (git(tree, "rev-parse", "--show-toplevel") or b"").decode(errors="replace").strip()


def _require_place(tree: Path) -> None:
    """Refuse a tree in which no run could be made, or in which it would not see all of it."""
    if not is_installed():
        raise _refused(
            f"the m43 of the checkout {package(tree).parent}",
            "one that was installed, which brings along what is written",
            tree,
            "pip install that checkout, without -e, into an environment of this repository",
        )
    top = _top(tree)
    if top and Path(top) != tree.resolve():
        raise _refused(
            f"a folder within the repository {top}",
            "its top, as a run digests the whole of it before and after",
            tree,
            f"cd {top}, and call it there",
        )
    if (tree / M43).exists() and not contract_path(tree).is_file():
        found, action = f"a folder {M43} without a contract", "give that folder another name"
        raise _refused(found, f"none, as the contract of m43 is called {M43}", tree, action)


def _require_settings(tree: Path) -> None:
    """Refuse a tree whose settings of pytest stand elsewhere: it reads one file of them only."""
    others = [name for name in _BEFORE if (tree / name).exists()]
    if not others and not (tree / INI).exists():
        others = [name for name, table in _AFTER.items() if _has_settings(tree / name, table)]
    if others:
        raise _refused(
            f"settings of pytest in {others[0]}",
            f"them in {INI}, where a run has its own: pytest reads one of the two",
            tree,
            f"move them to {INI}, below [pytest], and call it again",
        )


def _has_settings(path: Path, table: str) -> bool:
    # What cannot be read is none of pytest's settings either.
    with suppress(OSError, ValueError):
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".toml":
            return table in tomllib.loads(text).get("tool", {})
        return path.name == ".pytest.ini" or table in IniConfig(path.name, data=text)
    return False


def _refused(found: str, expected: str, tree: Path, action: str) -> NotReadyError:
    return NotReadyError(found=found, expected=expected, where=str(tree), action=action)
