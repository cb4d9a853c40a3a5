"""A child of several processes: how a launcher starts it, and which of them failed first.

Each process leaves its own records, the first in the run folder and the others beside it. What one
dies of, the others only notice: so a lost process is named where none says more of itself.
"""

import platform
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from m43.errors import FailureClass, GateStoppedError
from m43.evidence.diagnosis import process_class
from m43.evidence.failures import recognise
from m43.evidence.journal import redact
from m43.harness.process import (
    TRAINING,
    Child,
    Launcher,
    Outcome,
    OwnCode,
    launcher_environment,
)
from m43.harness.run import HubAccess, runs_folder
from m43.records import (
    ChildError,
    Origins,
    ProbeRecord,
    ProcessRecord,
    Profile,
    RunDir,
    read_record,
    write_atomically,
    write_last_record,
    write_record,
)
from m43.text import duration_words

# mpirun ends its processes within 2 s, srun within 5 (KillWait is not waited for twice).
GRACE_S = 10.0
# Of a shell, and of launchers: what ended a process, where a signal did.
_BY_SIGNAL = 128
_TAIL_LINES = 12
# Frames of a stack as abseil writes them, and mpirun's rules: they would hide what was said.
_NOISE = re.compile(r"\s*@ +0x|-{8,}$")
_EFFECTS = (FailureClass.PROCESS_LOST, FailureClass.PROCESSES_MISSING)


def launcher_of(profile: Profile, hub_access: HubAccess) -> Launcher:
    """Return what starts the processes of a profile."""
    if not profile.launch.command:
        return Launcher()
    return Launcher(
        command=profile.launch.command,
        environment=launcher_environment(hub_access.environment, hub_access.secrets),
    )


def _others(profile: Profile) -> range:
    return range(1, profile.contract.processes)


def require_launcher(profile: Profile, environment: Mapping[str, str]) -> None:
    """Refuse, before anything is fetched, a launcher that is not there.

    Raises: GateStoppedError.
    """
    command = profile.launch.command
    if not command or shutil.which(command[0], path=environment.get("PATH")) is not None:
        return
    raise GateStoppedError(
        FailureClass.PROCESSES_MISSING,
        found=f"no {command[0]} on the PATH",
        expected="the launcher of launch.command",
        where=f"the PATH, {environment.get('PATH', 'which is not set')}",
        action="start pytest where that command works, such as inside an allocation of the "
        "scheduler, or correct launch.command",
    )


@contextmanager
def folder_of_all(run: RunDir | None, profile: Profile, repository: Path) -> Iterator[RunDir]:
    """Give the folder in which the processes find the profile and leave what they say.

    Args:
        run: of a run; None for a look alone, for which one is made and taken away again, where
            every host sees it.
        profile: is written into the latter.
        repository: the working tree.
    """
    if run is not None:
        yield run
        return
    runs = runs_folder(repository)
    place = runs if runs.is_dir() else repository
    with tempfile.TemporaryDirectory(prefix=".m43-probe-", dir=place) as folder:
        made = RunDir(Path(folder))
        write_record(made.profile, profile)
        yield made


def probe_by_all(
    child: Child,
    run: RunDir,
    profile: Profile,
    hub_access: HubAccess,
    code: OwnCode,
    compiled: Path | None,
) -> Child:
    """Return the probe of several devices: it works in a folder, and says where it is.

    Args:
        child: the probe of one.
        run: the folder.
        profile: says whether a launcher starts it, once per process.
        hub_access: has the launcher's variables.
        code: that it runs.
        compiled: where Python keeps what it compiles, as of `OwnCode.command`.
    """
    launched = bool(profile.launch.command)
    if launched:
        # Where every process reads it.
        write_atomically(run.handed_code, code.handed)
    file = run.handed_code if launched else None
    words = (Path(child.command[0]), TRAINING, "probe", str(run.path))
    return replace(
        child,
        command=code.command(*words, compiled=compiled, file=file),
        given=b"" if launched else code.handed,
        launcher=launcher_of(profile, hub_access),
        grace_s=GRACE_S if launched else child.grace_s,
        log=run.log("probe"),
        heartbeat=run.heartbeat("probe"),
        silence_s=profile.deadlines.silence_s,
        stacks=run.stacks("probe"),
    )


def read_probes(
    run: RunDir, profile: Profile, outcome: Outcome, interpreter: Path, secrets: tuple[str, ...]
) -> ProbeRecord:
    """Take what the first process says of itself and of all; those of the others stay.

    Raises: GateStoppedError, with the cause that was first where several processes name one.
    """
    record, path = outcome.record, run.error("probe")
    said = tail_of(outcome)
    if profile.launch.command:
        keep_first_cause(run, "probe", profile, record, said)
    make_plain(path, secrets)
    error = read_record(path, ChildError) if path.exists() else None
    failure_class = process_class(record, error, outcome.stderr)
    if failure_class is not None:
        told = error.problems if error is not None and record.ended_by_parent == "no" else ()
        phase = f" in phase {record.last_phase!r}" if record.last_phase else ""
        found = (
            " | ".join(told)
            or f"{ended_words(record)}{phase}{f'; it said: {said}' if said else ''}"
        )
        if failure_class is FailureClass.HARNESS_ERROR:
            # What nobody foresaw, before anything was trained: so a probe breaks that is alone.
            failure_class = (
                recognise((found,), release=platform.release()) or FailureClass.BROKEN_VENV
            )
        raise GateStoppedError(
            failure_class,
            found=found,
            expected="a probe by every process, which ends by itself, with status 0",
            where=f"{(path if told else run.log('probe')).name}, {interpreter}",
            action="read the failure analysis; nothing is retried, a new attempt is a new run",
        )
    found_first = read_record(run.probe, ProbeRecord)
    # All of it stands in the gate's record.
    run.probe.unlink()
    return found_first


def keep_first_cause(
    run: RunDir, name: str, profile: Profile, record: ProcessRecord, said: str
) -> None:
    """Write as the child's error what failed first, where several processes say of it.

    Args:
        run: the run folder.
        name: of the child.
        profile: says how many they were.
        record: how the launcher ended.
        said: the end of what it and they wrote to standard error.
    """
    if record.exit_status == 0 or record.ended_by_parent != "no":
        return
    numbers = (0, *_others(profile))
    errors = {
        number: read_record(path, ChildError)
        for number in numbers
        if (path := run.of_process(number).error(name)).exists()
    }
    silent = [number for number in numbers if number not in errors]
    if 0 in errors:
        # Beside those of the others, as what it said itself.
        folder = RunDir(run.path / run.processes.name / "0")
        folder.path.mkdir(parents=True, exist_ok=True)
        write_record(folder.error(name), errors[0])
    causes = [n for n, each in errors.items() if each.failure_class not in _EFFECTS]
    # What nobody foresaw may be how a process noticed the end of another that has a name.
    named = [n for n in causes if errors[n].failure_class is not FailureClass.HARNESS_ERROR]
    first = next(iter(named or causes), None)
    if first is not None:
        problems = (f"process {first} of {len(numbers)}: {errors[first].problems[0]}",)
        found = replace(errors[first], problems=problems + errors[first].problems[1:])
    elif record.exit_status < 0:
        # Whoever ended the launcher ended them all; what they noticed of it explains nothing.
        run.error(name).unlink(missing_ok=True)
        return
    else:
        found = _lost(errors, silent, record, said)
    write_last_record(run, run.error(name), found)


def _lost(
    errors: dict[int, ChildError], silent: list[int], record: ProcessRecord, said: str
) -> ChildError:
    """Name those that left no record; where none was met yet, that they never came."""
    status = record.exit_status
    ending = f"exit status {status}"
    if status > _BY_SIGNAL:
        ending += f", as of a process that signal {status - _BY_SIGNAL} ended"
    begun = record.last_phase not in ("", "import", "meet")
    missing = not begun and all(
        each.failure_class is FailureClass.PROCESSES_MISSING for each in errors.values()
    )
    failure_class = FailureClass.PROCESSES_MISSING if missing else FailureClass.PROCESS_LOST
    without = ", ".join(map(str, silent)) or "none"
    words = f"without a record of their end: process {without}; the launcher ended with {ending}"
    told = [f"process {n}: {text}" for n, each in errors.items() for text in each.problems]
    step = max((each.step for each in errors.values()), default=0)
    problems = (f"{words}{f', and said: {said}' if said else ''}", *told)
    return ChildError(failure_class=failure_class, problems=problems, step=step)


def make_plain(path: Path, secrets: tuple[str, ...]) -> None:
    """Take secrets out of the record that a child left, which knows none and so hides none."""
    if not path.exists():
        return
    error = read_record(path, ChildError)
    clean = replace(error, problems=tuple(redact(text, secrets) for text in error.problems))
    if clean != error:
        write_record(path, clean)


def tail_of(outcome: Outcome) -> str:
    """Return the last that a child wrote to standard error, in one line."""
    lines = [line.strip() for line in outcome.stderr if line.strip() and not _NOISE.match(line)]
    return " | ".join(lines[-_TAIL_LINES:])


def ended_words(record: ProcessRecord) -> str:
    """Say how a child ended, and who ended it."""
    took = duration_words(record.duration_s, whole=True)
    words = {
        "deadline": f"ended by m43 at its deadline, after {took}",
        "silence": f"ended by m43 because it stood still, after {took}",
        "interrupt": "ended by m43 because the run was interrupted",
        "no": (
            f"ended by signal {-record.exit_status}"
            if record.exit_status < 0
            else f"exit status {record.exit_status}"
        ),
    }
    return words[record.ended_by_parent]


def _union(parts: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(sorted({each for part in parts for each in part}))


def origins_of_all(run: RunDir, profile: Profile) -> Origins:
    """Put together what all processes say that they run: what one ran is audited as of all."""
    found = [
        read_record(run.of_process(number).origins, Origins) for number in (0, *_others(profile))
    ]
    for number in (0, *_others(profile)):
        run.of_process(number).origins.unlink()
    return Origins(
        own=_union(each.own for each in found),
        modules=_union(each.modules for each in found),
        libraries=_union(each.libraries for each in found),
        standard=found[0].standard,
        startup=_union(each.startup for each in found),
    )
