"""The attempt: one run from its first line to its last, gate by gate, with its journal."""

import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from m43 import typed_json
from m43.errors import FailureClass, M43Error, Problem
from m43.evidence.contract import Promise, Verdict, contract, contract_path
from m43.evidence.documents import write
from m43.evidence.journal import (
    Journal,
    gate_digest,
    ledger,
    manifest,
    secrets,
    stamp,
    steady_clock,
)
from m43.evidence.run import LoadedRun, load_run
from m43.evidence.verify import code
from m43.files import (
    FileLock,
    file_sha256,
    give_room,
    is_disk_full,
    keep_room,
    one_at_a_time,
)
from m43.harness.process import Interruption
from m43.harness.run import closing, recovery
from m43.harness.run.closing import Tree
from m43.harness.run.hub_access import shell_secrets, with_its_hub
from m43.harness.run.local_checks import require_ground
from m43.harness.run.opening import Plan, git_commit, opening_record, require_whole_ledger
from m43.harness.run.packages import Packages
from m43.harness.run.recovery import Recovered, vitals
from m43.harness.run.traces import own_traces
from m43.harness.run.unforeseen import stop_words, unforeseen
from m43.records import (
    CLOSING,
    STAGES,
    RunDir,
    remove_unfinished,
    write_atomically,
    write_record,
)
from m43.text import visible

T = TypeVar("T")

_LONGEST_DETAIL = 4000
_MOST_PROBLEMS = 20
# The documents and the report of a run; given away when the disk is full, so that it can say so.
_RESERVE_BYTES, _RESERVE_FILES = 4 << 20, 16


class StoppedError(Exception):
    """A gate that did not finish, in the words that the terminal and the report show."""


@dataclass(kw_only=True)
class Attempt:
    """A run that has begun."""

    plan: Plan
    run: RunDir
    journal: Journal
    hold: FileLock
    tree_before: Tree
    # The folder as it was read last: once at the opening, once by each gate, once at the end.
    loaded: LoadedRun = field(repr=False)
    recovered: Recovered = field(default_factory=Recovered)
    interruption: Interruption = field(default_factory=Interruption)
    # As the engineer set them, the token included: this process itself no longer has it.
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    # Appear in nothing that is written: those of the shell, and of the world of the gates.
    secrets: tuple[str, ...] = field(default=(), repr=False)
    packages_before: Packages | None = None
    model_before: Mapping[str, tuple[int, ...]] = field(default_factory=dict, repr=False)
    site_packages: tuple[str, ...] = ()
    stage: str = ""
    stopped: FailureClass | None = None
    closed: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    not_run: list[str] = field(default_factory=list)
    interrupted: str = ""
    # Why the journal can no longer be written; from then on nothing more is, and no line is left
    # out between two others.
    unwritable: str = ""
    verdict: Verdict | None = None

    @property
    def now(self) -> LoadedRun:
        """The run folder as it was read last, with the journal as it has grown since."""
        self.loaded = self.loaded.with_entries(self.journal.entries)
        return self.loaded

    def keep_secret(self, secrets: Sequence[str]) -> None:
        """Take more secrets on: those of the world that the gates are about to touch."""
        self.secrets = tuple(dict.fromkeys((*self.secrets, *secrets)))

    def read_again(self) -> LoadedRun:
        """Read the run folder, because there is more in it than before."""
        self.loaded = load_run(self.run)
        return self.loaded

    def promise(self, name: str) -> Promise:
        """Look a promise of the contract up."""
        return next(promise for promise in self.plan.contract.promises if promise.name == name)

    # --- gates ---------------------------------------------------------------------------------

    def pass_gate(
        self, stage: str, measure: Callable[[], None], read: Callable[[LoadedRun], T]
    ) -> T:
        """Do a gate: let it measure, seal what it wrote, read that back from disk, close it.

        Raises: StoppedError, when the gate could not finish; the journal then says why.
        """
        self.stage = stage
        try:
            self.journal.append("gate_opened", gate=stage)
            # Now, too: a power cut in the middle of a gate leaves a document that names the gate.
            write.write_opening_analysis(self.run, self.now)
            measure()
            digest = gate_digest(self.run, stage)
            facts = read(self.read_again())
            self.journal.append("gate_closed", gate=stage, detail=digest)
            write.write_opening_analysis(self.run, self.now)
        except M43Error as error:
            raise StoppedError(self.stop(error.failure_class, error.problems)) from None
        except Exception as error:  # noqa: BLE001 (whatever it is, the run must say so and end)
            failure_class, problem = self._unforeseen(error)
            raise StoppedError(self.stop(failure_class, (problem,))) from None
        self.closed.append(stage)
        return facts

    def stop(self, failure_class: FailureClass, problems: Sequence[Problem]) -> str:
        """Write down that the open gate stopped, and give the text that people are shown."""
        self.stopped = failure_class
        if failure_class is FailureClass.DISK_FULL:
            give_room(self.run.reserve)
        # Cut before it is JSON: a cut JSON is none.
        tables = [
            {name: self._clean(text) for name, text in typed_json.to_plain(problem).items()}
            for problem in problems[:_MOST_PROBLEMS]
        ]
        detail = json.dumps(tables, ensure_ascii=False)
        self._write(
            lambda: self.journal.append(
                "gate_stopped", gate=self.stage, failure_class=failure_class, detail=detail
            )
        )
        # What the gate left before it stopped is what explains it.
        self._write(lambda: write.write_opening_analysis(self.run, self.read_again()))
        return self._clean(stop_words(self.stage, failure_class, problems))

    def _unforeseen(self, error: Exception) -> tuple[FailureClass, Problem]:
        failure_class, problem = unforeseen(error, self.run)
        return failure_class, replace(problem, found=self._clean(problem.found))

    # --- promises ------------------------------------------------------------------------------

    def blocked(self, name: str) -> str:
        """Say why a promise cannot be judged any more; empty when it can."""
        stage = self.promise(name).gate
        if self.interrupted:
            return f"the run was interrupted ({self.interrupted})"
        if self.stopped is not None and STAGES.index(stage) >= STAGES.index(self.stage):
            return f"gate {self.stage} stopped: {self.stopped}"
        for other in self.broken:
            if STAGES.index(stage) > STAGES.index(self.promise(other).gate):
                return f"gate {self.promise(other).gate} did not keep its promises"
        return ""

    def judge(self, name: str, broken: str | None) -> bool:
        """Write down whether a promise was kept; `broken` is the text of its assertion.

        Returns: Whether that could be written; what was not is no judgement.
        """
        gate = self.promise(name).gate
        if broken is None:
            self.kept.append(name)
            self._write(lambda: self.journal.append("promise_kept", gate=gate, name=name))
        else:
            self.broken.append(name)
            detail = self._clean(broken)
            self._write(
                lambda: self.journal.append("promise_broken", gate=gate, name=name, detail=detail)
            )
        return any(entry.name == name for entry in self.journal.entries)

    def pass_over(self, name: str, reason: str) -> None:
        """Write down that a promise was not judged, and why."""
        self.not_run.append(name)
        journal, gate = self.journal, self.promise(name).gate
        self._write(lambda: journal.append("promise_not_run", gate=gate, name=name, detail=reason))

    def interrupt(self, cause: str, failure_class: FailureClass = FailureClass.INTERRUPTED) -> None:
        """Write down that something outside the gates ended the run."""
        self.interrupted = cause
        detail = self._clean(cause)
        self._write(
            lambda: self.journal.append(
                "interrupted", gate=self.stage, failure_class=failure_class, detail=detail
            )
        )

    def give_up(self, error: BaseException) -> None:
        """Write down that something outside the gates failed that they cannot do without."""
        if isinstance(error, Exception):
            failure_class, problem = self._unforeseen(error)
            self.interrupt(problem.found, failure_class)

    def _write(self, write: Callable[[], object]) -> None:
        """Write, and on a disk that takes nothing more go on without: the run ends in any case.

        A gate that has not stopped yet is stopped then: a full disk is never passed over.
        """
        if self.unwritable:
            return
        try:
            write()
        except OSError as error:
            failure_class, problem = self._unforeseen(error)
            if not (is_disk_full(error) and self.run.reserve.exists()):
                self.unwritable = f"{failure_class}: {problem.found}"
                self.interrupted = self.interrupted or str(failure_class)
                return
            give_room(self.run.reserve)
            self._write(write)
            if self.stopped is None and not self.interrupted:
                self.interrupt(problem.found, failure_class)

    # --- the end -------------------------------------------------------------------------------

    def finish(self, measure_closing: Callable[[], None]) -> Verdict:
        """Close the run: what is left is measured, sealed, judged and written up.

        Raises: OSError, when the disk takes nothing more; a later command then closes the run.
        """
        if self.unwritable:
            raise OSError(self.unwritable)
        # No child lives any more: what it left by half has no meaning, and must not be sealed.
        remove_unfinished(self.run)
        judged = {*self.kept, *self.broken, *self.not_run}
        for name in self.plan.contract.names:
            if name not in judged:
                self.pass_over(name, self.blocked(name) or "the run ended before it")
        if CLOSING not in self.closed and self.stage != CLOSING:
            measure_closing()
        leaks = secrets.search(self.run.path, self.secrets)
        if leaks:
            self.journal.append(
                "interrupted",
                failure_class=FailureClass.HARNESS_ERROR,
                detail="a token was found in " + ", ".join(path.name for path in leaks),
            )
        write.write_model_card(self.run, self.now)
        digest = manifest.seal(self.run)
        self.journal.append("sealed", detail=digest)
        # As it lies on disk now that nothing more is added: this is what is judged.
        self.verdict = write.write_documents(self.run, self.read_again())
        self.journal.append("closed", detail=self.loaded.verdict_words(self.verdict.accepted))
        self.hold.release()
        return self.verdict

    def _clean(self, text: str) -> str:
        return visible(secrets.redact(text, self.secrets))[:_LONGEST_DETAIL]


class RunInProgressError(M43Error):
    """Another run of this folder whose process lives."""


def begin(plan: Plan, environment: Mapping[str, str] = os.environ) -> Attempt:
    """Begin a run: its folder, its locked profile, its opening, and the dead-man's document.

    Runs that were cut off are closed first, so that this one finds a quiet tree.

    Args:
        plan: The run that was asked for.
        environment: The variables with which pytest was started.

    Raises:
        RunExistsError, RunInProgressError, BrokenChainError, ShortenedLedgerError, GroundError:
            nothing is written for this run then.
        OSError: when there is no room for it; what was made of it is removed.
    """
    # A folder that is there is refused below, with what it holds.
    if not plan.folder.exists():
        require_ground(plan.profile, plan.profile_path, plan.repository, environment)
    with one_at_a_time(plan.ledger):
        recovered = recovery.close_cut_off(plan.folder.parent)
        if recovered.running:
            raise RunInProgressError(
                found=f"a run that is going on ({', '.join(recovered.running)})",
                expected="none: two at once share the device, and each changes the other's tree",
                where=str(plan.folder.parent),
                action="let it end, or end it; then begin",
            )
        require_whole_ledger(plan.folder.parent)
        traces = own_traces(environment, plan.repository, plan.profile)
        left_out = [trace.within(plan.repository) for trace in traces]
        before = closing.measure_tree(plan.repository, plan.folder, left_out)
        run, hold = RunDir(plan.folder), _first_traces(plan)
    journal = Journal.open(run.journal, steady_clock())
    write_record(run.vitals, vitals())
    told = replace(plan, profile=with_its_hub(plan.profile, environment))
    write_record(run.profile, told.profile)
    contract.keep(run, contract_path(plan.repository, plan.contract_folder))
    write_atomically(run.code, code.listing(plan.repository, plan.contract_folder).encode())
    shell = shell_secrets(environment)
    opening = opening_record(told, before, file_sha256(run.code), git_commit, shell.unsearched)
    write_record(run.opening, opening)
    journal.append("opened")
    loaded = load_run(run)
    write.write_opening_analysis(run, loaded)
    return Attempt(
        plan=plan,
        run=run,
        journal=journal,
        hold=hold,
        tree_before=before,
        loaded=loaded,
        recovered=recovered,
        environment=environment,
        secrets=shell.secrets,
    )


def _first_traces(plan: Plan) -> FileLock:
    """Make the run folder with its journal, and enter the attempt into the ledger."""
    run, kind = RunDir.create(plan.folder), plan.profile.kind
    try:
        # First: from here on the folder is known as a run, and as one that is going on.
        Journal.create(run.journal)
        hold = FileLock.take(run.journal)
        keep_room(run.reserve, _RESERVE_BYTES, _RESERVE_FILES)
        started = stamp(plan.started)
        ledger.append(plan.ledger, run=run.path.name, kind=kind, started_utc=started)
    except OSError:
        shutil.rmtree(run.path)
        raise
    return hold
