"""The pytest plugin: it decides whether a call concerns the contract, and if so whether it may run.

For every other call of pytest it does nothing at all.
"""

import os
import sys
from dataclasses import replace
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import pytest

from m43.errors import M43Error
from m43.evidence.contract import (
    contract_path,
    home,
    is_installed,
    profile_path,
    read_contract,
    unkeepable,
)
from m43.evidence.verify import checkout_problem
from m43.harness.gates import own_problems
from m43.harness.plugin import invocation, options
from m43.harness.plugin.invocation import Asked
from m43.harness.plugin.noted import Noted
from m43.harness.pytest_files import INI, with_settings
from m43.harness.pytest_start import LOOK
from m43.harness.run import (
    Plan,
    free_name,
    git_files,
    named,
    own_command,
    run_command,
    shown,
    verify_command,
)
from m43.records import LOOPBACK_ENDPOINT, Profile, RunDir
from m43.records import profile_check as profiles
from m43.text import is_folder_name


def earlier_attempt(plan: Plan, state: str) -> str:
    """Say why the run cannot have this name, and what can be done instead.

    Args:
        plan: The run that was asked for.
        state: What is so of the earlier one, as " that is still going on"; may be empty.
    """
    repository, run = plan.repository, RunDir(plan.folder)
    document = run.summary if run.summary.exists() else run.failure_analysis
    name = free_name(plan.folder)
    folder = plan.contract_folder
    again = run_command(plan.profile, plan.profile_path, repository, name, folder)
    lines = (
        f"{shown(plan.folder, repository)}: found an earlier attempt{state}, expected none: "
        "one attempt per run folder",
        f"    read it      {shown(document, repository)}",
        f"    check it     {verify_command(plan.folder, repository)}",
        f"    a new run    {again}",
    )
    return "\n".join(lines)


def _tree(config: pytest.Config) -> Path:
    """Say where a run would be made: in m43's checkout, or in the tree that it was installed for.

    That is where the pytest.ini lies that pytest reads.
    """
    root = config.inipath.parent if config.inipath is not None else config.rootpath
    return root.resolve() if is_installed() else Path(__file__).resolve().parents[3]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of a run."""
    group = parser.getgroup("m43", "m43: the acceptance run")
    group.addoption(
        "--m43-profile",
        metavar="FILE",
        help="a profile of your own; its kind must agree with -m "
        "(default: the production.toml or rehearsal.toml of the contract's folder)",
    )
    group.addoption(
        "--m43-run",
        metavar="NAME",
        help="the name of the run folder below submission_runs/ (default: the profile's)",
    )
    group.addoption(
        "--m43-job-summary",
        metavar="FILE",
        help="append the run in short, as Markdown, for the page of a CI job "
        "(default: $GITHUB_STEP_SUMMARY where that is set)",
    )
    group.addoption(
        LOOK, dest="m43_look", action="store_true", help="say what m43 refuses, and begin nothing"
    )


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Look at the call before anything else does; refuse it, or make ready for it."""
    looks, noted = bool(config.getoption("m43_look")), Noted()
    if looks:
        config.option.collectonly = True
    tree = _tree(config)
    lost = options.overwriting(config, tree, lambda path: git_files(tree, path))
    if lost:
        raise pytest.UsageError(invocation.refusal(lost))
    asked = options.read(config, tree)
    if not invocation.concerns_acceptance(asked, tree):
        return
    if not asked.passive:
        noted.let_warnings_pass(config)
        config.pluginmanager.register(noted, "m43-noted")
    # Only now: it looks through the packages, and what warns there is noted.
    asked = replace(asked, strange_plugins=options.strange_plugins(config, tree))
    problems = own_problems(home(tree) / "pyproject.toml", metadata.version, sys.prefix)
    if problems:
        # The plugins that are missed come with the packages.
        asked = replace(asked, missing_plugins=())
    if looks or not asked.passive:
        changed = checkout_problem(tree)
        problems += (str(changed),) if changed is not None else ()
        problems += invocation.option_problems(asked, tree)
        problems += _missing_settings(tree)
        problems += options.unwritable_summary(options.job_summary_file(config, os.environ))
    if problems:
        raise pytest.UsageError(invocation.refusal(problems))
    # Here and not above: unit tests need none of this, and other environments have not all of it.
    from m43.harness.plugin import fixtures, reporting

    config.pluginmanager.register(fixtures, "m43-stages")
    config.pluginmanager.register(_Marker(asked, tree), "m43-marker")
    if asked.passive:
        return
    plan = _plan(config, asked, tree)
    # What pytest says of itself before a run tells a person nothing about the run.
    config.option.no_header = config.option.no_header or config.option.verbose <= 0
    config.pluginmanager.register(reporting.Metadata(), "m43-metadata")
    config.pluginmanager.register(reporting.Reporting(plan, noted), "m43-reporting")


class _Marker:
    """Puts the asked marker on the contract's tests, which themselves have none."""

    def __init__(self, asked: Asked, repository: Path) -> None:
        self._marker, self._tree = asked.marker, repository
        self._contract = contract_path(repository, invocation.asked_folder(asked, repository))

    def _is_contract(self, path: Path) -> bool:
        # Through a link it has another name.
        return invocation.inside(path, self._tree) == self._contract

    def pytest_itemcollected(self, item: pytest.Item) -> None:
        """Mark a test of the contract."""
        if self._marker in invocation.KINDS and self._is_contract(item.path):
            item.add_marker(self._marker)


def _missing_settings(tree: Path) -> tuple[str, ...]:
    """Refuse a pytest.ini that has not what a run needs; that of a checkout is m43's own."""
    own, m43 = tree / INI, home(tree) / INI
    if not is_installed() or not own.is_file():
        return ()
    try:
        text = own.read_text(encoding="utf-8")
        whole = with_settings(text, m43.read_text(encoding="utf-8")) == text
    except M43Error as error:
        return error.lines
    asked = f"{own}: found it without m43's settings, expected them: python -m m43 init adds them"
    return () if whole else (asked,)


def _plan(config: pytest.Config, asked: Asked, tree: Path) -> Plan:
    """Read the profile and the contract, and name the run.

    Raises: pytest.UsageError, with everything that is wrong.
    """
    now = datetime.now(UTC)
    chosen = config.getoption("m43_profile")
    folder = invocation.asked_folder(asked, tree)
    bundled = profile_path(tree, asked.marker, folder)
    # Not Path.expanduser, which raises where "~name" is nobody's home.
    path = asked.folder / os.path.expanduser(chosen) if chosen else bundled  # noqa: PTH111
    try:
        profile = named(profiles.load(path), config.getoption("m43_run") or "", now)
        contract = read_contract(contract_path(tree, folder))
    except M43Error as error:
        raise pytest.UsageError(invocation.refusal(error.lines)) from None
    problems = profile_problems(profile, path, asked.marker)
    problems += tuple(
        f"{path}: found a promise that [contract] breaks from the beginning ({words}), expected "
        "values that can be kept: change one of the two"
        for words in unkeepable(contract, profile.contract)
    )
    plan = Plan(
        repository=tree,
        profile_path=path.resolve(),
        profile=profile,
        contract=contract,
        command=own_command(),
        started=now,
        plugins=options.shown(options.plugins(config)),
        contract_folder=folder,
    )
    # A name that is refused may be none that can be looked for.
    if not problems and plan.folder.exists():
        problems = (*problems, earlier_attempt(plan, _closed_now(plan)))
    if problems:
        raise pytest.UsageError(invocation.refusal(problems))
    return plan


def _closed_now(plan: Plan) -> str:
    """Close the attempt that is in the way if it was cut off; say what is so of it."""
    from m43.files import one_at_a_time
    from m43.harness.run import recovery

    with one_at_a_time(plan.ledger):
        found = recovery.close_cut_off(plan.folder.parent)
    name = plan.folder.name
    if name in found.running:
        return " that is still going on"
    return ", which had been cut off and has been closed now" if name in found.closed else ""


def profile_problems(profile: Profile, path: Path, marker: str) -> tuple[str, ...]:
    """List where a good profile is the wrong one for this call."""
    problems = []
    if profile.kind != marker:
        problems.append(
            f"{path}: found kind {profile.kind!r}, expected {marker!r}: "
            f"the profile must agree with -m {marker}"
        )
    if profile.kind == "production" and profile.hub.endpoint == LOOPBACK_ENDPOINT:
        problems.append(
            f"{path}, hub.endpoint: found 'loopback', expected a real hub: "
            "only a rehearsal has a hub of its own"
        )
    if not is_folder_name(profile.run.name) or "@" in profile.run.name:
        problems.append(
            f"--m43-run: found {profile.run.name!r}, expected one plain folder name: "
            "use letters, digits, dots, hyphens and underscores"
        )
    return tuple(problems)
