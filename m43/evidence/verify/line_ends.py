"""The line ends: whether a tool rewrote them, LF to CRLF, on the way of a folder to here.

Git for Windows does, and so do archivers and editors. Every digest is another one then, so that
one cause looks like dozens of changes. It is told once, and it excuses nothing: such a folder is
not verified, and what is wrong beside the line ends is looked for in a copy that has its own back.
"""

from collections.abc import Iterator
from pathlib import Path

from m43.errors import Problem
from m43.evidence.contract import is_installed
from m43.evidence.journal import manifest
from m43.evidence.verify import code
from m43.files import bytes_sha256
from m43.records import RunDir
from m43.text import counted

CHANGED = "line ends were changed (LF to CRLF)"
_SHOWN = 3
# Rows of somebody's own may have the line ends that they like.
_BUNDLED_ROWS = ("train.jsonl", "eval_v2.jsonl")


def rewritten(run: RunDir) -> tuple[str, ...]:
    """List the files of a run folder of which only the line ends were changed, by name.

    A sealed file is known by its digest, which is right again with the line ends taken back; of
    one that no seal covers, every line must have the other end.
    """
    listed = {name.removesuffix("\r"): digest for name, digest in manifest.read(run).items()}
    return tuple(sorted(_rewritten(run, listed)))


def _rewritten(run: RunDir, listed: dict[str, str]) -> Iterator[str]:
    for path in run.path.rglob("*"):
        name = path.relative_to(run.path).as_posix()
        if path.is_symlink() or not path.is_file() or manifest.is_weights(name):
            continue
        data = path.read_bytes()
        if name in listed:
            as_sealed = bytes_sha256(data) == listed[name]
            if not as_sealed and bytes_sha256(_restored(data)) == listed[name]:
                yield name
        elif _all_rewritten(data):
            yield name


def restore(run: RunDir, names: tuple[str, ...], folder: Path) -> RunDir:
    """Copy a run folder, its weights left out, with the line ends of these files taken back."""
    copy = RunDir(folder / run.path.absolute().name)
    for path in run.path.rglob("*"):
        name = path.relative_to(run.path).as_posix()
        target = copy.path / name
        if path.is_symlink():
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(path.readlink())
        elif path.is_dir():
            target.mkdir(parents=True, exist_ok=True)
        elif path.is_file() and not manifest.is_weights(name):
            target.parent.mkdir(parents=True, exist_ok=True)
            data = path.read_bytes()
            target.write_bytes(_restored(data) if name in names else data)
    return copy


def run_problem(run: RunDir, names: tuple[str, ...]) -> Problem:
    """Return the problem of a run folder that came with other line ends."""
    return Problem(
        found=f"{CHANGED} in {_counted(names)}",
        expected="the bytes that were sealed",
        where=str(run.path),
        action="fetch it again with its bytes kept (git: core.autocrlf=false); it is not verified",
    )


def checkout_problem(repository: Path) -> Problem | None:
    """Return the problem of a checkout with other line ends; None when it has none."""
    names = tuple(
        name
        for name, path in code.files(repository).items()
        # A tree that m43 was installed for may have the line ends that it likes.
        if not (is_installed() and "/" not in name)
        and (path.suffix != ".jsonl" or path.name in _BUNDLED_ROWS)
        and _all_rewritten(path.read_bytes())
    )
    if not names:
        return None
    return Problem(
        found=f"{CHANGED} in {_counted(names)} of this checkout",
        expected="the bytes that were committed",
        where=str(repository),
        action="fetch it again with its bytes kept (git clone -c core.autocrlf=false)",
    )


def _counted(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{counted(len(names), 'file')} ({', '.join(names[:_SHOWN])}{more})"


def _all_rewritten(data: bytes) -> bool:
    return 0 < data.count(b"\r\n") == data.count(b"\n")


def _restored(data: bytes) -> bytes:
    return data.replace(b"\r\n", b"\n")
