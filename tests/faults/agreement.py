"""Whether the checklist says of a world what the gates have said of it in a run."""

import json
import re

from m43.evidence.contract.check import Check
from m43.evidence.contract.checks import auth_checks, venv_checks
from m43.records.hub_record import AuthRecord
from m43.records.run_dir import RunDir, read_record
from m43.records.venv_record import VenvRecord
from tests.faults.tree import FaultTree

# Two requests of one cause have identifiers, times and ports of their own.
_DIFFERENT = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}|\d+(\.\d+)? s\b|:\d{4,5}\b")


def assert_agreement(tree: FaultTree, name: str, **variables: str) -> None:
    """Look as a person would have before the run, and compare check by check.

    Args:
        tree: The copy in which the run was made.
        name: Of the run, which has ended at gate auth or venv.
        variables: What was set for it.
    """
    assert_same_checks(RunDir(tree.folder_of(name)), _looked(tree, **variables))


def assert_same_checks(run: RunDir, groups: dict[str, list[dict[str, str]]]) -> None:
    """Hold every check of gate auth and venv that a run made against the item of a checklist.

    Args:
        run: One that ended at gate auth or venv.
        groups: The checklist's items, by gate.
    """
    profile = run.read_profile()
    auth = auth_checks(read_record(run.auth, AuthRecord), profile)
    assert _shown(groups["auth"]) == [_said(check) for check in auth]
    if run.venv.exists():
        found = [_said(check) for check in venv_checks(read_record(run.venv, VenvRecord), profile)]
        looked = _shown(groups["venv"])
        assert [item for item in looked if item in found] == found


def assert_named_before(tree: FaultTree, gate: str, words: str) -> None:
    """Look as a person would have before the run, and find what stopped it, in its words."""
    refused = [item["found"] for item in _looked(tree)[gate] if item["state"] == "NO"]
    assert any(words in found for found in refused), refused


def _looked(tree: FaultTree, **variables: str) -> dict[str, list[dict[str, str]]]:
    """Give the checklist's items by gate; one that says READY is no agreement."""
    words = ("-m", "m43", "checklist", "--m43-profile", str(tree.profile), "--m43-run", "next")
    answer = tree.python(*words, "--json", **variables)
    assert answer.returncode != 0, answer.stdout
    return {group["gate"]: group["items"] for group in json.loads(answer.stdout)["groups"]}


def _shown(items: list[dict[str, str]]) -> list[tuple[str, str, str]]:
    return [(item["name"], item["state"], _why(item["state"], item["found"])) for item in items]


def _said(check: Check) -> tuple[str, str, str]:
    if not check.checked:
        return check.name, "not checked", str(check.failure_class)
    state = "ok" if check.holds else "NO"
    return check.name, state, _why(state, check.found)


def _why(state: str, found: str) -> str:
    """Give the reason of a refusal, without what two looks at it cannot have alike."""
    return "" if state == "ok" else _DIFFERENT.sub("", found)
