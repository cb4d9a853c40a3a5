"""The own code: whether the functions of m43 in this process are those of m43's files.

A conftest or a plugin could put another function in the place of a gate. So every module of m43
that is loaded is compiled again from its file, and what is loaded is held against that. Whoever
replaces this very check as well is not found out; the documents say so.
"""

import ast
import contextlib
import functools
import gc
import importlib.machinery
import importlib.util
import inspect
import marshal
import os
import sys
import sysconfig
import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from m43.evidence.contract import CONFTEST, M43, PROMISES, contract_folders
from m43.files import file_state

_PACKAGE = "m43"
# What of a checkout may be imported; none of it but the first stands where other modules are found.
_OWN_PARTS = (M43, "tests", "conftest.py")
# dataclasses make their methods from text, typing and enum from functions of the standard library.
_MADE = ("<string>", sysconfig.get_path("stdlib"))
# What a class keeps under this name computes its annotations: PEP 649.
_ANNOTATE = "__annotate_func__"


def foreign_code(
    modules: Mapping[str, types.ModuleType], package: Path, tree: Path
) -> tuple[str, ...]:
    """Name everything in the loaded modules of m43 that is not as their files have it.

    In the conftests that make its fixtures as well. And what was imported from the tree beside m43:
    a file called argparse.py is imported before that of Python, because pytest is told to look
    there for m43, or was started from there.

    Args:
        modules: The loaded modules, by name: `sys.modules`.
        package: The folder of m43.
        tree: The folder in which the run is made; in a checkout it holds that of m43.
    """
    found: list[str] = []
    # Pytest may have been called through a link.
    package, tree = package.resolve(), tree.resolve()
    conftests = {tree / CONFTEST, *(tree / name / CONFTEST for name in contract_folders(tree))}
    for name, module in sorted(modules.items()):
        path = _place(module)
        is_own = name.partition(".")[0] == _PACKAGE
        if is_own and not path.is_relative_to(package):
            found.append(f"{name} (from {path})")
        elif is_own or path in conftests:
            found += _of_module(name, module, path)
    found += _strays(modules, package, tree)
    return tuple(dict.fromkeys(found))


def _place(module: types.ModuleType) -> Path:
    file = getattr(module, "__file__", None)
    return Path(file).resolve() if file else Path("no file")


def _strays(
    modules: Mapping[str, types.ModuleType], package: Path, repository: Path
) -> Iterator[str]:
    environment = Path(sys.prefix).resolve()
    own = [package, *(repository / part for part in _OWN_PARTS)]
    folders = (repository / name for name in contract_folders(repository))
    own += [folder / name for folder in folders for name in (PROMISES, CONFTEST)]
    for name, module in sorted(modules.items()):
        path = _place(module)
        # The environment may lie in the checkout.
        inside = path.is_relative_to(repository) and not path.is_relative_to(environment)
        if inside and not any(path.is_relative_to(part) for part in own):
            yield f"{name} (from {path.relative_to(repository)})"


def _of_module(name: str, module: types.ModuleType, path: Path) -> Iterator[str]:
    try:
        text = path.read_bytes()
        tree, code = ast.parse(text), _compile(text, str(path))
    except (OSError, SyntaxError, ValueError) as error:
        # What cannot be compared is not taken for equal.
        yield f"{name} (no source: {error})"
        return
    written = _functions(code, "")
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            live = vars(module).get(node.name)
            yield from _of_object(f"{name}.{node.name}", node.name, live, written, module)
        elif isinstance(node, ast.ImportFrom):
            yield from _of_import(name, node, module)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            yield from _of_constant(name, node, module)


# Both checks of a module need it, and the closing needs it again.
@functools.cache
def _compile(text: bytes, path: str) -> types.CodeType:
    return compile(text, path, "exec", dont_inherit=True)


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
    """Give the function that a property, a method, a fixture or a cached function stands for.

    Only out of what is known to call it: anything can say of itself what it wraps.
    """
    known: dict[type | None, str] = {
        property: "fget",
        staticmethod: "__func__",
        classmethod: "__func__",
        functools.cached_property: "func",
        _fixture_type(): "_fixture_function",
    }
    if type(live) in known:
        live = getattr(live, known[type(live)])
    if type(live) is _CACHED:
        live = next((part for part in gc.get_referents(live) if _is_function(part)), None)
    if _is_function(live) and live.__code__ == _MANAGER:
        live = live.__closure__[0].cell_contents
    return live if _is_function(live) else None


def _is_function(live: object) -> bool:
    return type(live) is types.FunctionType


def _fixture_type() -> type | None:
    return getattr(sys.modules.get("_pytest.fixtures"), "FixtureFunctionDefinition", None)


# What functools.cache returns, and what contextmanager puts around every function.
_CACHED = type(functools.cache(_is_function))
_MANAGER = contextlib.contextmanager(_is_function).__code__  # type: ignore[arg-type]


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


# --- what Python compiled earlier ----------------------------------------------------------------


def exchanged_bytecode(modules: Mapping[str, types.ModuleType]) -> tuple[str, ...]:
    """Name the modules whose compiled file is not what their source compiles to.

    Python runs what lies in __pycache__ as soon as it names time and size of the source, or its
    hash; no RECORD has a digest of it. Python's own modules are left to whoever installed Python.

    Args:
        modules: The loaded modules, by name: `sys.modules`.
    """
    return tuple(
        f"{name} (compiled otherwise, {compiled})"
        for name, module in sorted(modules.items())
        if (spec := getattr(module, "__spec__", None)) is not None
        and (source := spec.origin) is not None
        and source.endswith(".py")
        and not _is_pythons(source)
        and (compiled := _compiled(spec)) is not None
        and _is_exchanged(*map(_seen, (Path(source), compiled)), rewritten=_is_rewritten(spec))
    )


def _is_pythons(source: str) -> bool:
    standard = _MADE[1]
    inside = source.startswith(f"{standard}{os.sep}")
    return inside and "-packages" not in os.path.relpath(source, standard)


def _is_rewritten(spec: importlib.machinery.ModuleSpec) -> bool:
    rewrite = sys.modules.get(_REWRITER)
    return rewrite is not None and isinstance(spec.loader, rewrite.AssertionRewritingHook)


def _compiled(spec: importlib.machinery.ModuleSpec) -> Path | None:
    """Give the file that Python, or pytest for what it rewrites, looks for beside the source."""
    if spec.cached is None or not _is_rewritten(spec):
        return Path(spec.cached) if spec.cached else None
    rewrite, source = importlib.import_module(_REWRITER), Path(str(spec.origin))
    return rewrite.get_cache_dir(source) / f"{source.stem}{rewrite.PYC_TAIL}"


_Seen = tuple[Path, tuple[int, ...]]


def _seen(path: Path) -> _Seen:
    try:
        return path, file_state(path.stat())
    except OSError:
        return path, ()


@functools.cache
def _is_exchanged(of_source: _Seen, of_compiled: _Seen, *, rewritten: bool) -> bool:
    """Compare a compiled file that would be believed with its source, once for each of its states.

    Source: CPython, importlib/_bootstrap_external.py, _classify_pyc: magic number, flags, then time
    and size of the source (flags 0) or its hash (1 is believed unseen, 3 is compared).
    """
    source, compiled = of_source[0], of_compiled[0]
    try:
        text, data, state = source.read_bytes(), compiled.read_bytes(), source.stat()
    except OSError:
        return False
    flags = int.from_bytes(data[4:8], "little")
    words = (int(state.st_mtime) & 0xFFFFFFFF, state.st_size & 0xFFFFFFFF)
    believed = b"".join(word.to_bytes(4, "little") for word in words)
    if flags == _HASHED:
        believed = importlib.util.source_hash(text)
    if data[:4] != importlib.util.MAGIC_NUMBER or (flags != 1 and data[8:16] != believed):
        return False
    try:
        kept: object = marshal.loads(data[16:])
        if not rewritten:
            return bool(kept != _compile(text, str(source)))
        tree = ast.parse(text)
        importlib.import_module(_REWRITER).rewrite_asserts(tree, text, str(source))
        return bool(kept != compile(tree, str(source), "exec", dont_inherit=True))
    except (EOFError, SyntaxError, TypeError, ValueError):
        # What cannot be compared is not taken for equal.
        return True


# Imported where pytest has rewritten something: on a lent card m43 trains where pytest is not.
_REWRITER = "_pytest.assertion.rewrite"
_HASHED = 3
