"""The own code: whether the functions of m43 in this process are those of m43's files.

A conftest or a plugin could put another function in the place of a gate. So every module of m43
that is loaded is compiled again from its file, and what is loaded is held against that. Whoever
replaces this very check as well is not found out; the documents say so.
"""

import ast
import functools
import inspect
import sys
import sysconfig
import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from m43.errors import M43Error
from m43.evidence.contract import CONFTEST, M43, PROMISES, contract_folders

_PACKAGE = "m43"
# What of a checkout may be imported; none of it but the first stands where other modules are found.
_OWN_PARTS = ("m43", M43, "tests", "conftest.py")
# dataclasses make their methods from text, typing and enum from functions of the standard library.
_MADE = ("<string>", sysconfig.get_path("stdlib"))
# What a class keeps under this name computes its annotations: PEP 649.
_ANNOTATE = "__annotate_func__"


class UnreadableCodeError(M43Error):
    """A module of m43 of which there is no source to compare with."""


def foreign_code(modules: Mapping[str, types.ModuleType], package: Path) -> tuple[str, ...]:
    """Name everything in the loaded modules of m43 that is not as their files have it.

    And what was imported from the checkout beside m43: a file called argparse.py is imported before
    that of Python, because pytest is told to look there for m43.

    Args:
        modules: The loaded modules, by name: `sys.modules`.
        package: The folder of m43.

    Raises: UnreadableCodeError.
    """
    found: list[str] = []
    for name, module in sorted(modules.items()):
        if name == _PACKAGE or name.startswith(f"{_PACKAGE}."):
            found += _of_module(name, module, package)
    found += _strays(modules, package.parent)
    return tuple(dict.fromkeys(found))


def _strays(modules: Mapping[str, types.ModuleType], repository: Path) -> Iterator[str]:
    own = [repository / part for part in _OWN_PARTS]
    folders = (repository / name for name in contract_folders(repository))
    own += [folder / name for folder in folders for name in (PROMISES, CONFTEST)]
    for name, module in sorted(modules.items()):
        path = Path(getattr(module, "__file__", None) or "no file")
        # The environment may lie in the checkout.
        inside = path.is_relative_to(repository) and not path.is_relative_to(sys.prefix)
        if inside and not any(path.is_relative_to(part) for part in own):
            yield f"{name} (from {path.relative_to(repository)})"


def _of_module(name: str, module: types.ModuleType, package: Path) -> Iterator[str]:
    path = Path(getattr(module, "__file__", None) or "no file")
    if not path.is_relative_to(package):
        yield f"{name} (from {path})"
        return
    try:
        text = path.read_bytes()
        tree, code = ast.parse(text), compile(text, str(path), "exec", dont_inherit=True)
    except (OSError, SyntaxError, ValueError) as error:
        raise UnreadableCodeError(
            found=f"{type(error).__name__}: {error}",
            expected="the source of a module that is loaded",
            where=str(path),
            action="restore it from git",
        ) from None
    written = _functions(code, "")
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            live = vars(module).get(node.name)
            yield from _of_object(f"{name}.{node.name}", node.name, live, written, module)
        elif isinstance(node, ast.ImportFrom):
            yield from _of_import(name, node, module)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            yield from _of_constant(name, node, module)


def _functions(code: types.CodeType, prefix: str) -> dict[str, types.CodeType]:
    """Give the code of every function of a module or class body, by its name in the module."""
    found = {}
    for part in code.co_consts:
        if isinstance(part, types.CodeType) and not part.co_name.startswith("<"):
            name = f"{prefix}{part.co_name}"
            if part.co_name == "__annotate__":  # of a class, or of a function in it; Python 3.14
                if part.co_qualname == name:
                    found[f"{prefix}{_ANNOTATE}"] = part
                continue
            found[name] = part
            if not part.co_flags & inspect.CO_OPTIMIZED:  # the body of a class
                found |= _functions(part, f"{name}.")
    return found


def _of_object(
    shown: str,
    name: str,
    live: object,
    written: Mapping[str, types.CodeType],
    module: types.ModuleType,
) -> Iterator[str]:
    """Compare a function, or a class and its methods, with what is written."""
    if isinstance(live, type):
        if live.__module__ != module.__name__:
            yield f"{shown} (a class of {live.__module__})"
            return
        members = [item for item in written if item.rpartition(".")[0] == name]
        for item in members:
            short = item.rpartition(".")[2]
            # Whoever makes the class anew, such as NamedTuple, drops it.
            if short == _ANNOTATE and vars(live).get(short) is None:
                continue
            yield from _of_object(f"{shown}.{short}", item, vars(live).get(short), written, module)
        for short, member in vars(live).items():
            function = _plain(member)
            added = function is not None and f"{name}.{short}" not in written
            if added and function and not function.__code__.co_filename.startswith(_MADE):
                yield f"{shown}.{short} (added by {function.__code__.co_filename})"
        return
    function = _plain(live)
    if function is None:
        yield f"{shown} ({type(live).__name__} in its place)"
    elif function.__globals__ is not vars(module) or not _same(function.__code__, written[name]):
        yield f"{shown} (other code, from {function.__code__.co_filename})"


def _plain(live: Any) -> types.FunctionType | None:
    """Give the function that a property, a method, a fixture or a cached function stands for."""
    if isinstance(live, property):
        live = live.fget
    elif isinstance(live, staticmethod | classmethod):
        live = live.__func__
    elif isinstance(live, functools.cached_property):
        live = live.func
    while not isinstance(live, types.FunctionType) and hasattr(live, "__wrapped__"):
        live = live.__wrapped__
    # contextmanager's wrapper is itself a function.
    live = inspect.unwrap(live) if isinstance(live, types.FunctionType) else live
    return live if isinstance(live, types.FunctionType) else None


def _same(one: types.CodeType, other: types.CodeType) -> bool:
    """Compare two codes by what they do; where their file lay makes no difference."""
    fields = ("co_code", "co_names", "co_varnames", "co_freevars", "co_argcount", "co_flags")
    if any(getattr(one, field) != getattr(other, field) for field in fields):
        return False
    return len(one.co_consts) == len(other.co_consts) and all(
        _same(mine, theirs)
        if isinstance(mine, types.CodeType) and isinstance(theirs, types.CodeType)
        else type(mine) is type(theirs) and mine == theirs
        for mine, theirs in zip(one.co_consts, other.co_consts, strict=True)
    )


def _of_import(name: str, node: ast.ImportFrom, module: types.ModuleType) -> Iterator[str]:
    """See that a name taken from another module of m43 is still that module's."""
    source = sys.modules.get(node.module or "")
    if source is None or (node.module or "").split(".")[0] != _PACKAGE:
        return
    for alias in node.names:
        live = vars(module).get(alias.asname or alias.name)
        its_own = vars(source).get(alias.name)
        if live is not its_own:
            yield f"{name}.{alias.asname or alias.name} (not that of {node.module})"


def _of_constant(
    name: str, node: ast.Assign | ast.AnnAssign, module: types.ModuleType
) -> Iterator[str]:
    """Compare a constant that is written out; one that is computed follows from functions."""
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    if node.value is None:
        return
    try:
        value = ast.literal_eval(node.value)
    except (ValueError, TypeError):
        return
    for target in targets:
        # A name in small letters is a variable of the module, and may vary.
        name_of = target.id if isinstance(target, ast.Name) else ""
        if name_of.isupper() and vars(module).get(name_of) != value:
            yield f"{name}.{name_of} (another value)"
