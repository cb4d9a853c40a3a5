"""The packages: what is installed, whether it stays so, and what of it a child really ran.

Of everything that is installed a file counts with its name, its size and its time of change, and
every RECORD with its bytes: an install, an upgrade, a removal and an edited file are noticed at the
cost of looking at each once. What a child imported is read, and held against RECORD, which has the
SHA-256 that each file had in its wheel. Compiled files are in no RECORD: a child of production
compiles all itself, and those of this process are compared with their sources (code_integrity).
"""

import base64
import csv
import functools
import hashlib
import os
import re
import sysconfig
import types
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from m43.files import Digests, file_state
from m43.harness.run.code_integrity import exchanged_bytecode
from m43.records import ImportedRecord, Origins

_STARTUP = ("sitecustomize", "usercustomize")
_PACKAGES = ("site-packages", "dist-packages")


@dataclass(frozen=True, kw_only=True)
class Packages:
    """The installed files: one digest per name at the top of a site-packages folder.

    Attributes:
        entries: By the number of its folder and its name in it.
        states: Of every file, what stands still as long as nobody writes to it.
        recorded: The SHA-256 of every file that a RECORD names; empty where it names none.
        owners: The distribution of every file that a RECORD names, with its version.
        digests: Of files that were read.
    """

    entries: Mapping[str, str] = field(repr=False)
    sha256: str
    states: Mapping[str, tuple[int, ...]] = field(repr=False, compare=False)
    recorded: Mapping[str, str] = field(repr=False, compare=False)
    owners: Mapping[str, str] = field(repr=False, compare=False)
    digests: Digests = field(repr=False, compare=False)


def measure_packages(site_packages: Iterable[Path], before: Packages | None = None) -> Packages:
    """Look at what lies in the folders; the same folder under two names counts once.

    Args:
        site_packages: The folders.
        before: An earlier look. A file that was written to since, and given its old size and time
            of change back, is read: only the bytes that its wheel brought count as unchanged.
    """
    folders = sorted({folder.resolve() for folder in site_packages if folder.is_dir()})
    entries: dict[str, str] = {}
    states: dict[str, tuple[int, ...]] = {}
    recorded: dict[str, str] = {}
    owners: dict[str, str] = {}
    digests = before.digests if before is not None else Digests()
    for index, folder in enumerate(folders):
        for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
            if entry.name == "__pycache__":
                continue
            # Two folders may hold the same name (lib and lib64): both must count.
            key = f"{index}/{entry.name}"
            entries[key] = _package_digest(entry, states, before)
            brought = dict(_recorded(Path(entry.path, "RECORD"), folder))
            recorded |= brought
            owners |= dict.fromkeys(brought, _distribution(entry.name))
    whole = "".join(f"{digest}  {name}\n" for name, digest in sorted(entries.items()))
    return Packages(
        entries=entries,
        sha256=hashlib.sha256(whole.encode()).hexdigest(),
        states=states,
        recorded=recorded,
        owners=owners,
        digests=digests,
    )


def _distribution(folder: str) -> str:
    """Return the name and the version that a .dist-info has, the name as indexes compare it.

    Source: packaging.python.org, "Names and normalization", "Recording installed projects".
    """
    name, _, version = folder.removesuffix(".dist-info").partition("-")
    return f"{re.sub('[-_.]+', '-', name).lower()} {version}"


def package_changes(before: Packages, after: Packages) -> tuple[str, ...]:
    """Name what was added, removed or changed."""
    names = sorted(before.entries.keys() | after.entries.keys())
    return tuple(
        f"{name.partition('/')[2]} ({_how(before.entries.get(name), after.entries.get(name))})"
        for name in names
        if before.entries.get(name) != after.entries.get(name)
    )


def _how(before: str | None, after: str | None) -> str:
    if before is None:
        return "added"
    return "removed" if after is None else "changed"


def _package_digest(
    top: "os.DirEntry[str]", states: dict[str, tuple[int, ...]], before: Packages | None
) -> str:
    digest = hashlib.sha256()
    for name, entry in _package_files(top, top.name):
        status = entry.stat(follow_symlinks=False)
        digest.update(f"{name}\0{status.st_size}\0{status.st_mtime_ns}\n".encode(errors="replace"))
        if entry.name == "RECORD":
            digest.update(hashlib.sha256(Path(entry.path).read_bytes()).digest())
        states[entry.path] = file_state(status)
        if (
            before is not None
            and before.states.get(entry.path, states[entry.path]) != (states[entry.path])
        ):
            # Installers share files by hard links, and one made elsewhere changes the ctime too.
            found = before.digests.of(entry.path)
            digest.update(b"" if found == before.recorded.get(entry.path) else found.encode())
    return digest.hexdigest()


def _package_files(
    entry: "os.DirEntry[str]", name: str
) -> Iterator[tuple[str, "os.DirEntry[str]"]]:
    if not entry.is_dir(follow_symlinks=False):
        yield name, entry
        return
    if entry.name == "__pycache__":
        return
    for inner in sorted(os.scandir(entry.path), key=lambda inner: inner.name):
        yield from _package_files(inner, f"{name}/{inner.name}")


@functools.lru_cache(maxsize=4)
def recorded_files(folder: Path) -> Mapping[str, str]:
    """Return what wheels brought to a site-packages folder, by path, with its SHA-256."""
    folder = folder.resolve()
    records = sorted(folder.glob("*.dist-info/RECORD"))
    return {path: digest for each in records for path, digest in _recorded(each, folder)}


def _recorded(record: Path, folder: Path) -> Iterator[tuple[str, str]]:
    """Read what a wheel brought, by path, with its SHA-256; empty where it has no digest of that.

    Source: packaging.python.org, "Recording installed projects": path, algorithm=digest in URL-safe
    base64 without its padding, size; paths are relative to the folder that holds the .dist-info.
    """
    try:
        rows = list(csv.reader(record.read_text(encoding="utf-8").splitlines()))
    except (OSError, UnicodeDecodeError, csv.Error):
        return
    top = str(folder)
    for row in rows:
        if row and not row[0].endswith(".pyc"):
            kind, _, text = row[1].partition("=") if len(row) > 1 else ("", "", "")
            # Of tens of thousands a Path each takes as long as all the rest.
            place = os.path.normpath(os.path.join(top, row[0]))  # noqa: PTH118
            yield place, _hexadecimal(text) if kind == "sha256" else ""


def _hexadecimal(text: str) -> str:
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).hex()
    except ValueError:
        return ""


# --- what a child ran ----------------------------------------------------------------------------


class _Audit:
    """Holds the files of a child against what is known of them."""

    def __init__(self, origins: Origins, packages: Packages, folders: Iterable[str]) -> None:
        self._standard = origins.standard
        self._packages = packages
        self._folders = tuple(folders)
        self.lines: list[str] = []
        self.distributions: Counter[str] = Counter()
        self.altered: list[str] = []
        self.unrecorded: list[str] = []
        self.changed: list[str] = []

    def look(self, path: str, *, is_module: bool) -> None:
        """Digest a file and note what is wrong with it."""
        name, place = self._name(path), self._place(path)
        recorded = self._packages.recorded.get(place)
        try:
            digest = self._packages.digests.of(place)
            state = file_state(Path(place).lstat())
        except OSError as error:
            self.changed.append(f"{name} ({error.strerror or type(error).__name__})")
            return
        self.lines.append(f"{digest}  {name}")
        self.distributions.update(filter(None, [self._packages.owners.get(place)]))
        if recorded:
            if recorded != digest:
                self.altered.append(name)
        elif place in self._packages.states or (
            is_module and not self._is_standard(place) and not self._is_standard(path)
        ):
            # What Python needs of the system no wheel has brought. Of its own folder one file may
            # be a link that leads out of it: Debian has its sitecustomize among its settings.
            self.unrecorded.append(name)
        if self._packages.states.get(place, state) != state and recorded != digest:
            self.changed.append(name)

    def _name(self, path: str) -> str:
        """Name a file by the folder that it is imported from, wherever that lies."""
        for folder in (*self._folders, self._standard):
            if path.startswith(f"{folder}{os.sep}"):
                return f"{Path(folder).name}/{os.path.relpath(path, folder)}"
        return path

    def _place(self, path: str) -> str:
        """Give the path under which it was found; a package may consist of links to a cache."""
        for folder in self._folders:
            if path.startswith(f"{folder}{os.sep}"):
                return os.path.join(os.path.realpath(folder), os.path.relpath(path, folder))  # noqa: PTH118
        return os.path.realpath(path)

    def _is_standard(self, path: str) -> bool:
        for folder in (self._standard, os.path.realpath(self._standard)):
            if path.startswith(f"{folder}{os.sep}"):
                return Path(os.path.relpath(path, folder)).parts[0] not in _PACKAGES
        return False


def audit(
    origins: Origins,
    packages: Packages,
    site_packages: Iterable[str],
    code: Mapping[str, str],
    *,
    compiled: bool,
) -> ImportedRecord:
    """Digest what a child ran, and name what is not as it should be.

    Args:
        origins: What the child says.
        packages: As they were at the venv gate.
        site_packages: The folders that they lie in.
        code: The digests of m43's own files when the run began, by path.
        compiled: Whether the child compiled every module itself.
    """
    folders = tuple(site_packages)
    found = _Audit(origins, packages, folders)
    for line in origins.own:
        digest, _, name = line.partition("  ")
        found.lines.append(line)
        if code.get(name) != digest:
            found.changed.append(name)
    for path in origins.modules:
        found.look(path, is_module=True)
    for path in origins.libraries:
        found.look(path, is_module=False)
    return ImportedRecord(
        bytecode="compiled for this run" if compiled else "as found",
        files=tuple(found.lines),
        distributions=dict(sorted(found.distributions.items())),
        altered=tuple(found.altered),
        unrecorded=tuple(found.unrecorded),
        changed=tuple(found.changed),
        startup=origins.startup,
        passed_over=tuple(f"{path.parent.name}/{path.name}" for path in _start_files(folders)),
    )


def audit_judge(
    modules: Mapping[str, types.ModuleType],
    own: Iterable[Path],
    path: Iterable[str],
    python_path: str = "",
) -> ImportedRecord:
    """Digest what this process imported of packages, as of a child: they judge.

    Args:
        modules: The loaded modules, by name: `sys.modules`.
        own: The files of m43 and of the contract, which `code_integrity` looks at.
        path: Where modules are found: `sys.path`.
        python_path: Where they were found at the start already: PYTHONPATH.
    """
    folders = [folder for folder in path if Path(folder).name in _PACKAGES]
    known = set(map(os.path.realpath, own))
    # The start-up files may have left no module; of a child's none is run.
    files = {str(file.absolute()) for file in _start_files(folders)}
    files |= {
        str(file.absolute())
        for file in _start_files(filter(None, python_path.split(os.pathsep)))
        if file.suffix != ".pth"  # read in folders of packages alone
    }
    files |= {
        place
        for module in modules.values()
        for place in (getattr(module, "__file__", None), _origin(module))
        if isinstance(place, str) and os.path.realpath(place) not in known
    }
    origins = Origins(
        own=(),
        modules=tuple(sorted(files)),
        libraries=(),
        standard=sysconfig.get_path("stdlib"),
        startup=(),
    )
    recorded = {
        name: digest
        for folder in folders
        if Path(folder).is_dir()
        for name, digest in recorded_files(Path(folder)).items()
    }
    installed = Packages(
        entries={}, sha256="", states={}, recorded=recorded, owners={}, digests=Digests()
    )
    found = audit(origins, installed, folders, {}, compiled=False)
    return replace(found, altered=(*found.altered, *exchanged_bytecode(modules)))


def _origin(module: types.ModuleType) -> object:
    spec = getattr(module, "__spec__", None)
    return getattr(spec, "origin", None) if getattr(spec, "has_location", False) else None


def _start_files(folders: Iterable[str]) -> Iterator[Path]:
    """Find what Python runs at its start, unless it is told to leave it out."""
    for folder in filter(os.path.isdir, folders):
        for name in sorted(path.name for path in Path(folder).iterdir()):
            stem, _, suffix = name.partition(".")
            if name.endswith(".pth") or (stem in _STARTUP and suffix in ("", "py", "so")):
                yield Path(folder, name)
