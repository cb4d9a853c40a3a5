"""The verification of a run folder: every claim of it made again, from its files alone.

It needs the standard library and the repository that the run was made with. Code is taken from
the repository only, never from the run folder. What it cannot do: prove who made the folder.
"""

import importlib.util
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory

from m43.errors import M43Error, Problem, problem
from m43.evidence.contract import contract, read_contract
from m43.evidence.diagnosis import is_cut_off
from m43.evidence.documents import audit_attestations, expected_document, expected_loss_curve
from m43.evidence.journal import gate_digest, manifest, secrets
from m43.evidence.run import LoadedRun, load_run
from m43.evidence.verify import line_ends
from m43.evidence.verify.card import audit_card
from m43.evidence.verify.code import audit_code, other_version
from m43.evidence.verify.ledger import audit_ledger
from m43.evidence.verify.report import audit_reports
from m43.evidence.verify.rows import audit_decoding, audit_lint, audit_rows
from m43.evidence.verify.signature import audit_signature
from m43.evidence.verify.training import audit_metrics, audit_model, audit_speed, audit_weights
from m43.files import file_sha256
from m43.records import RunDir, profile_check
from m43.rows import scoring
from m43.text import counted


def verify(
    run_path: Path,
    repository: Path,
    *,
    without_weights: bool = False,
    public_key: Path | None = None,
) -> tuple[Problem, ...]:
    """Recompute every claim of a run folder; an empty answer means that all are supported."""
    run, runs = RunDir(run_path), run_path.absolute().parent
    # Contract, profile, rows and code are this checkout's: nothing else can be held against them.
    unfit = line_ends.checkout_problem(repository) or other_version(run, repository)
    if unfit is not None:
        return (unfit,)
    names = line_ends.rewritten(run)
    if not names:
        key = public_key
        return _problems(run, repository, runs, without_weights=without_weights, public_key=key)
    with TemporaryDirectory(prefix="m43-verify-") as folder:
        copy = line_ends.restore(run, names, Path(folder))
        others = _problems(copy, repository, runs, without_weights=True, public_key=public_key)
        here = tuple(_moved(other, str(copy.path), str(run_path)) for other in others)
    return (line_ends.run_problem(run, names), *here)


def _moved(other: Problem, old: str, new: str) -> Problem:
    parts = {name: text.replace(old, new) for name, text in asdict(other).items()}
    return Problem(**parts)


def _problems(
    run: RunDir, repository: Path, runs: Path, *, without_weights: bool, public_key: Path | None
) -> tuple[Problem, ...]:
    loaded_run = load_run(run)
    checks: tuple[Callable[[], Iterator[Problem]], ...] = (
        lambda: _identity(loaded_run),
        lambda: _ending(run, loaded_run),
        lambda: _seals(run, loaded_run),
        lambda: _manifest(run, loaded_run, without_weights=without_weights),
        lambda: audit_code(run, loaded_run, repository),
        lambda: _contract(loaded_run, repository),
        lambda: _profile(loaded_run, repository),
        lambda: audit_ledger(loaded_run.opening, runs),
        lambda: audit_metrics(loaded_run),
        lambda: audit_speed(run, loaded_run),
        lambda: audit_card(run, loaded_run),
        lambda: audit_weights(run, loaded_run),
        lambda: audit_model(run, loaded_run),
        lambda: _scores(run, loaded_run),
        lambda: audit_decoding(loaded_run),
        lambda: audit_rows(loaded_run, repository),
        lambda: audit_lint(loaded_run, repository),
        lambda: _documents(run, loaded_run),
        lambda: _loss_curve(run, loaded_run),
        lambda: audit_attestations(run, loaded_run),
        lambda: audit_reports(run, loaded_run),
        lambda: audit_signature(run, loaded_run, public_key),
        lambda: _no_secrets(run),
    )
    problems = list(loaded_run.problems)
    for check in checks:
        try:
            problems += check()
        except (ArithmeticError, LookupError, ValueError) as error:
            # Such as those of a device that computes nothing in a second.
            found = f"records that cannot be computed with ({type(error).__name__}: {error})"
            problems.append(problem(found, "those of a run", run.path.name, _ALTERED))
    return tuple(dict.fromkeys(problems))


def _identity(loaded_run: LoadedRun) -> Iterator[Problem]:
    """Compare what the folder says about itself in several places."""
    opening, profile = loaded_run.opening, loaded_run.profile
    if opening is None or profile is None:
        missing = RunDir.opening.name if opening is None else RunDir.profile.name
        yield problem("no record", "what was true before the first gate", missing, _MISSING)
        return
    if opening.kind != profile.kind:
        yield problem(f"a {opening.kind} run", f"{profile.kind}", "opening.json, kind", _ALTERED)
    if opening.run != profile.run.name:
        expected = f"{profile.run.name}, as in contract.lock.json"
        yield problem(opening.run, expected, "opening.json, run", _ALTERED)
    if opening.run != loaded_run.name:
        action = "give the folder its own name again; a run is known by it"
        found = f"a folder called {loaded_run.name}"
        yield problem(found, opening.run, "opening.json, run", action)


def _ending(run: RunDir, loaded_run: LoadedRun) -> Iterator[Problem]:
    """Require the end of the journal, and one entry about every promise."""
    events = [entry.event for entry in loaded_run.entries]
    where = run.journal.name
    # A run that was cut off before its first line has a journal of what closed it alone.
    if events[:1] != ["opened"] and not is_cut_off(next(iter(loaded_run.entries), None)):
        yield problem("no first entry", "'opened' as the first entry", where, _ALTERED)
    if events[-2:] != ["sealed", "closed"]:
        action = (
            "the run was cut off, or is still on: it supports no claim as a whole; the next run "
            "closes it, or `python -m m43 render RUN_DIR`"
        )
        yield problem("no closing record", "'sealed' and 'closed' at the end", where, action)
        return
    verdict = loaded_run.verdict
    words = loaded_run.verdict_words(verdict.accepted)
    if loaded_run.entries[-1].detail != words:
        why = "; ".join(verdict.reasons[:3]) or "nothing speaks against it"
        found = f"'closed' with the verdict {loaded_run.entries[-1].detail!r}"
        yield problem(found, f"{words!r} ({why})", where, _ALTERED)
    told = [entry.name for entry in loaded_run.entries if entry.event.startswith("promise_")]
    promised = loaded_run.contract.names if loaded_run.contract else ()
    for name in promised:
        if told.count(name) != 1:
            found = f"{told.count(name)} entries about {name}"
            yield problem(found, "exactly one", where, _ALTERED)


def _seals(run: RunDir, loaded_run: LoadedRun) -> Iterator[Problem]:
    """Recompute the digests in the journal."""
    for entry in loaded_run.entries:
        if entry.event == "gate_closed":
            digest = _gate_digest(run, entry.gate)
            where = f"records of gate {entry.gate}"
            yield from _digest_problem(digest, entry.detail, where)
        if entry.event == "sealed":
            path = run.manifest
            digest = file_sha256(path) if path.is_file() else "no file"
            yield from _digest_problem(digest, entry.detail, path.name)


def _manifest(run: RunDir, loaded_run: LoadedRun, *, without_weights: bool) -> Iterator[Problem]:
    # A run that was never sealed has no manifest; that it was not is told once, by its ending.
    if any(entry.event == "sealed" for entry in loaded_run.entries):
        yield from manifest.check(run, without_weights=without_weights)


def _gate_digest(run: RunDir, gate: str) -> str:
    try:
        return gate_digest(run, gate)
    except M43Error as error:
        return f"nothing ({error})"


def _digest_problem(found: str, expected: str, where: str) -> Iterator[Problem]:
    if found != expected:
        yield problem(f"SHA-256 {found}", f"{expected}, as in the journal", where, _ALTERED)


def _contract(loaded_run: LoadedRun, repository: Path) -> Iterator[Problem]:
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


def _profile(loaded_run: LoadedRun, repository: Path) -> Iterator[Problem]:
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


def _scores(run: RunDir, loaded_run: LoadedRun) -> Iterator[Problem]:
    """Count the scores again, and judge every answer again."""
    if loaded_run.evaluation is None or loaded_run.profile is None:
        return
    evaluation = loaded_run.evaluation
    if evaluation.results != scoring.tally(evaluation.predictions):
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


def _documents(run: RunDir, loaded_run: LoadedRun) -> Iterator[Problem]:
    """Require exactly one closing document, the same as rendering writes."""
    name, text = expected_document(loaded_run)
    for path in (run.summary, run.failure_analysis):
        if path.name != name and path.exists():
            yield problem("a document", f"{name} alone", path.name, _RENDER)
        if path.name == name:
            yield from _text_problem(path, text)


def _text_problem(path: Path, expected: str) -> Iterator[Problem]:
    if not path.is_file():
        yield problem("no document", "the closing document", path.name, _RENDER)
        return
    found = path.read_bytes()
    if found == expected.encode():
        return
    lines = found.decode(errors="replace").splitlines()
    wanted = expected.splitlines()
    pairs = enumerate(zip(lines, wanted, strict=False), start=1)
    number = next((n for n, (a, b) in pairs if a != b), min(len(lines), len(wanted)) + 1)
    line = lines[number - 1] if number <= len(lines) else "the end"
    truth = wanted[number - 1] if number <= len(wanted) else "the end"
    yield problem(repr(line[:120]), repr(truth[:120]), f"{path.name}:{number}", _RENDER)


def _loss_curve(run: RunDir, loaded_run: LoadedRun) -> Iterator[Problem]:
    """Draw the curve again."""
    path = run.loss_curve
    if not loaded_run.metrics or all(entry.event != "sealed" for entry in loaded_run.entries):
        return
    if not path.is_file():
        yield problem("no picture", "the loss curve", path.name, _RENDER)
    elif path.read_bytes() != expected_loss_curve(loaded_run).encode():
        yield problem("another picture", "the curve of the steps", path.name, _RENDER)


def _no_secrets(run: RunDir) -> Iterator[Problem]:
    for path in secrets.search(run.path, ()):
        action = "revoke that token now; then take the folder out of circulation"
        where = path.relative_to(run.path).as_posix()
        yield problem("something shaped like a hub token", "no secrets", where, action)


_MISSING = "the run did not get as far, or the file was taken away"
_ALTERED = "do not rely on this folder: it was changed after the run"
_RENDER = (
    "look at the difference first: another version of m43 may word it otherwise (the run's commit "
    "stands in opening.json); `python -m m43 render RUN_DIR` writes it from the records"
)
