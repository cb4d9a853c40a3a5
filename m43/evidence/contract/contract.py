"""The contract: the promises, read from the text of a test file and kept with the run."""

import ast
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from m43.errors import Problem, ProblemsError, problem
from m43.evidence.contract.expression import AssertedExpression, unreadable
from m43.records import STAGES, TABLE, RunDir, gate_of, write_atomically


class ContractError(ProblemsError):
    """A contract that does not read as one, with everything that is wrong with it."""


@dataclass(frozen=True, kw_only=True)
class Promise:
    """One promise: its name, its gate, its clause in plain words and what it asserts."""

    name: str
    gate: str
    clause: str
    asserts: tuple[AssertedExpression, ...] = field(default=(), repr=False)


@dataclass(frozen=True, kw_only=True)
class ContractText:
    """The contract as it stands in its file."""

    text_sha256: str
    promises: tuple[Promise, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The promises' names, in order."""
        return tuple(promise.name for promise in self.promises)


def parse_contract(data: bytes, where: str) -> ContractText:
    """Read the promises out of a contract's text without running it.

    Raises: ContractError, with every problem at once.
    """
    try:
        module = ast.parse(data)
    except (SyntaxError, ValueError) as error:
        raise ContractError((problem(str(error), "Python", where, "correct the file"),)) from error
    functions = [node for node in module.body if isinstance(node, ast.FunctionDef)]
    problems = [*_foreign(module, where)]
    for function in functions:
        problems += _function_problems(function, f"{where}:{function.lineno}")
    problems += [*_duplicates(functions, where), *_disorder(functions, where)]
    if not functions:
        problems.append(
            problem("no promise", "test functions", where, "restore the contract from git")
        )
    if problems:
        raise ContractError(problems)
    promises = tuple(_promise(function) for function in functions)
    return ContractText(text_sha256=hashlib.sha256(data).hexdigest(), promises=promises)


def _promise(function: ast.FunctionDef) -> Promise:
    asserts = [node for node in function.body if isinstance(node, ast.Assert)]
    return Promise(
        name=function.name,
        gate=gate_of(function.name) or "",
        clause=" ".join((ast.get_docstring(function) or "").split()),
        asserts=tuple(AssertedExpression(source=ast.unparse(node.test)) for node in asserts),
    )


def _foreign(module: ast.Module, where: str) -> Iterator[Problem]:
    """Refuse whatever else stands in the file: a skip mark is one line at its top."""
    for index, node in enumerate(module.body):
        docstring = (
            index == 0 and isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        )
        if not docstring and not isinstance(node, ast.FunctionDef):
            found = f"{type(node).__name__.lower()} `{_brief(node)}`"
            action = "move it out of the contract"
            yield problem(found, "promises only", f"{where}:{node.lineno}", action)


def _function_problems(function: ast.FunctionDef, where: str) -> Iterator[Problem]:
    name = function.name
    if gate_of(name) is None:
        expected = "a name that begins with " + ", ".join(gate.prefix for gate in TABLE)
        yield problem(f"the name {name}", expected, where, "name the promise after its gate")
    if function.decorator_list:
        found = f"{name} decorated with `{_brief(function.decorator_list[0])}`"
        yield problem(found, "a plain function", where, "remove the decorator")
    arguments = function.args
    names = {argument.arg for argument in arguments.args}
    if arguments.defaults or arguments.vararg or arguments.kwarg or arguments.kwonlyargs:
        found = f"{name}({ast.unparse(arguments)})"
        yield problem(found, "names of records only", where, "ask for fixtures by name")
    if not (ast.get_docstring(function) or "").strip():
        action = "say in plain words what it promises"
        yield problem(f"{name} without a docstring", "a clause", where, action)
    yield from _body_problems(function, names, where)


def _body_problems(function: ast.FunctionDef, names: set[str], where: str) -> Iterator[Problem]:
    body = function.body
    first = 1 if ast.get_docstring(function) is not None else 0
    if not body[first:]:
        found = f"{function.name} without an assert"
        yield problem(found, "one or two asserts", where, "assert what it promises")
    file = where.rsplit(":", 1)[0]
    for node in body[first:]:
        place = f"{file}:{node.lineno}"
        if not isinstance(node, ast.Assert):
            yield problem(f"`{_brief(node)}`", "asserts only", place, "move it to the records")
            continue
        used = {leaf.id for leaf in ast.walk(node.test) if isinstance(leaf, ast.Name)}
        if not used & names:
            action = "compare a record's field"
            yield problem(f"`{_brief(node)}`", "an assert about a record", place, action)
        for found in unreadable(node.test):
            action = "write it with records, len, set, min, max, sum, sorted, abs and comparisons"
            yield problem(f"`{found}`", "a measurement that can be shown", place, action)


def _duplicates(functions: list[ast.FunctionDef], where: str) -> Iterator[Problem]:
    seen: dict[str, int] = {}
    for function in functions:
        if function.name in seen:
            # Python keeps the last one only: the first would silently not be a promise.
            found = f"{function.name} again, first in line {seen[function.name]}"
            action = "rename one of them"
            yield problem(found, "each name once", f"{where}:{function.lineno}", action)
        seen.setdefault(function.name, function.lineno)


def _disorder(functions: list[ast.FunctionDef], where: str) -> Iterator[Problem]:
    reached = 0
    for function in functions:
        gate = gate_of(function.name)
        if gate is None:
            continue
        if STAGES.index(gate) < reached:
            found = f"{function.name} after a promise of gate {STAGES[reached]}"
            action = "put the promises in the order of the gates"
            yield problem(found, f"gate {gate} first", f"{where}:{function.lineno}", action)
        reached = max(reached, STAGES.index(gate))


def _brief(node: ast.AST) -> str:
    text = " ".join(ast.unparse(node).split())
    return text if len(text) <= 60 else text[:57] + "..."


def read_contract(path: Path) -> ContractText:
    """Read the promises of a contract file.

    Raises: ContractError, with every problem at once.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        found = f"{type(error).__name__}: {error.strerror}"
        raise ContractError(
            (problem(found, "the contract", path, "restore it from git"),)
        ) from error
    return parse_contract(data, str(path))


def keep(run: RunDir, path: Path) -> ContractText:
    """Copy the contract into the run folder, so that its documents can be made from it alone.

    Raises: ContractError, before anything is copied.
    """
    contract = read_contract(path)
    write_atomically(run.contract_text, path.read_bytes())
    return contract


def read_kept(run: RunDir) -> ContractText:
    """Read the contract that a run was begun under.

    Raises: ContractError.
    """
    return read_contract(run.contract_text)
