"""The options of pytest as m43 reads them, and the plugins that may be loaded with them.

A plugin or a conftest can repeat tests, reorder them, change their outcome or replace a gate. So
a run is begun with those only that m43 needs or knows to leave tests alone.
"""

import inspect
import os
import sys
import types
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import _pytest
import pytest
from _pytest.fixtures import FixtureFunctionDefinition as _Fixture

from m43.evidence.contract import CONFTEST, M43, contract_folders, home, package
from m43.evidence.journal import ledger
from m43.files import file_sha256
from m43.harness.plugin.invocation import OWN_PLUGINS, REQUIRED_PLUGINS, Asked, inside
from m43.harness.pytest_files import is_hook
from m43.harness.run import recorded_files

# pytest, its plugins that a run needs, and those that packages m43 depends on bring along.
_KNOWN = frozenset(
    {
        "_pytest", "pytest_html", "pytest_metadata", "pytest_timeout", "_hypothesis_pytestplugin",
        "anyio", "jaxtyping",
    }
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class LoadedPlugin:
    """A plugin: the name that pytest gives it, its module, and the file that it came from.

    A module can call itself as it likes, and so can a class: the file is None where what it says
    of itself does not hold.
    """

    name: str
    module: str
    file: Path | None
    steering: tuple[str, ...] = ()  # of a conftest: its hooks, and fixtures of m43's names

    def __str__(self) -> str:
        if self.steering:
            return f"{self.name} ({', '.join(self.steering)})"
        # pytest names a conftest by its path, and its module after that.
        alone = self.name == self.module or self.name.endswith(".py")
        return self.name if alone else f"{self.name} ({self.module})"


def read_plugins(plugins: Iterable[tuple[str, object]]) -> tuple[LoadedPlugin, ...]:
    """Describe what a plugin manager lists; names that were blocked stand there without one."""
    return tuple(_describe(name, plugin) for name, plugin in plugins if plugin is not None)


def _describe(name: str, plugin: object) -> LoadedPlugin:
    if isinstance(plugin, types.ModuleType):
        module, owner = plugin, plugin.__name__
        holds = all(_is_from(module, part) for word, part in vars(module).items() if is_hook(word))
    else:
        owner = type(plugin).__module__
        module = sys.modules.get(owner, types.ModuleType(owner))
        part: object = module
        for word in type(plugin).__qualname__.split("."):
            part = getattr(part, word, None)
        holds = part is type(plugin)
    file = getattr(module, "__file__", None) if holds else None
    return LoadedPlugin(
        name=name,
        module=owner,
        file=Path(file).resolve() if file else None,
        steering=tuple(_steering(module)) if Path(name).name == CONFTEST else (),
    )


def _steering(conftest: types.ModuleType) -> Iterator[str]:
    # Here and not above: unit tests need none of this, and other environments have not all of it.
    from m43.harness.plugin import fixtures

    own = {each.name for each in vars(fixtures).values() if isinstance(each, _Fixture)}
    for word, part in vars(conftest).items():
        name = part.name if isinstance(part, _Fixture) else word
        if is_hook(word) or (isinstance(part, _Fixture) and name in own):
            yield name


def _is_from(module: types.ModuleType, part: object) -> bool:
    """Tell whether a function was compiled from the file that its module names."""
    code = getattr(inspect.unwrap(part) if callable(part) else part, "__code__", None)
    named = getattr(module, "__file__", None)
    return code is None or (named is not None and Path(code.co_filename) == Path(named))


def strangers(
    plugins: Sequence[LoadedPlugin], repository: Path, recorded: Mapping[str, str]
) -> tuple[LoadedPlugin, ...]:
    """List the plugins that are none of those a run may have.

    Args:
        plugins: What is loaded.
        repository: The tree, whose two conftest files belong to a run: the upper one as long as it
            steers nothing, and that of a contract as long as it is m43's, byte for byte.
        recorded: The files that wheels brought to where pytest itself is installed, with digests.
    """
    places = [repository / name / CONFTEST for name in contract_folders(repository)]
    digest = _digest(home(repository) / M43 / CONFTEST)
    own = {path for path in places if _digest(path) == digest != ""}
    if not (mine := repository / M43 / CONFTEST).is_file():
        # Where ours was taken away, the closing says so: it is no plugin of somebody else's.
        own.add(mine)
    top = repository / CONFTEST
    own |= {top for each in plugins if each.file == top and not each.steering}
    return tuple(
        each if each.file == top else replace(each, steering=())
        for each in plugins
        if not _is_known(each, repository, recorded, own)
    )


def _is_known(
    plugin: LoadedPlugin, repository: Path, recorded: Mapping[str, str], own: set[Path]
) -> bool:
    if plugin.file is None:
        return False
    top = plugin.module.split(".")[0]
    if plugin.file in own or top == "m43":
        return plugin.file in own or plugin.file.is_relative_to(package(repository))
    # By the wheel that brought its file, not by what it calls itself.
    return top in _KNOWN and recorded.get(str(plugin.file)) == _digest(plugin.file)


def _digest(path: Path) -> str:
    return file_sha256(path) if path.is_file() else ""


def shown(plugins: Iterable[LoadedPlugin]) -> tuple[str, ...]:
    """Name the plugins whose code is not pytest's own, as the opening of a run discloses them."""
    names = (each.module for each in plugins if each.module.split(".")[0] != "_pytest")
    return tuple(dict.fromkeys(names))


# Options that only look, by the names under which pytest keeps them.
_PASSIVE = (
    "collectonly", "showfixtures", "show_fixtures_per_test", "markers", "help", "version",
    "setupplan", "cacheshow",
)  # fmt: skip

# Option, the value that means "not given", and how a person types it. An option of a plugin that
# is not installed is simply not there.
_SWITCHES: tuple[tuple[str, object, str], ...] = (
    ("keyword", "", "-k"),
    ("deselect", None, "--deselect"),
    ("ignore", None, "--ignore"),
    ("ignore_glob", None, "--ignore-glob"),
    ("lf", False, "--lf"),
    ("failedfirst", False, "--ff"),
    ("newfirst", False, "--nf"),
    ("stepwise", False, "--sw"),
    ("stepwise_skip", False, "--sw-skip"),
    ("maxfail", 0, "-x or --maxfail (m43 stops at the first gate that fails by itself)"),
    ("setuponly", False, "--setup-only"),
    ("usepdb", False, "--pdb"),
    ("trace", False, "--trace"),
    ("keepduplicates", False, "--keep-duplicates"),
    ("runxfail", False, "--runxfail"),
    ("doctestmodules", False, "--doctest-modules"),
    ("numprocesses", None, "-n (xdist)"),
    ("dist", "no", "--dist (xdist)"),
    ("tx", None, "--tx (xdist)"),
    ("reruns", None, "--reruns"),
    ("force_flaky", False, "--force-flaky"),
    ("count", 1, "--count (repeat)"),
    ("random_order_bucket", None, "--random-order"),
    ("session_timeout", None, "--session-timeout"),
    ("suppress_tests_failed_exit_code", False, "--suppress-tests-failed-exit-code"),
    # pytest keeps the two --strict options of pytest.ini as if they had been given with -o.
    ("override_ini", ["strict_markers=true", "strict_config=true"], "-o"),
    ("noconftest", False, "--noconftest"),
    ("continue_on_collection_errors", False, "--continue-on-collection-errors"),
    ("pastebin", None, "--pastebin"),
)


def read(config: pytest.Config, repository: Path) -> Asked:
    """Read what was asked; nothing is decided here."""
    manager = config.pluginmanager
    return Asked(
        marker=str(config.getoption("markexpr", "") or "").strip(),
        arguments=tuple(config.args),
        named=config.args_source is pytest.Config.ArgsSource.ARGS,
        switches=(*_given(config), *_pages(config, repository)),
        blocked_plugins=tuple(
            name for name in (*REQUIRED_PLUGINS, *OWN_PLUGINS) if manager.is_blocked(name)
        ),
        missing_plugins=tuple(
            name
            for name in REQUIRED_PLUGINS
            if not manager.hasplugin(name) and not manager.is_blocked(name)
        ),
        autoload=not os.environ.get("PYTEST_DISABLE_PLUGIN_AUTOLOAD"),
        passive=any(config.getoption(name, False) for name in _PASSIVE),
        optimized=sys.flags.optimize > 0,
        rewritten=config.getoption("assertmode", "rewrite") == "rewrite",
        inifile=inside(config.inipath, repository) if config.inipath else None,
        rootdir=inside(config.rootpath, repository),
        folder=Path(config.invocation_params.dir),
    )


def plugins(config: pytest.Config) -> tuple[LoadedPlugin, ...]:
    """Describe the plugins that are loaded now, conftest files included."""
    return read_plugins(config.pluginmanager.list_name_plugin())


def strange_plugins(config: pytest.Config, repository: Path) -> tuple[str, ...]:
    """Name the loaded plugins that have no place in a run."""
    installed = Path(_pytest.__file__).resolve().parents[1]
    return tuple(map(str, strangers(plugins(config), repository, recorded_files(installed))))


def _given(config: pytest.Config) -> Iterator[str]:
    for name, default, words in _SWITCHES:
        value = config.getoption(name, default)
        # An empty list or text, and a zero for "no limit", are the same as nothing.
        if value and value != default:
            yield words


# Options that name what pytest writes, or in the last case empties.
_WRITTEN = (("htmlpath", "--html"), ("xmlpath", "--junitxml"), ("log_file", "--log-file"),
            ("debug", "--debug"), ("basetemp", "--basetemp"),
            ("m43_job_summary", "--m43-job-summary"))  # fmt: skip


def _written(config: pytest.Config, repository: Path) -> Iterator[tuple[str, Path]]:
    """Name the options whose file lies in the checkout, with the file."""
    folder = Path(config.invocation_params.dir)
    for name, words in _WRITTEN:
        if given := config.getoption(name, None):
            # As pytest and pytest-html read it; Path.expanduser raises where "~name" is nobody's.
            text = os.path.expanduser(os.path.expandvars(str(given)))  # noqa: PTH111
            path = inside(folder / text, repository)
            if path.is_relative_to(repository):
                yield words, path
    # Of the ini file, where `-o` may have put them.
    for name, place in (("cache_dir", config.rootpath), ("log_file", folder)):
        given = ""
        # Without the plugin that has it there is no such value.
        with suppress(ValueError):
            given = str(config.getini(name) or "")
        path = inside(place / os.path.expanduser(os.path.expandvars(given)), repository)  # noqa: PTH111
        # Where pytest keeps its cache by itself it is in nobody's way, but among the runs.
        usual = path.name == ".pytest_cache" and not path.is_relative_to(repository / ledger.RUNS)
        if given and path.is_relative_to(repository) and not usual:
            yield name, path


def _pages(config: pytest.Config, repository: Path) -> Iterator[str]:
    """Find what pytest would write during a run, or over its files, amid what is watched."""
    for words, _ in _written(config, repository):
        yield f"{words} into the checkout (a run writes its own report.html and junit.xml)"


def overwriting(
    config: pytest.Config, repository: Path, tracked: Callable[[str], Sequence[str]]
) -> tuple[str, ...]:
    """Refuse what any call of pytest would write over a file of the checkout or where runs lie.

    Args:
        config: Of a call that need not be a run.
        repository: The checkout.
        tracked: Lists what git knows at a path.
    """
    # Also where git does not answer.
    names = (ledger.RUNS, "m43", *contract_folders(repository))
    own = [repository / name for name in names]
    return tuple(
        f"found {words} at {path}, expected a place outside {ledger.RUNS}/ and no file of the "
        "checkout: pytest would use up the name of a run, or write over what is to be read"
        for words, path in _written(config, repository)
        if any(map(path.is_relative_to, own)) or tracked(str(path))
    )


def job_summary_file(config: pytest.Config, environment: Mapping[str, str]) -> Path | None:
    """Return the file to which a run in short is appended; None where nobody asks for it.

    Source: GitHub names its own by a variable, and shows what is appended there.
    """
    given = config.getoption("m43_job_summary", None) or environment.get("GITHUB_STEP_SUMMARY")
    if not given:
        return None
    return Path(config.invocation_params.dir) / os.path.expanduser(given)  # noqa: PTH111


def unwritable_summary(path: Path | None) -> tuple[str, ...]:
    """Refuse a file that nothing can be appended to, before a run is begun for it."""
    if path is None or (path.is_file() and os.access(path, os.W_OK)):
        return ()
    if not path.exists() and os.access(path.parent, os.W_OK):
        return ()
    return (
        f"found {path}, where nothing can be written, expected a file for the job summary in a "
        "folder that is there: name another with --m43-job-summary, or unset GITHUB_STEP_SUMMARY",
    )
