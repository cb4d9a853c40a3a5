"""The diagnosis: why a run failed or was cut off, finding by finding, each with what supports it.

A run that was cut off (SIGKILL, a power cut, an out-of-memory kill) leaves no last word. What can
be established is what lies in the run folder, and what the machine still knows; the rest is called
unknown.
"""

from collections.abc import Mapping

from m43.errors import FailureClass
from m43.evidence.contract import auth_checks, failing, venv_gate_checks
from m43.evidence.diagnosis.advice import words
from m43.evidence.diagnosis.by_child import child_findings, memory_findings, process_class
from m43.evidence.diagnosis.by_gate import auth_findings, venv_findings
from m43.evidence.diagnosis.finding import Diagnosis, Finding, finding
from m43.evidence.failures import FAILURES
from m43.evidence.journal import Entry
from m43.evidence.run import Child, LoadedRun, Stop, find_stop, load_run
from m43.records import CLOSING, STAGES, RecoveryRecord, RunDir, Vitals, child_file, gate_named

# The detail of the entry with which a later command closes a run, and by which it is known.
CUT_OFF = "cut off: nothing of the run could write its end; a later command closed it"

SENTENCE = (
    "The run was cut off after {progress}: it ended without a last word, as SIGKILL, a power cut "
    "or a crash of the machine leave it, and a later command closed its journal."
)

_FILES = (RunDir.vitals.name, RunDir.recovery.name)


def is_cut_off(entry: Entry | None) -> bool:
    """Return whether an entry is the one with which a later command closes a run."""
    return entry is not None and entry.event == "interrupted" and entry.detail == CUT_OFF


def cut_off_findings(loaded_run: LoadedRun) -> tuple[Finding, ...]:
    """State what is known of the end of a run that could not tell of it."""
    recovery = loaded_run.recovery
    findings = [_last_entry(loaded_run)]
    if recovery is not None:
        findings += _recovery_findings(recovery)
        findings += _machine_findings(loaded_run.vitals, recovery.vitals)
    unknown = (
        "With which status or signal the run's process ended, who ended it and when exactly: "
        "nothing was there to record it."
    )
    return (*findings, finding(unknown, "unknown"))


def _last_entry(loaded_run: LoadedRun) -> Finding:
    before = [entry for entry in loaded_run.entries if entry.event not in _AFTERWARDS]
    text = "The run wrote nothing into its journal."
    if before:
        last = before[-1]
        what = f"'{last.event}' {last.gate or last.name}".rstrip()
        text = f"The last thing that the run itself wrote is {what} at {last.time_utc}."
    return finding(text, "established", RunDir.journal.name)


# What the later command writes; a run's own promises that were not run come after its end, too.
_AFTERWARDS = ("interrupted", "promise_not_run", "sealed", "closed")


def _recovery_findings(recovery: RecoveryRecord) -> list[Finding]:
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
    return [finding(text, "established", RunDir.recovery.name) for text in texts]


def _machine_findings(then: Vitals | None, now: Vitals) -> list[Finding]:
    if then is None:
        text = "Whether the machine was restarted: the run did not get to write vitals.json."
        return [finding(text, "unknown")]
    if then.boot_id != now.boot_id:
        text = (
            "The machine was restarted between the run's beginning and its closing (or the folder "
            "was carried to another one): the boot id differs. A power cut or a restart would "
            "explain the end."
        )
        return [finding(text, "supported", *_FILES)]
    same = (
        "The machine was not restarted between the run's beginning and its closing (the boot id "
        "is the same): it was no power cut; the process ended while the machine went on."
    )
    kills = now.oom_kills - then.oom_kills
    if kills > 0:
        memory = finding(
            f"The kernel counted {kills} out-of-memory kills since the run began; it does "
            "not name the processes, and this run's may be among them.",
            "supported",
            *_FILES,
        )
    else:
        memory = finding(
            "The kernel has counted no out-of-memory kill since the run began.",
            "established",
            *_FILES,
        )
    return [finding(same, "established", *_FILES), memory]


# What it means that one of these is broken, where the records behind it do not say more.
CLASS_OF_PROMISE: Mapping[str, FailureClass] = {
    promise: failure_class
    for failure_class, failure in FAILURES.items()
    for promise in failure.promises
}

_OF_MEMORY = (
    FailureClass.OUT_OF_DEVICE_MEMORY,
    FailureClass.OUT_OF_MEMORY_COMPILING,
    FailureClass.OUT_OF_HOST_MEMORY,
)


def diagnose(run: RunDir) -> Diagnosis:
    """Diagnose a run from its folder alone."""
    return diagnose_loaded(load_run(run))


def diagnose_loaded(loaded_run: LoadedRun) -> Diagnosis:
    """Diagnose a run from what its folder holds."""
    stop = find_stop(loaded_run.entries)
    failure_class = class_of(loaded_run, stop)
    return Diagnosis(
        failure_class=failure_class,
        gate=stop.gate,
        place=stop.place,
        sentence=_sentence(loaded_run, stop, failure_class),
        findings=(*_problem_findings(stop), *_findings(loaded_run, stop, failure_class)),
    )


def class_of(loaded_run: LoadedRun, stop: Stop) -> FailureClass:
    """Return the failure class: the journal's, else the one that the gate's records show."""
    if stop.failure_class is not None:
        return stop.failure_class
    if stop.how in ("interrupted", "no closing record"):
        return FailureClass.INTERRUPTED
    if stop.how == "sealed":
        return FailureClass.HARNESS_ERROR
    named = next((CLASS_OF_PROMISE[name] for name in stop.broken if name in CLASS_OF_PROMISE), None)
    return _class_of_records(loaded_run, stop.gate) or named or FailureClass.PROMISE_BROKEN


def _class_of_records(loaded_run: LoadedRun, gate: str) -> FailureClass | None:
    profile = loaded_run.profile
    if gate == "auth" and loaded_run.auth and profile:
        checks = failing(auth_checks(loaded_run.auth, profile))
        return checks[0].failure_class if checks else None
    if gate == "venv" and loaded_run.venv and profile:
        checks = failing(venv_gate_checks(loaded_run.venv, loaded_run.plan, profile))
        return checks[0].failure_class if checks else None
    child = child_of(loaded_run, gate)
    return process_class(child.process, child.error, child.log_tail) if child else None


def child_of(loaded_run: LoadedRun, gate: str) -> Child | None:
    """Return the child that a gate was at, if it starts one that keeps records."""
    name = child_name(loaded_run, gate)
    children = {"download": loaded_run.download_child, "train": loaded_run.train_child}
    return children.get(name, loaded_run.eval_child) if name else None


def child_name(loaded_run: LoadedRun, gate: str) -> str:
    """Return the child that a gate was at; empty for a gate without one that keeps records."""
    children = gate_named(gate).children if gate in STAGES else ()
    if len(children) > 1:
        # The download comes first; its record is written when all of it is there.
        download = loaded_run.download_child
        came = loaded_run.download is None and bool(download.heartbeat or download.process)
        return children[0] if came and loaded_run.train_child.heartbeat is None else children[-1]
    return children[0] if children else ""


def _sentence(loaded_run: LoadedRun, stop: Stop, failure_class: FailureClass) -> str:
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
    sentence = FAILURES[failure_class].sentence
    if is_cut_off(stop.entry):
        sentence = SENTENCE
    return sentence.format_map(words(loaded_run, stop))


def _problem_findings(stop: Stop) -> tuple[Finding, ...]:
    place = f"journal.jsonl, entry {stop.entry.seq}" if stop.entry else RunDir.journal.name
    return tuple(
        finding(
            f"{problem.where}: found {problem.found}, expected {problem.expected}.",
            "established",
            place,
        )
        for problem in stop.problems
    )


def _findings(
    loaded_run: LoadedRun, stop: Stop, failure_class: FailureClass
) -> tuple[Finding, ...]:
    if stop.how == "no closing record":
        return _silent_end(loaded_run, stop)
    if is_cut_off(stop.entry):
        return (*_last_seen(loaded_run, stop), *cut_off_findings(loaded_run))
    findings: tuple[Finding, ...] = ()
    child, profile = child_of(loaded_run, stop.gate), loaded_run.profile
    if stop.gate == "auth" and loaded_run.auth:
        findings = auth_findings(
            loaded_run.auth, profile.contract if profile else None, failure_class
        )
    elif stop.gate == "venv" and loaded_run.venv and profile:
        findings = venv_findings(loaded_run.venv, loaded_run.plan, profile, failure_class)
    elif stop.gate == CLOSING and loaded_run.closing:
        findings = _closing_findings(loaded_run)
    elif child is not None:
        name = child_name(loaded_run, stop.gate)
        findings = child_findings(child, name, failure_class, loaded_run.metrics)
        if failure_class in _OF_MEMORY:
            findings = (*findings, *memory_findings(loaded_run.plan, child, name))
    broken = tuple(
        finding(f"The promise {name} is broken.", "established", RunDir.journal.name)
        for name in (stop.broken if stop.how == "broken" else ())
    )
    return (*_interruption(stop), *findings, *broken) or (
        finding("Why this happened was not measured.", "unknown"),
    )


def _interruption(stop: Stop) -> tuple[Finding, ...]:
    if stop.how != "interrupted" or stop.entry is None or is_cut_off(stop.entry):
        return ()
    cause = stop.entry.detail or "no cause is given"
    place = f"journal.jsonl, entry {stop.entry.seq}"
    return (finding(f"Interrupted: {cause}.", "established", place),)


def _silent_end(loaded_run: LoadedRun, stop: Stop) -> tuple[Finding, ...]:
    last = loaded_run.entries[-1] if loaded_run.entries else None
    known = (
        f"The last thing that the run wrote is '{last.event}' {last.gate or last.name}".rstrip()
        + f" at {last.time_utc}."
        if last
        else "The run wrote nothing into its journal that can be read."
    )
    return (
        finding(known, "established", RunDir.journal.name),
        *_last_seen(loaded_run, stop),
        finding("What ended the run, if it ended, is not recorded.", "unknown"),
    )


def _last_seen(loaded_run: LoadedRun, stop: Stop) -> tuple[Finding, ...]:
    child = child_of(loaded_run, stop.gate)
    if child is None or child.heartbeat is None:
        return ()
    beat, name = child.heartbeat, child_name(loaded_run, stop.gate)
    text = f"The child was last seen at '{beat.phase}', {beat.done} of {beat.total}."
    return (finding(text, "established", child_file(name, "heartbeat").name),)


def _closing_findings(loaded_run: LoadedRun) -> tuple[Finding, ...]:
    closing = loaded_run.closing
    if closing is None:
        return ()
    changed = [f"The file {path} changed during the run." for path in closing.changed_paths]
    changed += [f"The package {name} changed during the run." for name in closing.changed_packages]
    strange = (*closing.altered, *closing.unrecorded)
    changed += [f"The file {name}, which judged, is not as a wheel brought it." for name in strange]
    established = tuple(finding(text, "established", RunDir.closing.name) for text in changed)
    unknown = "Who or what changed it is not recorded; m43 writes only into the run folder."
    return (*established, finding(unknown, "unknown"))
