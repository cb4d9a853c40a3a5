"""Replays a trace of writes up to any place, as a power cut leaves them."""

import base64
import json
import os
import shutil
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# Written in place; every other file is replaced as a whole, so a copy may share its bytes.
_IN_PLACE = (".jsonl", ".txt")


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One change of one file, in the order in which the run made it."""

    op: str
    path: str
    at: int = -1
    data: bytes = b""
    to: str = ""
    truncate: bool = False
    length: int = 0

    @property
    def is_visible(self) -> bool:
        """Whether it changes anything under a final name; the rest only fills unfinished files."""
        return not any(part.startswith(".") for part in Path(self.to or self.path).parts)


def read_trace(path: Path) -> tuple[Operation, ...]:
    """Read what the recorder noted."""
    operations = []
    for line in path.read_text().splitlines():
        fields = json.loads(line)
        if "data" in fields:
            fields["data"] = zlib.decompress(base64.b64decode(fields["data"]))
        operations.append(Operation(**fields))
    return tuple(operations)


def apply(operation: Operation, runs: Path) -> None:
    """Make a change; what the recorder could not see the beginning of is passed over."""
    path = runs / operation.path
    if operation.op == "mkdir":
        path.mkdir(exist_ok=True)
    elif operation.op == "create":
        path.parent.mkdir(exist_ok=True)
        if operation.truncate:
            path.unlink(missing_ok=True)
        path.touch()
    elif operation.op == "write":
        _write(path, operation)
    elif operation.op == "truncate":
        os.truncate(path, operation.length)
    elif operation.op == "rename":
        if path.exists():
            path.replace(runs / operation.to)
    elif path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _write(path: Path, operation: Operation) -> None:
    if not path.parent.exists():
        return
    with path.open("ab" if operation.at < 0 or not path.exists() else "r+b") as file:
        if operation.at >= 0:
            file.seek(operation.at)
        file.write(operation.data)


def torn(operation: Operation) -> Operation:
    """Give the first half of a write: the machine stopped in the middle of it."""
    half = operation.data[: len(operation.data) // 2]
    return Operation(op="write", path=operation.path, at=operation.at, data=half)


def copied(runs: Path, target: Path) -> Path:
    """Copy a folder of runs; files that are never written in place are shared, not copied."""

    def copy(source: str, destination: str) -> None:
        if source.endswith(_IN_PLACE):
            shutil.copyfile(source, destination)
        else:
            os.link(source, destination)

    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(runs, target, copy_function=copy)
    return target


def moments(operations: tuple[Operation, ...], stride: int) -> Iterator[int]:
    """Choose the prefixes that differ under a final name.

    Of the many alike (a step's line, a heartbeat, a line of a log) every `stride`-th is taken.
    """
    alike: dict[str, int] = {}
    for number, operation in enumerate(operations, start=1):
        name = operation.to or operation.path
        if not operation.is_visible:
            # One in a while, to have unfinished files lie about.
            name = "unfinished"
        often = ("metrics.jsonl", "heartbeat.json", "log.txt", "unfinished")
        if name.endswith(often):
            alike[name] = alike.get(name, 0) + 1
            if alike[name] % stride:
                continue
        yield number
