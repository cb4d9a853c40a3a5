"""The isolation of a child: it runs the m43 that its parent has read, and the packages as they lie.

Every other way into a Python process is shut: the folder of a script, PYTHON* variables and a
person's own packages (-I); .pth files, sitecustomize and usercustomize (-S, and `_add_packages`);
in production also compiled files that were there before (-X pycache_prefix). m43 comes through
standard input, from a file that has no name and takes no more writing: what is digested is what
runs.

The child reads this very file so, before it can import anything else: standard library only.
"""

import errno
import functools
import hashlib
import importlib
import importlib.machinery
import importlib.util
import os
import sys
import tempfile
import time
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

TRAINING = "m43.training.__main__"
"""The module that does the jobs of training; the judge names it and does not import it."""

_PACKAGE = "m43"
_THIS = "m43/harness/process/isolation.py"
# How long a file of a child may be busy before that is an error.
_BUSY_S = 5.0
# What code of a .pth file, or of a module called sitecustomize, is run by does nothing here.
PACKAGES_ALONE = """import site
for name in ("addpackage", "execsitecustomize", "execusercustomize"):
    setattr(site, name, lambda *_: None)
site.main()
"""
# json alone is imported for it, with a path on which nothing but the standard library lies yet.
_FIRST_WORDS = (
    "import json,sys;given=json.load(sys.stdin.buffer);"
    f"exec(compile(given[{_THIS!r}],{_THIS!r},'exec'),m43:={{'__name__':'m43.isolation'}});"
    "m43['start'](given,sys.argv)"
)
# What a launcher starts has an input of its own, or none: it reads the same from a file, which
# it knows by its digest.
_FIRST_WORDS_OF_A_FILE = (
    "import hashlib,json,sys;place,told=sys.argv[1:3];given=open(place,'rb').read();"
    "hashlib.sha256(given).hexdigest()==told or sys.exit(place+' is not what m43 wrote');"
    "del sys.argv[1:3];given=json.loads(given);"
    f"exec(compile(given[{_THIS!r}],{_THIS!r},'exec'),m43:={{'__name__':'m43.isolation'}});"
    "m43['start'](given,sys.argv)"
)


@dataclass(frozen=True, kw_only=True)
class OwnCode:
    """The source of every module of m43, by its path from the repository on."""

    repository: Path
    sources: Mapping[str, str] = field(repr=False)

    @functools.cached_property
    def handed(self) -> bytes:
        """What a child is given."""
        import json

        return json.dumps(self.sources).encode()

    def command(
        self,
        interpreter: Path,
        module: str,
        *arguments: str,
        compiled: Path | None = None,
        file: Path | None = None,
    ) -> tuple[str, ...]:
        """Return the command that runs `main` of a module of m43.

        Args:
            interpreter: Of the environment whose packages are used.
            module: That has a `main`, which takes the arguments and returns the status.
            arguments: Of it.
            compiled: Where Python keeps what it compiles, and finds it again; None takes the
                compiled files that lie beside the packages, and leaves none there.
            file: That holds what is handed over; None where it comes through standard input.
        """
        files = ("-B",) if compiled is None else ("-X", f"pycache_prefix={compiled}")
        told: tuple[str, ...] = (_FIRST_WORDS,)
        if file is not None:
            sha256 = hashlib.sha256(self.handed).hexdigest()
            told = (_FIRST_WORDS_OF_A_FILE, str(file), sha256)
        words = ("-I", "-S", "-u", *files, "-c", *told, str(self.repository))
        return (str(interpreter), *words, module, *arguments)


@functools.lru_cache(maxsize=4)
def own_code(repository: Path) -> OwnCode:
    """Read m43's code once for this process: what becomes of the files later changes nothing.

    Args:
        repository: The folder that holds the folder m43: a checkout, or where it was installed.
    """
    from m43.evidence.contract import CARRIED

    sources = {
        path.relative_to(repository).as_posix(): path.read_text(encoding="utf-8")
        for path in sorted((repository / _PACKAGE).rglob("*.py"))
        # What an installed m43 carries for the trees of others is no module of it.
        if not path.is_relative_to(CARRIED)
    }
    return OwnCode(repository=repository, sources=sources)


@contextmanager
def sealed_file(data: bytes) -> Iterator[int]:
    """Give a descriptor of a file without a name, at its beginning, that nobody can change."""
    if not hasattr(os, "memfd_create"):
        with tempfile.TemporaryFile() as file:
            file.write(data)
            file.seek(0)
            yield file.fileno()
        return
    import fcntl

    descriptor = os.memfd_create("m43", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]
        seals = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL
        _seal(lambda: fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, seals))
        os.lseek(descriptor, 0, os.SEEK_SET)
        yield descriptor
    finally:
        os.close(descriptor)


def _seal(add: Callable[[], object]) -> None:
    """Seal a file, as soon as nobody holds a page of it.

    The kernel itself may hold one, to move it or to learn how often it is used; it waits 150 ms for
    that, and then calls the file busy. Source: Linux, mm/memfd.c, memfd_wait_for_pins.
    """
    until = time.monotonic() + _BUSY_S
    while True:
        try:
            add()
        except OSError as error:
            if error.errno != errno.EBUSY or time.monotonic() > until:
                raise
            time.sleep(_BUSY_S / 100)
        else:
            return


# --- in the child ------------------------------------------------------------------------------


class Given:
    """Imports m43 from the sources that were handed over, and from nowhere else."""

    def __init__(self, repository: Path, sources: Mapping[str, str]) -> None:
        self._repository = repository
        self._sources = sources
        self.digests: dict[str, str] = {}
        """The SHA-256 of every source that was run, by its path from the repository on."""
        lines = (f"{_sha256(text)}  {path}\n" for path, text in sorted(sources.items()))
        self.sha256 = _sha256("".join(lines))
        """Of the listing of all that was handed over, as sha256sum writes it."""

    def find_spec(
        self, name: str, path: object = None, target: object = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Find a module of m43; every other is somebody else's to find."""
        if name.partition(".")[0] != _PACKAGE:
            return None
        file = self._file(name)
        # None would have the folders searched, where other code may lie.
        if file is None:
            raise ModuleNotFoundError(f"No module named {name!r} in the m43 of this run", name=name)
        folders: list[str] | None = [] if file.endswith("/__init__.py") else None
        # The path is for people; nothing is read there.
        place, loader = self._repository / file, cast("importlib.machinery.SourceFileLoader", self)
        return importlib.util.spec_from_file_location(
            name, place, loader=loader, submodule_search_locations=folders
        )

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> None:
        """Leave it to Python."""

    def exec_module(self, module: types.ModuleType) -> None:
        """Run a module's source, and note its digest."""
        file = self._file(module.__name__)
        assert file is not None
        source = self._sources[file]
        self.digests[file] = _sha256(source)
        exec(compile(source, str(self._repository / file), "exec"), vars(module))

    def get_source(self, name: str) -> str | None:
        """Return what was run, for tracebacks."""
        file = self._file(name)
        return None if file is None else self._sources[file]

    def _file(self, name: str) -> str | None:
        path = name.replace(".", "/")
        found = (file for file in (f"{path}/__init__.py", f"{path}.py") if file in self._sources)
        return next(found, None)


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def start(sources: Mapping[str, str], words: Sequence[str]) -> None:
    """Make the packages of the environment importable, then run what the command line asks."""
    _, repository, module, *arguments = words
    _add_packages()
    sys.meta_path.insert(0, Given(Path(repository), sources))
    sys.argv = [module, *arguments]
    sys.exit(importlib.import_module(module).main(arguments))


def _add_packages() -> None:
    """Do what Python does at its start for an environment, but run nothing that lies in it."""
    exec(PACKAGES_ALONE, {})
