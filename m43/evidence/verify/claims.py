"""The verification of a run folder: every claim of it made again, from its files alone.

It needs the standard library and the repository that the run was made with. Code is taken from
the repository only, never from the run folder. What it cannot do: prove who made the folder.
"""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from m43.errors import M43Error, Problem, problem
from m43.evidence.attestation import audit_attestations
from m43.evidence.diagnosis import diagnose_loaded, is_cut_off
from m43.evidence.journal import gate_digest, ledger, manifest
from m43.evidence.run import LoadedRun, load_run
from m43.evidence.verify import line_ends
from m43.evidence.verify.agreements import Folder, audit_agreements
from m43.evidence.verify.code import audit_code, audit_imported, other_version
from m43.evidence.verify.folder import secrets_in, unknown_names, unreadable
from m43.evidence.verify.judged import audit_contract, audit_profile, audit_scores
from m43.evidence.verify.ledger import audit_ledger
from m43.evidence.verify.report import (
    audit_document,
    audit_loss_curve,
    audit_model_card,
    audit_reports,
)
from m43.evidence.verify.signature import audit_signature
from m43.files import file_sha256
from m43.records import RunDir


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One thing that a folder claims, in a sentence, and what of it does not hold."""

    words: str
    problems: tuple[Problem, ...] = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What a verification found.

    Attributes:
        verdict: the run's, worked out from its records; empty where it could not be.
        why: the reason of that verdict, in a sentence.
        accepted: whether it is the verdict of an accepted run.
        contract: in what its contract is not the M43 contract, line by line; the first names it.
        claims: every claim that was checked, in this order, with what does not hold of it.
    """

    verdict: str
    why: str
    accepted: bool
    claims: tuple[Claim, ...] = field(repr=False)
    contract: tuple[str, ...] = ()

    @property
    def problems(self) -> tuple[Problem, ...]:
        """All that does not hold, each once."""
        return tuple(dict.fromkeys(each for claim in self.claims for each in claim.problems))


Watch = Callable[[str], None]


def verify(
    run_path: Path,
    repository: Path,
    *,
    without_weights: bool = False,
    public_key: Path | None = None,
) -> tuple[Problem, ...]:
    """Recompute every claim of a run folder; an empty answer means that all are supported."""
    return examine(
        run_path, repository, without_weights=without_weights, public_key=public_key
    ).problems


def examine(
    run_path: Path,
    repository: Path,
    *,
    without_weights: bool = False,
    public_key: Path | None = None,
    watch: Watch = lambda words: None,
) -> Findings:
    """Recompute every claim of a run folder, and its verdict with them.

    Args:
        run_path: of the run folder.
        repository: the code that it is held against.
        without_weights: the folder was handed on without them.
        public_key: of the person who signed it.
        watch: told the words of each claim before it is checked.
    """
    run, runs = RunDir(run_path), run_path.absolute().parent
    watch(_READABLE)
    # Before the first byte is read: a pipe has no end.
    if unread := unreadable(run):
        return _unjudged(unread)
    # Contract, profile, rows and code are this checkout's: nothing else can be held against them.
    unfit = line_ends.checkout_problem(repository) or other_version(run, repository)
    if unfit is not None:
        return _unjudged((unfit,))
    names = line_ends.rewritten(run)
    if not names:
        key = public_key
        return _findings(
            run, repository, runs, without_weights=without_weights, public_key=key, watch=watch
        )
    with TemporaryDirectory(prefix="m43-verify-") as folder:
        copy = line_ends.restore(run, names, Path(folder))
        found = _findings(
            copy, repository, runs, without_weights=True, public_key=public_key, watch=watch
        )
        here = tuple(_moved(claim, str(copy.path), str(run_path)) for claim in found.claims)
    rewritten = Claim(
        words="Every file has the line ends that it was written with.",
        problems=(line_ends.run_problem(run, names),),
    )
    return replace(found, claims=(rewritten, *here))


def _unjudged(problems: tuple[Problem, ...]) -> Findings:
    claims = (Claim(words=_READABLE, problems=problems),)
    return Findings(verdict="", why="", accepted=False, claims=claims)


def _moved(claim: Claim, old: str, new: str) -> Claim:
    problems = (
        Problem(**{name: text.replace(old, new) for name, text in asdict(each).items()})
        for each in claim.problems
    )
    return replace(claim, problems=tuple(problems))


def _findings(
    run: RunDir,
    repository: Path,
    runs: Path,
    *,
    without_weights: bool,
    public_key: Path | None,
    watch: Watch,
) -> Findings:
    loaded_run = load_run(run)
    accepted = loaded_run.verdict.accepted
    readable = Claim(words=_READABLE, problems=tuple(loaded_run.problems))
    checks = _checks(
        run, loaded_run, repository, runs, without_weights=without_weights, public_key=public_key
    )
    words = _words(run, runs, public_key)
    return Findings(
        verdict=loaded_run.verdict_words(accepted),
        why=_why(loaded_run),
        accepted=accepted,
        contract=_contract(loaded_run),
        claims=(
            readable,
            *(_claim(run, *each, watch) for each in zip(words, checks, strict=True)),
        ),
    )


def _contract(loaded_run: LoadedRun) -> tuple[str, ...]:
    lines = loaded_run.contract_differences
    return (loaded_run.other_contract, *lines) if lines else ()


def _why(loaded_run: LoadedRun) -> str:
    if loaded_run.verdict.accepted:
        count = len(loaded_run.contract.names) if loaded_run.contract else 0
        return f"every promise of the contract was kept, {count} of {count}"
    found = diagnose_loaded(loaded_run)
    return f"{found.place}: {found.failure_class}. {found.sentence}"


def _checks(
    run: RunDir,
    loaded_run: LoadedRun,
    repository: Path,
    runs: Path,
    *,
    without_weights: bool,
    public_key: Path | None,
) -> tuple[Callable[[], Iterator[Problem]], ...]:
    return (
        lambda: audit_identity(loaded_run),
        lambda: audit_ending(run, loaded_run),
        lambda: _seals(run, loaded_run),
        lambda: _manifest(run, loaded_run, without_weights=without_weights),
        lambda: audit_code(run, loaded_run, repository),
        lambda: audit_imported(run, loaded_run),
        lambda: audit_contract(loaded_run, repository),
        lambda: audit_profile(loaded_run, repository),
        lambda: audit_ledger(loaded_run.opening, runs),
        lambda: audit_agreements(Folder(run=run, loaded_run=loaded_run, repository=repository)),
        lambda: audit_scores(run, loaded_run),
        lambda: unknown_names(run, loaded_run),
        lambda: audit_document(run, loaded_run),
        lambda: audit_model_card(run, loaded_run),
        lambda: audit_loss_curve(run, loaded_run),
        lambda: audit_attestations(run, loaded_run),
        lambda: audit_reports(run, loaded_run),
        lambda: audit_signature(run, loaded_run, public_key),
        lambda: secrets_in(run),
    )


# In the order of the checks; what a run did not reach, it claims nothing about.
_WORDS = (
    "The records name one run of one kind, and the folder bears its name.",
    "The journal reaches its end, and tells the verdict and each promise once.",
    "The records of each gate are those that the journal sealed.",
    "Every sealed file is there and unchanged, weights aside where they were left out.",
    "The code that judged the run is the code of its commit.",
    "What the training and the evaluation imported of m43 is that code.",
    "The promises are those of the contract.",
    "The profile differs from the locked one in no other way than it discloses.",
    "The attempts that the run discloses are a chain{ledger}.",
    "The records agree with one another and with the rows.",
    "Every answer, scored again, gives the recorded scores.",
    "Every file is one that a run leaves.",
    "The closing document says what the records say.",
    "The model's card says what the records say.",
    "The loss curve is that of the recorded steps.",
    "The attestations say what the records say.",
    "The report says what the records say, as far as they reach.",
    "{signed}.",
    "Nothing is shaped like a token of the hub.",
)
_READABLE = "The folder and every record in it can be read."
CLAIMS = len(_WORDS) + 1


def _words(run: RunDir, runs: Path, public_key: Path | None) -> Iterator[str]:
    """Word each claim as what this folder lets be checked: over nothing, none counts as held."""
    kept = (runs / ledger.FILE).is_file()
    beside = ", as in the ledger" if kept else "; no ledger lies beside the folder"
    asked = "by the holder of the given key" if public_key else "by whom was not asked"
    is_signed = public_key is not None or run.signature.is_file()
    signed = f"What is signed are these files, {asked}" if is_signed else "Nothing here is signed"
    return (words.format(ledger=beside, signed=signed) for words in _WORDS)


def _claim(run: RunDir, words: str, check: Callable[[], Iterator[Problem]], watch: Watch) -> Claim:
    watch(words)
    try:
        return Claim(words=words, problems=tuple(check()))
    except (ArithmeticError, LookupError, OSError, ValueError) as error:
        # Such as those of a device that computes nothing in a second.
        found = f"records that cannot be computed with ({type(error).__name__}: {error})"
        failed = problem(found, "those of a run", run.path.name, _ALTERED)
        return Claim(words=words, problems=(failed,))


def audit_identity(loaded_run: LoadedRun) -> Iterator[Problem]:
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


def audit_ending(run: RunDir, loaded_run: LoadedRun) -> Iterator[Problem]:
    """Require the end of the journal, and one entry about every promise."""
    events = [entry.event for entry in loaded_run.entries]
    where = run.journal.name
    for entry in loaded_run.entries:
        if entry.event in ("opened", "promise_kept") and entry.detail:
            yield problem(repr(entry.detail), "no words", f"{where}:{entry.seq}", _ALTERED)
    # A run that was cut off before its first line has a journal of what closed it alone.
    if events[:1] != ["opened"] and not is_cut_off(next(iter(loaded_run.entries), None)):
        yield problem("no first entry", "'opened' as the first entry", where, _ALTERED)
    if events[-2:] != ["sealed", "closed"]:
        action = (
            "the run was cut off, or is still on: it supports no claim as a whole; where it was "
            "made, the next run closes it, or `python -m m43 render RUN_DIR`"
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
    for name in loaded_run.contract.names if loaded_run.contract else ():
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
            digest = file_sha256(run.manifest) if run.manifest.is_file() else "no file"
            yield from _digest_problem(digest, entry.detail, run.manifest.name)


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


_MISSING = "the run did not get as far, or the file was taken away"
_ALTERED = "do not rely on this folder: it was changed after the run"
