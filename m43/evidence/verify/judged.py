"""The judgement made again: every promise over the records, the locked decisions, the scores."""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from m43.errors import M43Error, Problem, problem
from m43.evidence.contract import (
    called,
    contract_path,
    profile_path,
    promise_differences,
    read_contract,
    rows_differences,
)
from m43.evidence.run import LoadedRun
from m43.records import RunDir, profile_check
from m43.rows import scoring
from m43.text import counted

_ALTERED = "do not rely on this folder: it was changed after the run"


def audit_contract(loaded_run: LoadedRun, repository: Path) -> Iterator[Problem]:
    """Judge every promise again, and work out again in what this is not the M43 contract.

    The M43 contract is run as the repository has it. Another one is never run: its text is read.
    """
    path, opening, kept = contract_path(repository), loaded_run.opening, loaded_run.contract
    if opening is None or kept is None:
        if kept is None:
            yield problem("no contract", "what was promised", RunDir.contract_text.name, _ALTERED)
        return
    try:
        m43 = read_contract(path)
        name = profile_check.load(profile_path(repository, opening.kind)).contract.name
    except M43Error as error:
        yield from error.problems
        return
    if kept.text_sha256 != opening.contract_sha256:
        found, expected = f"contract {kept.text_sha256[:12]}…", f"{opening.contract_sha256[:12]}…"
        where = RunDir.contract_text.name
        yield problem(found, f"{expected}, as in {RunDir.opening.name}", where, _ALTERED)
        return
    told, differences = opening.promise_differences, promise_differences(kept, m43)
    if told != differences:
        yield problem(
            f"promises that differ from the M43 contract: {_listed(told)}",
            f"{_listed(differences)}, by {RunDir.contract_text.name} and {path}",
            f"{RunDir.opening.name}, promise_differences",
            f"check out commit {opening.commit}, which this run was made with, and verify again",
        )
    if (profile := loaded_run.profile) is not None:
        right = called(profile.contract.name, name, loaded_run.contract_differences)
        if right != opening.contract_name:
            where = f"{RunDir.opening.name}, contract_name"
            yield problem(repr(opening.contract_name), repr(right), where, _ALTERED)
    if sys.flags.optimize:
        yield problem("python -O", "asserts that run", "the interpreter", "verify without -O")
        return
    yield from _judged_again(loaded_run, path if kept.text_sha256 == m43.text_sha256 else None)


def _listed(lines: Sequence[str]) -> str:
    return "; ".join(lines) or "none"


def _broken(loaded_run: LoadedRun, path: Path | None) -> Mapping[str, str]:
    """Say of each promise why the records do not keep it; nothing where they do."""
    if path is not None:
        promises = load_promises(path).items()
        return {name: hold(promise, loaded_run.records) for name, promise in promises}
    words = {True: "", False: "the assertion fails", None: "it cannot be measured"}
    return {each.promise.name: words[each.holds] for each in loaded_run.judged}


def _judged_again(loaded_run: LoadedRun, path: Path | None) -> Iterator[Problem]:
    told = _broken(loaded_run, path)
    stopped = {entry.gate for entry in loaded_run.entries if entry.event == "gate_stopped"}
    for entry in loaded_run.entries:
        if entry.event not in ("promise_kept", "promise_broken") or entry.gate in stopped:
            continue
        where = f"journal.jsonl, entry {entry.seq} ({entry.name})"
        if entry.name not in told:
            yield problem("an unknown promise", "a promise of the contract", where, _ALTERED)
            continue
        broken = told[entry.name]
        if entry.event == "promise_kept" and broken:
            found = f"kept, but the records do not keep it: {broken}"
            yield problem(found, "records that keep it", where, _ALTERED)
        if entry.event == "promise_broken" and not broken:
            yield problem("broken, but the records keep it", "a reason", where, _ALTERED)


def load_promises(path: Path) -> Mapping[str, Callable[..., None]]:
    """Run the text of the repository's contract, and return its test functions.

    Compiled here: what Python or pytest keeps of it in __pycache__ is neither believed nor written.
    """
    names: dict[str, Any] = {"__name__": "m43_contract"}
    exec(compile(path.read_bytes(), str(path), "exec", dont_inherit=True), names)
    return {name: each for name, each in names.items() if name.startswith("test_")}


def hold(promise: Callable[..., None], records: Mapping[str, object]) -> str:
    """Call a promise with its records; return why it does not hold, or nothing."""
    count = promise.__code__.co_argcount
    wanted = promise.__code__.co_varnames[:count]
    missing = [name for name in wanted if name not in records]
    if missing:
        return f"no records for {', '.join(missing)}"
    try:
        promise(*(records[name] for name in wanted))
    except AssertionError:
        return "the assertion fails"
    except (AttributeError, TypeError, ValueError, ArithmeticError) as error:
        return f"{type(error).__name__}: {error}"
    return ""


def audit_profile(loaded_run: LoadedRun, repository: Path) -> Iterator[Problem]:
    """Compare a run's profile with the locked decisions of its kind in the repository.

    Paths and the run's name differ from machine to machine and are disclosed in the opening.
    """
    opening, profile = loaded_run.opening, loaded_run.profile
    if opening is None or profile is None:
        return
    try:
        locked = profile_check.load(profile_path(repository, opening.kind))
        rows = (opening.train_rows_sha256, opening.eval_rows_sha256)
        other_rows = rows_differences(rows, repository) if opening.tree_commit else ()
    except M43Error as error:
        yield from error.problems
        return
    told = opening.profile_differences
    found = (*profile_check.differences(profile, locked), *other_rows)
    elsewhere = ("data.train:", "data.evaluation:", "venv.", "run.")
    for line in found:
        if not line.startswith(elsewhere) and line not in told:
            action = "the run did not keep to the locked decisions and does not say so"
            yield problem(line, "a difference that is disclosed", RunDir.opening.name, action)
    for line in told:
        if not line.startswith(elsewhere) and line not in found:
            expected = f"a difference of {RunDir.profile.name}"
            yield problem(line, expected, RunDir.opening.name, _ALTERED)


def audit_scores(run: RunDir, loaded_run: LoadedRun) -> Iterator[Problem]:
    """Count the scores again, and judge every answer again."""
    if loaded_run.evaluation is None or loaded_run.profile is None:
        return
    evaluation = loaded_run.evaluation
    if evaluation.results != evaluation.recomputed_results:
        expected = "the counts that follow from predictions.jsonl"
        yield problem("other counts", expected, run.results.name, _ALTERED)
    marker = loaded_run.profile.template.answer_marker
    rows = scoring.disagreements(evaluation.predictions, marker)
    if rows:
        found = (
            f"{counted(len(rows), 'row')} whose verdict does not follow from the output "
            f"({rows[0]} first)"
        )
        expected = "answers and verdicts as m43/rows/answers.py gives them"
        yield problem(found, expected, run.predictions.name, _ALTERED)
