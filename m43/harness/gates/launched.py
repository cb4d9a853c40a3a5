"""A child of several processes: how a launcher starts it, and which of them failed first.

Each process leaves its own records, the first in the run folder and the others beside it. What one
dies of, the others only notice: so a lost process is named where none says more of itself.
"""

import shutil
from collections.abc import Iterable, Mapping
from dataclasses import replace

from m43.errors import FailureClass, GateStoppedError
from m43.harness.process import Launcher, launcher_environment
from m43.harness.run import HubAccess
from m43.records import (
    ChildError,
    Origins,
    ProcessRecord,
    Profile,
    RunDir,
    read_record,
    write_last_record,
    write_record,
)

# mpirun ends its processes within 2 s, srun within 5 (KillWait is not waited for twice).
GRACE_S = 10.0
# Of a shell, and of launchers: what ended a process, where a signal did.
_BY_SIGNAL = 128
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
    first = next((n for n, each in errors.items() if each.failure_class not in _EFFECTS), None)
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
