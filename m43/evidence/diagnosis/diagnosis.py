"""The diagnosis: why a run failed or was cut off, claim by claim, each with what supports it.

A run that was cut off (SIGKILL, a power cut, an out-of-memory kill) leaves no last word. What can
be established is what lies in the run folder, and what the machine still knows; the rest is called
unknown.
"""

from collections.abc import Mapping

from m43.errors import FailureClass
from m43.evidence.contract.check import failing
from m43.evidence.contract.checks import auth_checks
from m43.evidence.contract.plan_checks import venv_gate_checks
from m43.evidence.diagnosis.by_child import child_claims, memory_claims, process_class
from m43.evidence.diagnosis.by_gate import auth_claims, venv_claims
from m43.evidence.diagnosis.catalogue import SENTENCES, words
from m43.evidence.diagnosis.finding import Claim, Diagnosis
from m43.evidence.journal.chain import Entry
from m43.evidence.run.loaded_run import Child, LoadedRun, load_run
from m43.evidence.run.run_end import Stop, find_stop
from m43.records.gates import CLOSING, STAGES, gate_named
from m43.records.run_dir import RunDir
from m43.records.run_records import RecoveryRecord, Vitals

# The detail of the entry with which a later command closes a run, and by which it is known.
CUT_OFF = "cut off: nothing of the run could write its end; a later command closed it"

SENTENCE = (
    "The run was cut off after {progress}: it ended without a last word, as SIGKILL, a power cut "
    "or a crash of the machine leave it, and a later command closed its journal."
)

_FILES = (RunDir.vitals.name, RunDir.recovery.name)


def is_cut_off(entry: Entry | None) -> bool:
    """Tell whether an entry is the one with which a later command closes a run."""
    return entry is not None and entry.event == "interrupted" and entry.detail == CUT_OFF


def cut_off_claims(dossier: LoadedRun) -> tuple[Claim, ...]:
    """State what is known of the end of a run that could not tell of it."""
    recovery = dossier.recovery
    claims = [_last_entry(dossier)]
    if recovery is not None:
        claims += _recovery_claims(recovery)
        claims += _machine_claims(dossier.vitals, recovery.vitals)
    unknown = (
        "With which status or signal the run's process ended, who ended it and when exactly: "
        "nothing was there to record it."
    )
    return (*claims, Claim(text=unknown, standing="unknown", evidence=()))


def _last_entry(dossier: LoadedRun) -> Claim:
    before = [entry for entry in dossier.entries if entry.event not in _AFTERWARDS]
    text = "The run wrote nothing into its journal."
    if before:
        last = before[-1]
        what = f"'{last.event}' {last.gate or last.name}".rstrip()
        text = f"The last thing that the run itself wrote is {what} at {last.time_utc}."
    return Claim(text=text, standing="established", evidence=(RunDir.journal.name,))


# What the later command writes; a run's own promises that were not run come after its end, too.
_AFTERWARDS = ("interrupted", "promise_not_run", "sealed", "closed")


def _recovery_claims(recovery: RecoveryRecord) -> list[Claim]:
    texts = [
        f"At {recovery.closed_utc} no process held the journal any more, and its end was missing."
    ]
    if recovery.journal_bytes_removed:
        texts.append(
            f"The journal's last line was unfinished: {recovery.journal_bytes_removed} bytes of "
            "it were removed."
        )
    if recovery.removed:
        names = ", ".join(recovery.removed)
        texts.append(f"Files that were still being written were removed: {names}.")
    return [
        Claim(text=text, standing="established", evidence=(RunDir.recovery.name,)) for text in texts
    ]


def _machine_claims(then: Vitals | None, now: Vitals) -> list[Claim]:
    if then is None:
        text = "Whether the machine was restarted: the run did not get to write vitals.json."
        return [Claim(text=text, standing="unknown", evidence=())]
    if then.boot_id != now.boot_id:
        text = (
            "The machine was restarted between the run's beginning and its closing (or the folder "
            "was carried to another one): the boot id differs. A power cut or a restart would "
            "explain the end."
        )
        return [Claim(text=text, standing="supported", evidence=_FILES)]
    same = (
        "The machine was not restarted between the run's beginning and its closing (the boot id "
        "is the same): it was no power cut; the process ended while the machine went on."
    )
    kills = now.oom_kills - then.oom_kills
    if kills > 0:
        memory = Claim(
            text=f"The kernel counted {kills} out-of-memory kills since the run began; it does "
            "not name the processes, and this run's may be among them.",
            standing="supported",
            evidence=_FILES,
        )
    else:
        memory = Claim(
            text="The kernel has counted no out-of-memory kill since the run began.",
            standing="established",
            evidence=_FILES,
        )
    return [Claim(text=same, standing="established", evidence=_FILES), memory]


# What it means that one of these is broken, where the records behind it do not say more.
CLASS_OF_PROMISE: Mapping[str, FailureClass] = {
    "test_auth_belongs_to_the_only_attempt_under_this_name": FailureClass.HARNESS_ERROR,
    "test_train_uses_jax_on_the_device_of_the_environment": FailureClass.WRONG_DEVICE,
    "test_auth_finds_weights_of_the_promised_sizes": FailureClass.WRONG_MODEL,
    "test_auth_finds_the_promised_digests": FailureClass.WRONG_MODEL,
    "test_venv_plans_for_the_promised_model": FailureClass.WRONG_MODEL,
    "test_train_trains_the_promised_model": FailureClass.WRONG_MODEL,
    "test_train_starts_from_the_pinned_files": FailureClass.DOWNLOAD_CORRUPT,
    "test_train_learns_from_answers_at_every_step": FailureClass.DATA_INVALID,
    "test_train_uses_the_rows_that_were_given": FailureClass.TREE_CHANGED,
    "test_train_stays_within_its_time": FailureClass.TIMED_OUT,
    "test_eval_runs_where_training_ran": FailureClass.WRONG_DEVICE,
    "test_eval_reads_the_evaluation_file_that_was_given": FailureClass.TREE_CHANGED,
    "test_eval_answers_every_row_once": FailureClass.EVALUATION_INCOMPLETE,
    "test_eval_scores_every_row": FailureClass.EVALUATION_INCOMPLETE,
    "test_closing_finds_the_environment_unchanged": FailureClass.ENVIRONMENT_CHANGED,
    "test_closing_finds_the_working_tree_unchanged": FailureClass.TREE_CHANGED,
    "test_closing_finds_the_trained_model_unchanged": FailureClass.TREE_CHANGED,
}

_OF_MEMORY = (FailureClass.OUT_OF_DEVICE_MEMORY, FailureClass.OUT_OF_HOST_MEMORY)


def diagnose(run: RunDir) -> Diagnosis:
    """Say why a run failed, from its folder alone."""
    return diagnose_dossier(load_run(run))


def diagnose_dossier(dossier: LoadedRun) -> Diagnosis:
    """Say why a run failed, from what its folder holds."""
    stop = find_stop(dossier.entries)
    failure_class = class_of(dossier, stop)
    return Diagnosis(
        failure_class=failure_class,
        gate=stop.gate,
        place=stop.place,
        sentence=_sentence(dossier, stop, failure_class),
        claims=(*_problem_claims(stop), *_claims(dossier, stop, failure_class)),
    )


def class_of(dossier: LoadedRun, stop: Stop) -> FailureClass:
    """Name the failure: as the journal does, else as the records of the gate show it."""
    if stop.failure_class is not None:
        return stop.failure_class
    if stop.how in ("interrupted", "no closing record"):
        return FailureClass.INTERRUPTED
    if stop.how == "sealed":
        return FailureClass.HARNESS_ERROR
    named = next((CLASS_OF_PROMISE[name] for name in stop.broken if name in CLASS_OF_PROMISE), None)
    return _class_of_records(dossier, stop.gate) or named or FailureClass.PROMISE_BROKEN


def _class_of_records(dossier: LoadedRun, gate: str) -> FailureClass | None:
    profile = dossier.profile
    if gate == "auth" and dossier.auth and profile:
        checks = failing(auth_checks(dossier.auth, profile))
        return checks[0].failure_class if checks else None
    if gate == "venv" and dossier.venv and profile:
        checks = failing(venv_gate_checks(dossier.venv, dossier.plan, profile))
        return checks[0].failure_class if checks else None
    child = child_of(dossier, gate)
    return process_class(child.process, child.error) if child else None


def child_of(dossier: LoadedRun, gate: str) -> Child | None:
    """Give the child that a gate was at, if it starts one that keeps records."""
    name = child_name(dossier, gate)
    children = {"download": dossier.download_child, "train": dossier.train_child}
    return children.get(name, dossier.eval_child) if name else None


def child_name(dossier: LoadedRun, gate: str) -> str:
    """Name the child that a gate was at; empty for a gate without one that keeps records."""
    children = gate_named(gate).children if gate in STAGES else ()
    if len(children) > 1:
        # The download comes first; its record is written when all of it is there.
        download = dossier.download_child
        came = dossier.download is None and bool(download.heartbeat or download.process)
        return children[0] if came and dossier.train_child.heartbeat is None else children[-1]
    return children[0] if children else ""


def _sentence(dossier: LoadedRun, stop: Stop, failure_class: FailureClass) -> str:
    if stop.how == "no closing record":
        return (
            "The run has no closing record. Either it is still running, or it was ended from "
            "outside (SIGKILL, power loss) before it could say why; what is unknown is called so."
        )
    if stop.how == "sealed":
        return (
            "Every gate ended, and yet the journal is not that of an accepted run; "
            "the reasons stand below."
        )
    sentence = SENTENCES[failure_class]
    if is_cut_off(stop.entry):
        sentence = SENTENCE
    return sentence.format_map(words(dossier, stop))


def _problem_claims(stop: Stop) -> tuple[Claim, ...]:
    place = f"journal.jsonl, entry {stop.entry.seq}" if stop.entry else RunDir.journal.name
    return tuple(
        Claim(
            text=f"{problem.where}: found {problem.found}, expected {problem.expected}.",
            standing="established",
            evidence=(place,),
        )
        for problem in stop.problems
    )


def _claims(dossier: LoadedRun, stop: Stop, failure_class: FailureClass) -> tuple[Claim, ...]:
    if stop.how == "no closing record":
        return _silent_end(dossier, stop)
    if is_cut_off(stop.entry):
        return (*_last_seen(dossier, stop), *cut_off_claims(dossier))
    claims: tuple[Claim, ...] = ()
    child, profile = child_of(dossier, stop.gate), dossier.profile
    if stop.gate == "auth" and dossier.auth:
        claims = auth_claims(dossier.auth, profile.contract if profile else None, failure_class)
    elif stop.gate == "venv" and dossier.venv and profile:
        claims = venv_claims(dossier.venv, dossier.plan, profile, failure_class)
    elif stop.gate == CLOSING and dossier.closing:
        claims = _closing_claims(dossier)
    elif child is not None:
        name = child_name(dossier, stop.gate)
        claims = child_claims(child, name, failure_class, dossier.metrics)
        if failure_class in _OF_MEMORY:
            claims = (*claims, *memory_claims(dossier.plan, child, name))
    broken = tuple(
        Claim(
            text=f"The promise {name} is broken.",
            standing="established",
            evidence=(RunDir.journal.name,),
        )
        for name in (stop.broken if stop.how == "broken" else ())
    )
    return (*_interruption(stop), *claims, *broken) or (
        Claim(text="Why this happened was not measured.", standing="unknown", evidence=()),
    )


def _interruption(stop: Stop) -> tuple[Claim, ...]:
    if stop.how != "interrupted" or stop.entry is None or is_cut_off(stop.entry):
        return ()
    cause = stop.entry.detail or "no cause is given"
    evidence = (f"journal.jsonl, entry {stop.entry.seq}",)
    return (Claim(text=f"Interrupted: {cause}.", standing="established", evidence=evidence),)


def _silent_end(dossier: LoadedRun, stop: Stop) -> tuple[Claim, ...]:
    last = dossier.entries[-1] if dossier.entries else None
    known = (
        f"The last thing that the run wrote is '{last.event}' {last.gate or last.name}".rstrip()
        + f" at {last.time_utc}."
        if last
        else "The run wrote nothing into its journal that can be read."
    )
    claim = Claim(text=known, standing="established", evidence=(RunDir.journal.name,))
    unknown = "What ended the run, if it ended, is not recorded."
    return (
        claim,
        *_last_seen(dossier, stop),
        Claim(text=unknown, standing="unknown", evidence=()),
    )


def _last_seen(dossier: LoadedRun, stop: Stop) -> tuple[Claim, ...]:
    child = child_of(dossier, stop.gate)
    if child is None or child.heartbeat is None:
        return ()
    beat, name = child.heartbeat, child_name(dossier, stop.gate)
    text = f"The child was last seen at '{beat.phase}', {beat.done} of {beat.total}."
    return (Claim(text=text, standing="established", evidence=(f"{name}.heartbeat.json",)),)


def _closing_claims(dossier: LoadedRun) -> tuple[Claim, ...]:
    closing = dossier.closing
    if closing is None:
        return ()
    changed = [f"The file {path} changed during the run." for path in closing.changed_paths]
    changed += [f"The package {name} changed during the run." for name in closing.changed_packages]
    established = tuple(
        Claim(text=text, standing="established", evidence=(RunDir.closing.name,))
        for text in changed
    )
    unknown = "Who or what changed it is not recorded; m43 writes only into the run folder."
    return (*established, Claim(text=unknown, standing="unknown", evidence=()))
