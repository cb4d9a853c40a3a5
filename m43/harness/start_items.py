"""The items of the start: what ends a run, or spoils it, before m43 has anything to measure."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from m43.harness.checklist import Item
from m43.harness.pytest_start import start_problems


def start_items(repository: Path, kind: str, environment: Mapping[str, str]) -> Iterator[Item]:
    """Start pytest as the run would, in a process of its own that begins nothing."""
    yield _item(
        "pytest can start here",
        start_problems(repository, kind, environment),
        "yes",
        "it starts, and m43 refuses nothing of the call",
        "do what each says, in the shell in which the run will be started",
    )


def _item(name: str, problems: tuple[str, ...], good: str, expected: str, action: str) -> Item:
    return Item(
        name=name,
        state="NO" if problems else "ok",
        found="; ".join(problems).removeprefix("found ") if problems else good,
        expected=expected,
        action=action if problems else "",
    )
