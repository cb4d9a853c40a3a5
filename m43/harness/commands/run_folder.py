"""The commands on a run folder that is there: verify, render, compare, seal and bundle.

Each imports what it needs when it is called: verify runs on the standard library alone.
"""

import getpass
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from m43.errors import M43Error, Problem, ProblemsError, problem
from m43.evidence.contract import home, package
from m43.records import RunDir, require_run, write_atomically
from m43.text import counted, is_weight_file, visible

if TYPE_CHECKING:
    from m43.evidence.verify import Findings, Unpacked


class UnsupportedRunError(M43Error):
    """A folder that makes a claim which does not hold; a signature would only lend it weight."""


def verify(
    path: Path | None,
    repository: Path,
    runs: Path,
    out: TextIO,
    *,
    without_weights: bool,
    public_key: Path | None,
    replay: int = 0,
) -> int:
    """Recompute every claim of a run folder, and say its verdict first.

    Args:
        path: of the run folder, or of a bundle of it.
        repository: of this code, or the tree that it was installed for.
        runs: where runs lie.
        out: what is said goes there.
        without_weights: the folder was handed on without them.
        public_key: of the person who signed it.
        replay: how many rows to answer again with the saved model, after everything else.

    Returns: 0 if every claim is supported and the run was accepted, 1 if a claim is not supported,
        3 if all are and the run was not accepted.
    """
    from m43.evidence.journal import missing_weights
    from m43.evidence.verify import examine

    with _opened(path, runs, public_key) as (run, shown, handed_on):
        left_out = handed_on is not None and not handed_on.stated.weights
        without = without_weights or left_out
        key = None if _is_signed_around(run, handed_on) else public_key
        found = examine(run.path, home(repository), without_weights=without, public_key=key)
        problems, replayed = (*(handed_on.problems if handed_on else ()), *found.problems), ""
        if replay > 0 and not problems:
            replayed, problems = _replay(run, home(repository), replay)
        out.write(f"{shown}: {verdict_words(found, supported=not problems)}\n")
        # What has no verdict was not fit to be read.
        missing = missing_weights(run) if without and found.verdict else ()
        if missing:
            out.write(
                f"{shown}: handed on without its weights: nothing that it says of "
                f"{visible(' and '.join(missing))} was held against the file\n"
            )
        for line in found.contract:
            out.write(f"ANOTHER CONTRACT  {line}\n")
        for each in problems:
            # The folder that a bundle lies in for now is nobody's.
            told = str(each).replace(str(run.path), str(shown))
            out.write(f"NOT SUPPORTED  {told}\n")
        if replayed:
            out.write(f"{shown}: {replayed}\n")
        if problems:
            out.write(f"{shown}: {counted(len(problems), 'claim')} not supported\n")
            return 1
        out.write(f"{_signed(run, handed_on, public_key)}\n")
    out.write(f"{shown}: {_supported(found, unseen=missing)}\n")
    return 0 if found.accepted else 3


@contextmanager
def _opened(
    path: Path | None, runs: Path, public_key: Path | None = None
) -> Iterator[tuple[RunDir, Path, "Unpacked | None"]]:
    """Open a run folder, or a bundle for as long as it is looked at; and say what it is called."""
    from m43.evidence.verify import unpacked

    if path is None or not path.is_file():
        run = require_run(path, runs)
        yield run, run.path, None
        return
    with unpacked(path, public_key) as handed_on:
        yield require_run(handed_on.stated.run.path, runs), path, handed_on


def _is_signed_around(run: RunDir, handed_on: "Unpacked | None") -> bool:
    """Tell whether a bundle is signed as a whole, and the folder in it is not once more."""
    around = handed_on is not None and handed_on.stated.signature.is_file()
    return around and not run.signature.exists()


def _supported(found: "Findings", *, unseen: tuple[str, ...]) -> str:
    """Say what it comes to where no claim fails; files of weights may be missing."""
    if not found.accepted:
        return "the records support this account of a run that was NOT ACCEPTED"
    words = "every claim of this folder is supported by its records"
    return f"{words}; its weights were not there to be held against them" if unseen else words


def verdict_words(found: "Findings", *, supported: bool) -> str:
    """Say in one line what the run came to, and whether its folder can be believed."""
    if not found.verdict:
        return "NOT VERIFIED, no verdict: it could not be read, see below"
    words = f"{found.verdict}: {found.why}"
    return words if supported else f"NOT VERIFIED, its records as they lie say {words}"


_REPLAY_S = 3600.0


def _replay(run: RunDir, repository: Path, count: int) -> tuple[str, tuple[Problem, ...]]:
    """Have a child answer rows again; say how many came out as recorded, and what that speaks for.

    In bfloat16 another device rounds otherwise, so that an answer may honestly differ.
    """
    from m43.evidence.verify import rows_file
    from m43.harness.process import TRAINING, own_code

    action = "look at what the child said; it needs the saved weights, and JAX"
    where, expected = "--replay", f"{count} rows answered again"
    try:
        rows = rows_file(run, repository)
    except M43Error as error:
        return "", error.problems
    if rows is None:
        found = "no file of the rows that were evaluated, by its digest"
        return "", (problem(found, expected, where, "put the file where the profile names it"),)
    code = own_code(package(repository).parent)
    words = ("replay", str(run.path.absolute()), str(rows), str(count))
    done = subprocess.run(
        code.command(Path(sys.executable), TRAINING, *words), input=code.handed.decode(),
        cwd=repository, capture_output=True, text=True, errors="replace", timeout=_REPLAY_S,
        check=False, env=_replay_environment(),
    )  # fmt: skip
    if done.returncode != 0:
        said = done.stderr.strip().rpartition("\n")[2] or f"status {done.returncode}"
        return "", (problem(said, expected, where, action),)
    told = json.loads(done.stdout.splitlines()[-1])
    asked, others = told["asked"], told["differing"]
    words_told = f"replay: {asked - len(others)} of {asked} answers came out as recorded"
    precision = run.read_profile().evaluation.precision
    if not others:
        return words_told, ()
    if precision != "float32" and len(others) < asked:
        why = f"in {precision} another device may answer otherwise, so that no other one is held"
        return f"{words_told}; {why} against it", ()
    found = f"{len(others)} other answers of {asked} ({', '.join(others[:_SHOWN])})"
    action = "do not rely on this folder: its model does not answer what it records"
    return words_told, (problem(found, "those of predictions.jsonl", where, action),)


_SHOWN = 5


def _replay_environment() -> dict[str, str]:
    """Make the variables of a child of a run; but it computes on whatever the reader has."""
    from m43.harness.process import child_environment
    from m43.harness.run import shell_secrets

    made = child_environment(
        os.environ,
        platform="gpu",
        system=sys.platform,
        parent_pid=os.getpid(),
        secrets=shell_secrets(os.environ).secrets,
    )
    # Empty, it lets JAX choose; a reader may name a platform, as for any program.
    return made | {_PLATFORMS: os.environ.get(_PLATFORMS, "")}


_PLATFORMS = "JAX_PLATFORMS"


def _signed(run: RunDir, handed_on: "Unpacked | None", public_key: Path | None) -> str:
    from m43.evidence.documents import not_excluded
    from m43.evidence.journal import journal, witness_lines

    words = "not signed"
    if public_key is not None:
        words = f"signed by the key of {public_key}"
    elif run.signature.exists() or _is_signed_around(run, handed_on):
        words = "its signature was not checked; give --public-key, from a source that you trust"
    lines = witness_lines(run, journal.read(run.journal))
    possible = (
        f"{words}; what the folder alone does not exclude, and what would reveal it:",
        *(f"  {line}" for line in not_excluded()),
    )
    return "\n".join((*possible, *(f"witness  {line}" for line in lines)))


def _readable_run(path: Path | None, runs: Path) -> RunDir:
    """Find a run folder in which nothing lies that would be read for ever.

    Raises: ProblemsError, and what `require_run` raises.
    """
    from m43.evidence.verify import unreadable

    run = require_run(path, runs)
    if problems := unreadable(run):
        raise ProblemsError(problems)
    return run


def render(path: Path | None, runs: Path, out: TextIO) -> int:
    """Write a run folder's documents again; a run that was cut off is closed first."""
    from m43.evidence.documents import render as write_documents
    from m43.harness.run import recovery

    run = _readable_run(path, runs)
    sealed = run.reports_seal.exists()
    if recovery.is_closed(run):
        # The report is pytest's, and sealed; only one that nobody could seal is drawn again.
        recovery.seal_left_reports(run)
    else:
        recovery.close_run(run)
        out.write(f"{run.path}: it was cut off, and has been closed now\n")
    for document in write_documents(run):
        out.write(f"{document}\n")
    if sealed:
        out.write(f"{run.report}: not written again, for it is sealed\n")
    elif run.report.exists():
        out.write(f"{run.report}\n")
    return 0


def compare(
    one: Path | None, other: Path | None, runs: Path, out: TextIO, *, page: Path | None
) -> int:
    """Write the comparison of two run folders, as Markdown and, if asked for, as a page."""
    from m43.evidence.documents import comparison_html, comparison_markdown
    from m43.evidence.run import compare as compared
    from m43.evidence.run import load_run

    first, second = (_readable_run(path, runs) for path in (one, other))
    found = compared(load_run(first), load_run(second))
    if page:
        write_atomically(page, comparison_html(found).encode(errors="replace"))
    out.write(comparison_markdown(found))
    return 0


def seal(path: Path, key: Path, repository: Path, runs: Path, out: TextIO) -> int:
    """Verify a finished run folder or a bundle of one, whatever its verdict, and sign it.

    Raises: UnsupportedRunError, SignedAlreadyError, MissingExtraError, KeyFileError.
    """
    from m43.evidence.journal import witness_lines
    from m43.evidence.run import load_run
    from m43.evidence.verify import sign
    from m43.evidence.verify import verify as problems_of

    with _opened(path, runs) as (run, shown, handed_on):
        left_out = handed_on is not None and not handed_on.stated.weights
        problems = (
            *(handed_on.problems if handed_on else ()),
            *problems_of(run.path, home(repository), without_weights=left_out),
        )
        for each in problems:
            out.write(f"NOT SUPPORTED  {str(each).replace(str(run.path), str(shown))}\n")
        if problems:
            raise UnsupportedRunError(
                found=f"{counted(len(problems), 'claim')} not supported",
                expected="a folder that verifies",
                where=str(shown),
                action="nothing was signed",
            )
        loaded_run = load_run(run)
        # A password is asked for: as an argument everybody on the machine could read it.
        if handed_on is None:
            signature, keyid = run.signature, sign(run, loaded_run, key, getpass.getpass)
        else:
            stated = handed_on.stated
            signature, keyid = stated.signature, stated.sign(key, getpass.getpass)
        out.write(f"{signature}: signed by the key {keyid}\n")
        for line in witness_lines(run, loaded_run.entries):
            out.write(f"witness  {line}\n")
    return 0


def bundle(
    path: Path, target: Path | None, runs: Path, out: TextIO, *, with_weights: bool = False
) -> int:
    """Write a finished run folder, whatever its verdict, as one zip file.

    Raises: BundleError; also for a folder in which a token stands.
    """
    from m43.evidence.run import load_run
    from m43.evidence.verify import BundleError, secrets_in, write_bundle

    run = require_run(path, runs)
    name = run.path.absolute().name
    if with_weights and not any(is_weight_file(path.name) for path in run.path.rglob("*")):
        action = "leave --with-weights away, or bundle the folder where they are"
        where = str(run.path)
        raise BundleError((problem("no weights", "those of the model", where, action),))
    if problems := tuple(secrets_in(run, tuple(filter(None, map(os.environ.get, _TOKENS))))):
        raise BundleError(problems)
    made = write_bundle(
        run,
        load_run(run),
        target or run.path.absolute().with_name(f"{name}.zip"),
        with_weights=with_weights,
    )
    weights = "with" if made.weights else "without"
    out.write(f"{made.path}: {counted(made.files, 'file')}, {weights} weights\n")
    out.write(f"  size      {made.path.stat().st_size:,} bytes\n")
    out.write(f"  SHA-256   {made.sha256}\n")
    out.write(f"  stated in {made.statement}\n")
    out.write(f"  check     python -m m43 verify {made.path}\n")
    return 0


# Source: huggingface_hub 2.4, constants.py and utils/_auth.py.
_TOKENS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")
