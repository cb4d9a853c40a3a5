"""The checklist's page ends with what has to be settled, and says once what waits for it."""

from m43.errors import FailureClass
from m43.harness.run.items import Checklist, Group, Item, checked, is_ready, unchecked
from m43.harness.terminal.checklist_page import page

GOOD = checked("a good thing", True, "yes", "yes", "")
TOKEN = checked("the token", False, "absent", "HF_TOKEN", "export HF_TOKEN")
VENV = checked("the environment", False, "no folder", "a venv", "make it")


def shown(*items: Item) -> list[str]:
    """Write the page of one group, as its lines."""
    groups = (Group(gate="auth", title="Gate 1", items=items),)
    found = Checklist(
        kind="production",
        profile="p.toml",
        run="m43_v1",
        ready=is_ready(groups),
        groups=groups,
        command="the command",
        duration_s=1.0,
    )
    return [str(line) for line in page(found)]


def test_every_no_is_told_again_at_the_end_with_what_to_do() -> None:
    """The page is longer than a screen: what is read last is what has to be done."""
    lines = shown(TOKEN, GOOD, VENV)

    assert lines[-7:] == [
        "Settle these 2 first:",
        "  1. the token: export HF_TOKEN",
        "  2. the environment: make it",
        "",
        "Then look again:",
        "",
        "  the command",
    ]
    assert "NOT READY: 1 check holds, 2 do not, 0 could not be made (1.0 s)." in lines


def test_checks_that_wait_for_one_cause_are_one_line() -> None:
    """The first three by name, the others counted; another cause has a line of its own."""
    waiting = [unchecked(f"check {n}", FailureClass.NO_TOKEN, "") for n in range(5)]
    other = unchecked("the device", FailureClass.NO_VENV, "")

    lines = [line for line in shown(TOKEN, *waiting, other) if line.startswith("  not checked")]

    assert lines == [
        "  not checked  5 checks wait until this is settled: no token "
        "(check 0; check 1; check 2; and 2 more)",
        "  not checked  1 check waits until this is settled: no venv (the device)",
    ]


def test_when_all_hold_there_is_nothing_to_settle() -> None:
    """Then the command of the run follows."""
    lines = shown(GOOD)

    assert "READY: 1 check holds, 0 more follow at their gates (1.0 s). The run, once:" in lines
    assert not any(line.startswith("Settle") for line in lines)


def test_where_nothing_was_wrong_and_something_unmade_it_only_asks_to_look_again() -> None:
    """A check that could not be made is no READY."""
    lines = shown(GOOD, unchecked("the device", FailureClass.NO_VENV, ""))

    assert "Look again:" in lines
