"""Whether the checklist says of a world what the gates have said of it in a run."""

import json

from m43.evidence.checks import Check, auth_checks, venv_checks
from m43.hub_record import AuthRecord
from m43.records import VenvRecord
from m43.run_dir import RunDir, read_record
from tests.faults.tree import FaultTree


def assert_agreement(tree: FaultTree, name: str, **variables: str) -> None:
    """Look as a person would have before the run, and compare check by check.

    Args:
        tree: The copy in which the run was made.
        name: Of the run, which has ended at gate auth or venv.
        variables: What was set for it.
    """
    run = RunDir(tree.folder_of(name))
    groups = _looked(tree, **variables)
    profile = run.read_profile()
    said = _states(auth_checks(read_record(run.auth, AuthRecord), profile))
    seen = {item["name"]: item["state"] for item in groups["auth"]}
    assert seen == said
    if run.venv.exists():
        found = _states(venv_checks(read_record(run.venv, VenvRecord), profile))
        looked = {item["name"]: item["state"] for item in groups["venv"]}
        assert {check: looked[check] for check in found} == found


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


def _states(checks: tuple[Check, ...]) -> dict[str, str]:
    return {
        check.name: "not checked" if not check.checked else "ok" if check.holds else "NO"
        for check in checks
    }
