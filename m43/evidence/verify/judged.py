"""The judgement made again: every promise over the records, the locked decisions, the scores."""

import importlib.util
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from m43.errors import M43Error, Problem, problem
from m43.evidence.contract import contract, read_contract
from m43.evidence.run import LoadedRun
from m43.records import RunDir, profile_check
from m43.rows import scoring
from m43.text import counted

_ALTERED = "do not rely on this folder: it was changed after the run"


def audit_contract(loaded_run: LoadedRun, repository: Path) -> Iterator[Problem]:
    """Judge every promise again with the repository's own contract."""
    path = repository / contract.PATH
    try:
        digest = read_contract(path).text_sha256
    except M43Error as error:
        yield from error.problems
        return
    kept = loaded_run.contract.text_sha256 if loaded_run.contract else "none"
    for where, wanted in _contract_digests(loaded_run, kept):
        if wanted != digest:
            commit = loaded_run.opening.commit if loaded_run.opening else "the run's commit"
            yield problem(
                f"contract {digest[:12]}… in {path}",
                f"{wanted[:12]}…, as in {where}",
                contract.PATH.as_posix(),
                f"check out commit {commit}, which this run was made with, and verify again",
            )
            return
    if sys.flags.optimize:
        yield problem("python -O", "asserts that run", "the interpreter", "verify without -O")
        return
    yield from _judged_again(loaded_run, path)


def _contract_digests(loaded_run: LoadedRun, kept: str) -> Iterator[tuple[str, str]]:
    if loaded_run.opening:
        yield RunDir.opening.name, loaded_run.opening.contract_sha256
    yield RunDir.contract_text.name, kept


def _judged_again(loaded_run: LoadedRun, path: Path) -> Iterator[Problem]:
    promises = load_promises(path)
    stopped = {entry.gate for entry in loaded_run.entries if entry.event == "gate_stopped"}
    for entry in loaded_run.entries:
        if entry.event not in ("promise_kept", "promise_broken") or entry.gate in stopped:
            continue
        where = f"journal.jsonl, entry {entry.seq} ({entry.name})"
        if entry.name not in promises:
            yield problem("an unknown promise", "a promise of the contract", where, _ALTERED)
            continue
        broken = hold(promises[entry.name], loaded_run.records)
        if entry.event == "promise_kept" and broken:
            found = f"kept, but the records do not keep it: {broken}"
            yield problem(found, "records that keep it", where, _ALTERED)
        if entry.event == "promise_broken" and not broken:
            yield problem("broken, but the records keep it", "a reason", where, _ALTERED)


def load_promises(path: Path) -> Mapping[str, Callable[..., None]]:
    """Load the test functions of the repository's contract."""
    spec = importlib.util.spec_from_file_location("m43_contract", path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} cannot be loaded as Python")
    module = importlib.util.module_from_spec(spec)
    # No .pyc beside the contract: verifying writes nothing, not even a cache.
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        spec.loader.exec_module(module)
    finally:
        sys.dont_write_bytecode = before
    return {name: each for name, each in vars(module).items() if name.startswith("test_")}


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
        locked = profile_check.load(repository / "acceptance" / f"{opening.kind}.toml")
    except M43Error as error:
        yield from error.problems
        return
    disclosed = {line.split(":", 1)[0] for line in opening.profile_differences}
    for line in profile_check.differences(profile, locked):
        key = line.split(":", 1)[0]
        if not key.startswith(("data.", "venv.", "run.")) and key not in disclosed:
            action = "the run did not keep to the locked decisions and does not say so"
            yield problem(line, "a difference that is disclosed", RunDir.opening.name, action)


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
