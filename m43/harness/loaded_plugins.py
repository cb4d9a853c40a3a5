"""The loaded plugins: whose code runs inside pytest, and whose has no place in a run.

A plugin or a conftest can repeat tests, reorder them, change their outcome or replace a gate. So
a run is begun with those only that m43 needs or knows to leave tests alone.
"""

import types
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

# pytest, its plugins that a run needs, and those that packages m43 depends on bring along.
_KNOWN = frozenset(
    {
        "_pytest", "pytest_html", "pytest_metadata", "pytest_timeout", "_hypothesis_pytestplugin",
        "anyio", "jaxtyping",
    }
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class LoadedPlugin:
    """A plugin: the name that pytest gives it, its module, and the file of that, if any."""

    name: str
    module: str
    file: Path | None

    def __str__(self) -> str:
        # pytest names a conftest by its path, and its module after that.
        alone = self.name == self.module or self.name.endswith(".py")
        return self.name if alone else f"{self.name} ({self.module})"


def read(plugins: Iterable[tuple[str, object]]) -> tuple[LoadedPlugin, ...]:
    """Describe what a plugin manager lists; names that were blocked stand there without one."""
    return tuple(_describe(name, plugin) for name, plugin in plugins if plugin is not None)


def _describe(name: str, plugin: object) -> LoadedPlugin:
    module = plugin if isinstance(plugin, types.ModuleType) else None
    owner = module.__name__ if module is not None else type(plugin).__module__
    file = getattr(module, "__file__", None)
    return LoadedPlugin(name=name, module=owner, file=Path(file).resolve() if file else None)


def strangers(
    plugins: Iterable[LoadedPlugin], repository: Path, installed: Path
) -> tuple[LoadedPlugin, ...]:
    """List the plugins that are none of those a run may have.

    Args:
        plugins: What is loaded.
        repository: The folder of m43's checkout, whose two conftest files belong to it.
        installed: The folder in which pytest itself is installed, and its plugins beside it.
    """
    own = {repository / "conftest.py", repository / "acceptance" / "conftest.py"}
    return tuple(each for each in plugins if not _is_known(each, repository, installed, own))


def _is_known(plugin: LoadedPlugin, repository: Path, installed: Path, own: set[Path]) -> bool:
    if plugin.file in own:
        return True
    top = plugin.module.split(".")[0]
    if top == "m43":
        return plugin.file is None or plugin.file.is_relative_to(repository / "m43")
    # A module of the same name that lies elsewhere is another module.
    return top in _KNOWN and (plugin.file is None or plugin.file.is_relative_to(installed))


def shown(plugins: Iterable[LoadedPlugin]) -> tuple[str, ...]:
    """Name the plugins whose code is not pytest's own, as the opening of a run discloses them."""
    names = (each.module for each in plugins if each.module.split(".")[0] != "_pytest")
    return tuple(dict.fromkeys(names))
