"""The selection: what pytest was asked to run, and why that is not the whole contract once."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from m43.evidence.contract import LIES, M43, PROMISES, contract_folders

KINDS = ("production", "rehearsal")
# Without one of these a run would leave no report, or wait for ever.
REQUIRED_PLUGINS = ("html", "timeout", "junitxml", "terminal", "python", "assertion", "metadata")
# What m43 itself registers when a run begins; `-p no:NAME` would switch it off just as well.
OWN_PLUGINS = (
    "m43-stages", "m43-marker", "m43-metadata", "m43-reporting", "m43-view", "m43-noted",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What the command line, the ini file and the installed plugins ask of pytest.

    Attributes:
        marker: The expression after -m.
        arguments: The paths and node ids, as they were given, or as pytest chose them.
        named: A person gave the arguments.
        switches: Options that were given and that have no place in a run, as a person types them.
        blocked_plugins: Those of `REQUIRED_PLUGINS` and `OWN_PLUGINS` that were switched off.
        missing_plugins: Those of `REQUIRED_PLUGINS` that are not there, for whatever other reason.
        autoload: pytest loads the plugins that are installed.
        strange_plugins: Plugins and conftest files that have no place in a run.
        passive: The call only looks: --collect-only, --fixtures, --markers and their like.
        optimized: Python runs without asserts (-O).
        rewritten: pytest explains asserts (anything but --assert=plain).
        inifile: The ini file that pytest read; with `rootdir` as `inside` gives it.
        rootdir: What pytest takes for the root.
        folder: Where it was called.
    """

    marker: str
    arguments: tuple[str, ...]
    named: bool = True
    switches: tuple[str, ...] = ()
    blocked_plugins: tuple[str, ...] = ()
    missing_plugins: tuple[str, ...] = ()
    autoload: bool = True
    strange_plugins: tuple[str, ...] = ()
    passive: bool = False
    optimized: bool = False
    rewritten: bool = True
    inifile: Path | None = None
    rootdir: Path | None = None
    folder: Path = field(default_factory=Path.cwd)


def concerns_acceptance(asked: Asked, repository: Path) -> bool:
    """Tell whether a contract would be collected, or was meant to be."""
    folders = [repository / name for name in contract_folders(repository)]
    paths = [_path(argument, asked.folder, repository) for argument in asked.arguments]
    meant = any(
        path == folder or folder in path.parents or path in folder.parents
        for path in paths
        for folder in folders
        # The lies of a contract are tests like others.
        if path != folder / LIES
    )
    return meant or asked.marker in KINDS


def asked_folder(asked: Asked, repository: Path) -> str:
    """Name the folder of the contract that is asked for; without one the M43 contract's."""
    known = contract_folders(repository)
    for argument in asked.arguments:
        path = _path(argument, asked.folder, repository)
        if path.is_relative_to(repository):
            top = path.relative_to(repository).parts[:1]
            if top and top[0] in known:
                return top[0]
    return M43


def inside(path: Path, repository: Path) -> Path:
    """Give a path of the repository by the repository's own name; any other as it resolves.

    A link, a bind mount or a drive by another name lead to the same files: what counts is which
    folder it is, not how it was spelt.
    """
    resolved = path.resolve()
    for folder in (resolved, *resolved.parents):
        with suppress(OSError):
            if folder.samefile(repository):
                return repository / resolved.relative_to(folder)
    return resolved


def option_problems(asked: Asked, repository: Path) -> tuple[str, ...]:
    """List everything that makes a call something other than the whole contract, once, in order."""
    return tuple(_option_problems(asked, repository))


def _option_problems(asked: Asked, repository: Path) -> Iterator[str]:
    if asked.marker not in KINDS:
        found = f"-m {asked.marker!r}" if asked.marker else "no -m"
        command = f"\n      pytest {asked_folder(asked, repository)} -m"
        commands = (
            f"{command} rehearsal     all four gates on a toy Gemma, on this machine's CPU"
            f"{command} production    the run itself, once"
        )
        yield f"found {found}, expected one of the two commands:{commands}"
    yield from _argument_problems(asked, repository)
    for switch in asked.switches:
        yield (
            f"found {switch}, expected none: a run is the whole contract, once, in order; "
            "leave it away"
        )
    yield from _missing_plugin_problems(asked)
    # Without a folder pytest loads the conftests of pytest.ini's testpaths: nobody asked for them.
    named = asked.named
    strange = (name for name in asked.strange_plugins if named or "conftest.py" not in name)
    yield from stranger_problems(tuple(strange))
    if asked.optimized:
        yield "found Python without asserts (-O or PYTHONOPTIMIZE), expected asserts: run without"
    if not asked.rewritten:
        yield "found --assert=plain, expected asserts that explain themselves: leave it away"
    yield from _place_problems(asked, repository)


def _missing_plugin_problems(asked: Asked) -> Iterator[str]:
    off, missing = (
        ", ".join(map(repr, names)) for names in (asked.blocked_plugins, asked.missing_plugins)
    )
    if off:
        yield f"found the pytest plugin {off} switched off, expected it on: leave -p no: away"
    if missing:
        way = (
            "call the pytest of the environment that has m43's packages: .venv/bin/python -m pytest"
            if asked.autoload
            else "unset PYTEST_DISABLE_PLUGIN_AUTOLOAD"
        )
        yield f"found no pytest plugin {missing}, expected it: {way}"


def _place_problems(asked: Asked, repository: Path) -> Iterator[str]:
    expected = repository / "pytest.ini"
    root = asked.rootdir
    if root not in (None, repository) and asked.inifile == root / "pytest.ini":
        yield (
            f"found the m43 of {repository} in a run of {asked.rootdir}, expected that folder's "
            "own m43: leave PYTHONPATH, -c and --rootdir away, or call pytest from within the "
            "checkout that is meant"
        )
        return
    if asked.inifile != expected:
        found = asked.inifile or "none"
        yield f"found the ini file {found}, expected {expected}: leave -c, --rootdir away"
    if asked.rootdir != repository:
        yield f"found the root {asked.rootdir}, expected {repository}: leave --rootdir away"


def stranger_problems(names: Sequence[str]) -> tuple[str, ...]:
    """Refuse plugins that could repeat, reorder or replace what a run does."""
    return tuple(_stranger_problem(name) for name in names)


def _stranger_problem(name: str) -> str:
    if ".py (" in name:
        return (
            f"found {name}, expected a conftest without hooks and without fixtures of these names, "
            "which steer a run: move them to the conftest.py of the folder of your tests"
        )
    if name.endswith(".py"):
        return (
            f"found {name}, expected no conftest but the two of the checkout: leave -c, --rootdir "
            "and --confcutdir away, or move it"
        )
    return (
        f"found the pytest plugin {name}, expected those only that m43 knows: leave -p {name}, "
        f"PYTEST_PLUGINS or the conftest away, or switch it off with -p no:{name.split()[0]}"
    )


def _argument_problems(asked: Asked, repository: Path) -> Iterator[str]:
    name = asked_folder(asked, repository)
    folder = repository / name
    whole = (folder, folder / PROMISES)
    known = asked.marker in KINDS
    # Without a marker both commands are told already.
    command = f": pytest {name} -m {asked.marker}" if known else ""
    for argument in asked.arguments:
        path = _path(argument, asked.folder, repository)
        if "::" in argument:
            yield f"found the node id {argument}, expected the whole contract{command}"
        elif path in whole:
            continue
        elif not asked.named:
            if known:
                yield f"found no folder, expected {name}{command}"
        elif argument.rstrip("/") in (name, f"{name}/{PROMISES}"):
            yield f"found {path}, expected {folder}: call pytest from the checkout"
        else:
            yield f"found {argument}, expected {name} alone{command}"


def _path(argument: str, folder: Path, repository: Path) -> Path:
    return inside(folder / argument.split("::", 1)[0], repository)


def item_problems(
    collected: Sequence[str], promises: Sequence[str], marks: Sequence[str]
) -> tuple[str, ...]:
    """Compare the collected tests with the promises that the contract's text makes.

    Args:
        collected: The names of the collected tests, in order.
        promises: The names of the promises, in order.
        marks: Marks on the collected tests that m43 did not put there.
    """
    problems = []
    for name in promises:
        count = collected.count(name)
        if count != 1:
            problems.append(f"found {name} {count} times, expected it once")
    problems += [
        f"found {name}, expected only the contract's promises"
        for name in dict.fromkeys(collected)
        if name not in promises
    ]
    if not problems and list(collected) != list(promises):
        problems.append("found the promises in another order, expected the contract's")
    problems += [f"found the mark {mark!r}, expected none" for mark in dict.fromkeys(marks)]
    return tuple(problems)


def refusal(problems: Sequence[str]) -> str:
    """Write the one message of a refusal."""
    lines = "".join(f"\n  - {problem}" for problem in problems)
    return f"m43 does not begin this run; nothing was run, and nothing was written for it.{lines}"
