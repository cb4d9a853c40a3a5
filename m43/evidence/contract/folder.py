"""The contract's folder: which there are, and in what a contract is not the M43 contract.

A contract is a folder straight in the repository: promises, a profile of each kind, and a conftest.
The one that m43 itself brings is the measure; what a run of another promises instead is told in
every document, and `verify` works it out again from the run folder alone.

In a checkout all of it lies in one place. An m43 that was installed carries its own beside its
code, and runs in a tree of somebody's.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

from m43.evidence.contract.contract import ContractText, Promise
from m43.files import file_sha256
from m43.records import Contract
from m43.text import clipped

M43 = "acceptance"
"""The folder of the contract that m43 brings along."""
PROMISES, CONFTEST, LIES = "test_production.py", "conftest.py", "lies.py"
ROWS = ("train.jsonl", "eval_v2.jsonl")
_LONGEST = 300

CARRIED = Path(__file__).resolve().parents[2] / "carried"
"""What a wheel holds of the checkout that it was built from; not there in a checkout."""


def home(tree: Path) -> Path:
    """Say where m43's own contract and pyproject.toml lie, for a run in a tree."""
    return CARRIED if is_installed() else tree


def package(tree: Path) -> Path:
    """Say where m43's code lies, for a run in a tree."""
    return CARRIED.parent if is_installed() else tree / CARRIED.parent.name


def is_installed() -> bool:
    """Tell whether this m43 came from a wheel."""
    return CARRIED.is_dir()


def rows_differences(mine: Sequence[str], tree: Path) -> tuple[str, ...]:
    """List which rows are not those of the M43 contract.

    Args:
        mine: The SHA-256 of the rows to train on, and of those to evaluate.
        tree: Of the run.
    """
    theirs = [file_sha256(home(tree) / M43 / "data" / name) for name in ROWS]
    keys = ("contract.train_rows_sha256", "contract.eval_rows_sha256")
    return tuple(
        f"{key}: {own!r} instead of {other!r}"
        for key, own, other in zip(keys, mine, theirs, strict=True)
        if own != other
    )


def contract_folders(repository: Path) -> tuple[str, ...]:
    """Name the folders of the repository that hold promises."""
    # By the plainest call: pytest asks before what warns is noted, and a warning may be an error.
    names: list[str] = []
    with suppress(OSError):
        names = os.listdir(repository)  # noqa: PTH208
    found = {name for name in names if (repository / name / PROMISES).is_file()}
    return tuple(sorted(found | {M43}))


def folder_of(profile_path: Path, repository: Path) -> str:
    """Name the folder of the contract that a profile belongs to by its place."""
    folder = profile_path.resolve().parent
    own = folder.parent == repository.resolve() and (folder / PROMISES).is_file()
    return folder.name if own else M43


def contract_path(repository: Path, folder: str = M43) -> Path:
    """Say where the promises of a contract lie."""
    return repository / folder / PROMISES


def profile_path(repository: Path, kind: str, folder: str = M43) -> Path:
    """Say where the profile of a contract lies: production, or rehearsal."""
    return repository / folder / f"{kind}.toml"


def promise_differences(mine: ContractText, theirs: ContractText) -> tuple[str, ...]:
    """List what one contract promises otherwise than another, by the promises' text."""
    return tuple(clipped(line, _LONGEST) for line in _promise_differences(mine, theirs))


def _promise_differences(mine: ContractText, theirs: ContractText) -> Iterator[str]:
    ours, known = ({each.name: each for each in text.promises} for text in (mine, theirs))
    for name, promise in known.items():
        if name not in ours:
            yield f"dropped: {name}: {_asserted(promise)}"
    for name, promise in ours.items():
        if name not in known:
            yield f"added: {name}: {_asserted(promise)}"
        elif _asserted(promise) != _asserted(known[name]):
            yield f"changed: {name}: {_asserted(promise)} instead of {_asserted(known[name])}"
        elif promise.clause != known[name].clause:
            yield f"reworded: {name}: {promise.clause!r} instead of {known[name].clause!r}"
    kept = [name for name in mine.names if name in known]
    if kept != [name for name in theirs.names if name in ours]:
        yield f"in another order: {', '.join(kept)}"


def _asserted(promise: Promise) -> str:
    return " and ".join(each.source for each in promise.asserts)


def unkeepable(contract: ContractText, promised: Contract) -> tuple[str, ...]:
    """List asserts that values of [contract] break whatever a run does, such as 600 steps.

    The number of steps is what a run is told to take; of everything else a run tells itself.
    """
    steps = SimpleNamespace(optimizer_steps=promised.optimizer_steps)
    found = []
    for promise in contract.promises:
        for asserted in promise.asserts:
            # What needs more than this is judged when it is measured.
            with suppress(AttributeError, KeyError):
                if not asserted.holds({"contract": promised, "train": steps}):
                    found.append(f"{promise.name}: {asserted.source}")
    return tuple(found)


UNNAMED = "own"
"""What a contract is called that differs from the M43 contract and goes by its name."""


def called(name: str, m43_name: str, differences: Sequence[str]) -> str:
    """Give the name of a run's contract; none but the M43 contract has one that begins like its."""
    return UNNAMED if differences and name.startswith(m43_name) else name
