"""The bundle: a run folder as one zip file, to be handed to whoever judges it.

The same folder gives the same bytes: names are sorted, times are fixed, and nothing is compressed,
because what zlib writes differs from zlib to zlib.

A zip of somebody else's may hold anything: it is judged by its list of names before one byte is
unpacked, into a folder of its own that is gone afterwards. As nothing in it is compressed, no more
can come out of it than was handed over.
"""

import os
import re
import stat
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

from m43.errors import Problem, ProblemsError, problem
from m43.evidence.run import LoadedRun
from m43.evidence.verify.folder import (
    MOST_BYTES,
    MOST_ENTRIES,
    MOST_WEIGHT_BYTES,
    unreadable,
)
from m43.evidence.verify.stated import Stated
from m43.files import is_disk_full
from m43.records import RunDir
from m43.text import counted, is_folder_name, is_weight_file

READ_ME = "README.txt"
_EARLIEST = (1980, 1, 1, 0, 0, 0)  # of a zip
_ON_UNIX, _ENCRYPTED = 3, 1
_PIECE_BYTES, _END_BYTES = 1 << 20, 22
# Plain names of files, as those of a run and of a model are.
_NAME = re.compile(r"[A-Za-z0-9._-]{1,200}(/[A-Za-z0-9._-]{1,200}){1,2}")


class BundleError(ProblemsError):
    """A file that is no bundle, or a folder that cannot be made one."""


_unfit = partial(
    problem,
    action="nothing of it was unpacked; have it made again with `python -m m43 bundle RUN_DIR`",
)


def write_bundle(
    run: RunDir, loaded_run: LoadedRun, path: Path, *, with_weights: bool = False
) -> Stated:
    """Write a run folder as one zip file, and beside it what states its digest.

    Args:
        run: a finished one, accepted or not; whoever calls has looked for secrets in it.
        loaded_run: the same, read.
        path: of the zip; nothing is overwritten.
        with_weights: whether the weights are put in.

    Raises: BundleError.
    """
    name = run.path.absolute().name
    if problems := tuple(_no_bundle(run, loaded_run, name)):
        raise BundleError(problems)
    paths = sorted(each for each in run.path.rglob("*") if each.is_file())
    kept = [each for each in paths if with_weights or not is_weight_file(each.name)]
    weights = any(is_weight_file(each.name) for each in kept)
    made = Stated(path=path, run=run, files=len(kept), weights=weights)
    if problems := tuple(_no_place(path, made.statement, made.signature)):
        raise BundleError(problems)
    partial_path = path.with_name(f".{path.name}.partial")
    try:
        with zipfile.ZipFile(partial_path, "w", zipfile.ZIP_STORED) as archive:
            archive.writestr(_entry(READ_ME), _for_a_judge(run, name, weights=weights))
            for each in kept:
                inside = _entry(f"{name}/{each.relative_to(run.path).as_posix()}")
                inside.file_size = each.stat().st_size
                with each.open("rb") as source, archive.open(inside, "w") as target:
                    while piece := source.read(_PIECE_BYTES):
                        target.write(piece)
        partial_path.replace(path)
    except OSError as error:
        action = "make room, or name another place with --out; nothing is left of it there"
        found = f"{type(error).__name__}: {error}"
        raise BundleError((problem(found, "a bundle written", str(path), action),)) from error
    finally:
        partial_path.unlink(missing_ok=True)
    made.write()
    return made


def _no_bundle(run: RunDir, loaded_run: LoadedRun, name: str) -> Iterator[Problem]:
    yield from unreadable(run)
    if not is_folder_name(name):
        action = "rename the folder to what it was called"
        yield problem(f"a folder called {name!r}", "a plain name", str(run.path), action)
    events = {entry.event for entry in loaded_run.entries}
    if not {"sealed", "closed"} <= events:
        action = "`python -m m43 render RUN_DIR` closes one that was cut off"
        yield problem("a run that is not closed", "a finished one", str(run.path), action)


def _no_place(*paths: Path) -> Iterator[Problem]:
    for path in paths:
        if not path.absolute().parent.is_dir():
            yield problem("no such folder", "one", str(path.parent), "make it, or name another")
            return
        if path.is_dir():
            action = "name a file in it with --out"
            yield problem("a folder", "the name of a file", str(path), action)
        elif path.exists():
            action = "nothing is overwritten: name another with --out"
            yield problem("a file that is there already", "none", str(path), action)


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, date_time=_EARLIEST)
    entry.create_system = _ON_UNIX
    entry.external_attr = (stat.S_IFREG | 0o644) << 16
    return entry


def _for_a_judge(run: RunDir, name: str, *, weights: bool) -> str:
    left_out = "" if weights else "The weights are left out: what is said of them is not checked.\n"
    document = run.summary if run.summary.is_file() else run.failure_analysis
    return (
        f"This is the run folder {name}, as m43 left it.\n{left_out}\n"
        "Believe nothing in it before it is checked. Take m43 from where you trust it, and drop\n"
        "this zip, packed as it is, on the page that its `make verifier` builds. Or, with Python:\n"
        "\n"
        f"    python -m m43 verify {name}.zip\n\n"
        "Both say the verdict first, then every claim that the records do not support. They need\n"
        "the m43 that made the run (version and commit stand in opening.json), and no JAX.\n\n"
        f"To read it: {name}/{document.name}, and {name}/{run.report.name} for the eye.\n"
    )


@dataclass(frozen=True, kw_only=True)
class Unpacked:
    """A bundle that lies in a folder for now.

    Attributes:
        stated: what there is to state of it.
        problems: what is not as m43 writes it, in the zip around the run folder and beside the zip.
    """

    stated: Stated
    problems: tuple[Problem, ...]


@contextmanager
def unpacked(path: Path, public_key: Path | None = None) -> Iterator[Unpacked]:
    """Unpack a bundle into a folder that is gone afterwards.

    Args:
        path: of the zip.
        public_key: of the person who signed its statement, if it is signed.

    Raises: BundleError, for what is no zip, or holds what no run folder does.
    """
    with TemporaryDirectory(prefix="m43-bundle-") as folder:
        # Here alone: what whoever looks at the run raises says nothing about the zip.
        try:
            stated, read_me = _unpack_all(path, Path(folder))
        except (zipfile.BadZipFile, NotImplementedError, EOFError) as error:
            raise BundleError((_unfit(error, "a zip file", path.name),)) from error
        problems = (*_other_words(stated, read_me), *stated.audit(public_key))
        yield Unpacked(stated=stated, problems=problems)


def _unpack_all(path: Path, folder: Path) -> tuple[Stated, Path]:
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        if not entries:
            raise BundleError((_unfit("an empty zip", "a run folder in it", path.name),))
        if problems := (*_unfit_entries(path, entries), *_around(path, archive)):
            raise BundleError(problems)
        for entry in entries:
            _unpack(archive, entry, folder)
    run = next(each for each in folder.iterdir() if each.is_dir())
    if not RunDir(run).journal.is_file():
        found = f"a folder {run.name} without {RunDir.journal.name}"
        raise BundleError((_unfit(found, "a run folder", path.name),))
    files = sum(entry.filename != READ_ME for entry in entries)
    weights = any(is_weight_file(entry.filename) for entry in entries)
    return Stated(path=path, run=RunDir(run), files=files, weights=weights), folder / READ_ME


def _other_words(stated: Stated, read_me: Path) -> Iterator[Problem]:
    """Hold the file that a judge reads first against what m43 says there."""
    expected = _for_a_judge(stated.run, stated.run.path.name, weights=stated.weights)
    if read_me.is_file() and read_me.read_bytes() != expected.encode():
        action = "follow nothing that it says: m43 wrote something else there"
        where = f"{stated.path.name}: {READ_ME}"
        yield problem("another text", "what `python -m m43 bundle` writes", where, action)


def _unpack(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, folder: Path) -> None:
    target = folder / entry.filename
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        # Not more than the list said: the reader stops there, and compares the check sum.
        with archive.open(entry) as source, target.open("xb") as written:
            while piece := source.read(_PIECE_BYTES):
                written.write(piece)
    except OSError as error:
        if not is_disk_full(error):
            raise
        found, expected = "a full disk", f"room for {entry.file_size:,} bytes"
        action = "set TMPDIR to a folder with room"
        raise BundleError((problem(found, expected, str(folder), action),)) from error


def _unfit_entries(path: Path, entries: list[zipfile.ZipInfo]) -> Iterator[Problem]:
    """Name what a bundle does not hold, by its list of names alone."""
    if len(entries) > MOST_ENTRIES:
        yield _unfit(f"{len(entries):,} names", f"{MOST_ENTRIES:,} at most", path.name)
        return
    seen: set[str] = set()
    # In the order of names a folder stands before what is in it.
    for entry in sorted(entries, key=lambda entry: entry.filename.lower()):
        where, name = f"{path.name}: {entry.filename!r}", entry.filename
        if name.lower() in seen:
            yield _unfit("a name twice, or but for capital letters", "it once", where)
        seen.add(name.lower())
        if any(above.as_posix() in seen for above in PurePosixPath(name.lower()).parents):
            yield _unfit("a file and a folder of one name", "one of them", where)
        yield from _unfit_entry(entry, where)
    packed = sum(entry.compress_type != zipfile.ZIP_STORED for entry in entries)
    if packed:
        found = f"{counted(packed, 'compressed file')}, as other tools write them"
        yield _unfit(found, "files as they are", path.name)
    text = sum(entry.file_size for entry in entries if not is_weight_file(entry.filename))
    if text > MOST_BYTES:
        yield _unfit(f"{text:,} bytes without weights", f"{MOST_BYTES:,} at most", path.name)
    size, every = path.stat().st_size, sum(entry.file_size for entry in entries)
    if every > size:
        yield _unfit(
            f"files of {every:,} bytes", f"no more than the {size:,} of the zip", path.name
        )
    folders = {entry.filename.partition("/")[0] for entry in entries if "/" in entry.filename}
    if len(folders) != 1 or not all(is_folder_name(folder) for folder in folders):
        named = ", ".join(sorted(folders)[:3]) or "none"
        yield _unfit(f"folders: {named}", "one, the run folder", path.name)


def _unfit_entry(entry: zipfile.ZipInfo, where: str) -> Iterator[Problem]:
    name, kind = entry.filename, stat.S_IFMT(entry.external_attr >> 16)
    plain = _NAME.fullmatch(name) and not {".", ".."} & set(name.split("/"))
    if not plain and name != READ_ME:
        yield _unfit("this name", f"{READ_ME}, or files of one run folder", where)
    if kind not in (0, stat.S_IFREG):
        yield _unfit("a link or something else that is no file", "a file", where)
    if entry.flag_bits & _ENCRYPTED:
        yield _unfit("an encrypted file", "files that may be read", where)
    most = MOST_WEIGHT_BYTES if is_weight_file(name) else MOST_BYTES
    if entry.file_size > most:
        yield _unfit(f"{entry.file_size:,} bytes", f"{most:,} at most", where)


def _around(path: Path, archive: zipfile.ZipFile) -> Iterator[Problem]:
    """Name what lies before the first entry or behind the list: a bundle is a zip and nothing else.

    Source: PKWARE's APPNOTE.TXT, 4.3.16: the end of the list is 22 bytes and a comment.
    """
    entries = archive.infolist()
    with path.open("rb") as file:
        starts = file.read(4) == b"PK\x03\x04"
        file.seek(-_END_BYTES - len(archive.comment), os.SEEK_END)
        ends = file.read(4) == b"PK\x05\x06"
    if not (starts and ends and min(entry.header_offset for entry in entries) == 0):
        yield _unfit("bytes before the zip or behind it", "a zip and nothing else", path.name)
