"""The venv gate: the environment that trains, seen from outside, against what is needed."""

import os
import platform
import signal
import sys
import time
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError
from pathlib import Path

from packaging.markers import default_environment
from packaging.requirements import Requirement as Requested
from packaging.utils import canonicalize_name

from m43 import typed_json
from m43.errors import FailureClass, GateStoppedError
from m43.evidence.contract import home, package
from m43.evidence.diagnosis import ending, process_class
from m43.evidence.failures import recognise
from m43.harness.card import card_memory
from m43.harness.gates.launched import (
    folder_of_all,
    origins_of_all,
    probe_by_all,
    read_probes,
    require_launcher,
)
from m43.harness.process import (
    TRAINING,
    Child,
    Outcome,
    OwnCode,
    Sight,
    child_environment,
    last_of,
    own_code,
    run_child,
)
from m43.harness.run import HubAccess, Packages, audit, measure_packages
from m43.records import (
    SELF_VENV,
    Origins,
    ProbeRecord,
    ProcessRecord,
    Profile,
    Requirement,
    RunDir,
    VenvRecord,
)
from m43.text import duration_words

# The two lists, of what is needed and of what was tested, as pip reads them as well.
NEEDED, TESTED = "training", "tested"


def compare(project: Path, probe: ProbeRecord) -> tuple[Requirement, ...]:
    """Compare each requirement of the extra `training` with what the probe found installed.

    Beside each stands the newest minor version that m43 was tested with, of the extra `tested`.

    Raises: GateStoppedError, when there is no such list: nothing to compare would satisfy all.
    """
    texts = tomllib.loads(project.read_text(encoding="utf-8"))
    extras = texts.get("project", {}).get("optional-dependencies", {})
    for extra in (NEEDED, TESTED):
        if not extras.get(extra):
            raise GateStoppedError(
                FailureClass.HARNESS_ERROR,
                found=f"no extra {extra!r}",
                expected="the lists of what training needs and of what m43 was tested with",
                where=str(project),
                action="restore pyproject.toml from git",
            )
    needed, tested = (tuple(_asked(extras[extra], probe)) for extra in (NEEDED, TESTED))
    installed = {str(canonicalize_name(item.name)): item.version for item in probe.packages}
    # "==0.12.*" is how pip is told of a minor version.
    minors = {
        str(canonicalize_name(item.name)): str(item.specifier).removeprefix("==").removesuffix(".*")
        for item in tested
    }
    return tuple(_compare(wanted, installed, minors) for wanted in needed)


def own_problems(project: Path, version_of: Callable[[str], str], place: str) -> tuple[str, ...]:
    """Say in a sentence what m43 itself needs and this interpreter's environment has not.

    Args:
        project: The file with the list.
        version_of: Gives the installed version of a distribution; raises PackageNotFoundError.
        place: Where the environment lies.
    """
    texts = tomllib.loads(project.read_text(encoding="utf-8"))["project"]["dependencies"]
    unmet = []
    for wanted in map(Requested, texts):
        try:
            version = version_of(wanted.name)
        except PackageNotFoundError:
            unmet.append(f"no {wanted.name}")
            continue
        if not wanted.specifier.contains(version, prereleases=True):
            unmet.append(f"{wanted.name} {version} instead of {wanted.specifier}")
    if not unmet:
        return ()
    return (
        f"found {', '.join(unmet)} in {place}, expected m43's own packages: call the pytest of the "
        "environment that has them: .venv/bin/python -m pytest",
    )


def _asked(texts: Iterable[str], probe: ProbeRecord) -> Iterable[Requested]:
    major_minor = ".".join(probe.python_version.split(".")[:2])
    # The markers are asked about the environment that trains, not about this interpreter.
    environment = {str(name): str(value) for name, value in default_environment().items()}
    environment |= {"python_version": major_minor, "python_full_version": probe.python_version}
    for wanted in map(Requested, texts):
        if wanted.marker is None or wanted.marker.evaluate(environment):
            yield wanted


def _compare(
    wanted: Requested, installed: Mapping[str, str], minors: Mapping[str, str]
) -> Requirement:
    name = canonicalize_name(wanted.name)
    version = installed.get(name)
    return Requirement(
        requirement=f"{wanted.name}{wanted.specifier}",
        installed=version or "absent",
        satisfied=version is not None and wanted.specifier.contains(version, prereleases=True),
        tested=minors.get(name, ""),
    )


_TAIL_LINES = 15
_FROM_OUTSIDE = (signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGINT)


@dataclass(frozen=True, kw_only=True)
class VenvMeasurement:
    """The gate's record, and the packages file by file for the comparison at the end."""

    record: VenvRecord
    packages: Packages = field(repr=False)


def measure(
    hub_access: HubAccess,
    profile: Profile,
    repository: Path,
    see: Callable[[Sight], None] = lambda sight: None,
    *,
    run: RunDir | None = None,
    compiled: Path | None = None,
) -> VenvMeasurement:
    """Look at the environment and let a child, which `see` is shown, report what it is.

    Where several devices are promised, it is all processes of the run that report, and leave in the
    run's folder what each says; for a look alone in one that goes again.

    Raises: GateStoppedError, when there is no environment that could report anything.
    """
    begun = time.monotonic()
    require_launcher(profile, hub_access.environment)
    folder = venv_folder(profile)
    interpreter = find_interpreter(folder, own=profile.venv.path == SELF_VENV)
    code = own_code(package(repository).parent)
    child = _child(hub_access, profile, repository, code, interpreter, compiled)
    if profile.contract.devices > 1:
        with folder_of_all(run, profile, repository) as place:
            several = probe_by_all(child, place, profile, hub_access, code, compiled)
            outcome = _run(several, interpreter, see)
            probe = read_probes(place, profile, outcome, interpreter, hub_access.secrets)
            origins: Origins | None = origins_of_all(place, profile)
    else:
        outcome = _run(child, interpreter, see)
        probe, origins = read_probe(outcome, interpreter), last_of(outcome, Origins)
    if origins is None:
        raise _broken(interpreter, "a probe that does not say what it imported", "its report")
    found = measure_packages(Path(text) for text in probe.site_packages)
    imported = audit(origins, found, probe.site_packages, {}, compiled=compiled is not None)
    record = VenvRecord(
        path=str(folder),
        interpreter=str(interpreter),
        probe=probe,
        requirements=compare(home(repository) / "pyproject.toml", probe),
        packages_sha256=found.sha256,
        altered=imported.altered,
        unrecorded=imported.unrecorded,
        duration_s=time.monotonic() - begun,
    )
    return VenvMeasurement(record=record, packages=found)


def compiled_python(run: RunDir, profile: Profile) -> Path | None:
    """Return where children keep what Python compiles; None where they use what they find.

    What compiled files hold is told by no digest of sources, and nothing else tells it: a
    production run compiles every module itself. That costs it some seconds, and a rehearsal, which
    is evidence of nothing, would be a tenth longer.
    """
    return run.bytecode if profile.kind == "production" else None


def venv_folder(profile: Profile) -> Path:
    """Give the folder that the profile names; "self" is the one that runs this."""
    return Path(sys.prefix if profile.venv.path == SELF_VENV else profile.venv.path)


def find_interpreter(folder: Path, *, own: bool = False, system: str = sys.platform) -> Path:
    """Find the environment's interpreter.

    Raises: GateStoppedError, for native Windows, a missing folder, or one without interpreter.
    """
    if system == "win32":
        raise GateStoppedError(
            FailureClass.NATIVE_WINDOWS,
            found="native Windows",
            expected="Linux, or Linux inside WSL2",
            where="the machine that runs pytest",
            action="run it in WSL2: JAX has no CUDA wheels for native Windows",
        )
    if not folder.is_dir():
        raise GateStoppedError(
            FailureClass.NO_VENV,
            found="a file" if folder.exists() else "no folder",
            expected="the virtual environment that trains",
            where=str(folder),
            action="make it yourself, with m43's extra cuda12 or cuda13, or correct [venv] path; "
            "m43 installs nothing",
        )
    interpreter = folder / "bin" / "python"
    if own and not interpreter.exists():
        # An interpreter that was installed by the system may be called python3 only.
        return Path(sys.executable)
    if not interpreter.exists():
        found = "a link to nothing" if interpreter.is_symlink() else "no interpreter"
        raise _broken(interpreter, found, "the interpreter of the environment")
    if not os.access(interpreter, os.X_OK):
        raise _broken(interpreter, "a file that may not be executed", "an interpreter")
    return interpreter


def _child(
    hub_access: HubAccess,
    profile: Profile,
    repository: Path,
    code: OwnCode,
    interpreter: Path,
    compiled: Path | None,
) -> Child:
    contract, deadlines = profile.contract, profile.deadlines
    memory = card_memory(hub_access.environment, contract)
    environment = child_environment(
        hub_access.environment,
        platform=contract.platform,
        system=sys.platform,
        parent_pid=os.getpid(),
        secrets=hub_access.secrets,
        share=memory.share if memory is not None else None,
        launched=bool(profile.launch.command),
    )
    return Child(
        command=code.command(interpreter, TRAINING, "probe", compiled=compiled),
        given=code.handed,
        folder=repository,
        environment=environment,
        # Its last lines are kept by `run_child`; a file would be left behind by a kill.
        log=Path(os.devnull),
        deadline_s=deadlines.probe_s,
        secrets=hub_access.secrets,
    )


def _run(child: Child, interpreter: Path, see: Callable[[Sight], None]) -> Outcome:
    try:
        return run_child(child, see)
    except OSError as error:
        found = f"{type(error).__name__}: {error.strerror or error}"
        raise _broken(interpreter, found, "an interpreter that starts") from error


def read_probe(outcome: Outcome, interpreter: Path) -> ProbeRecord:
    """Take the probe's report out of what it printed.

    Raises: GateStoppedError, when the probe was ended, failed, or printed something else.
    """
    record = outcome.record
    tail = " | ".join(line for line in outcome.stderr[-_TAIL_LINES:] if line.strip())
    if record.ended_by_parent != "no":
        found = f"no report after {duration_words(record.duration_s, whole=True)}{_and(tail)}"
        raise _broken(interpreter, found, "a probe that ends")
    if -record.exit_status in _FROM_OUTSIDE:
        # A crash is the environment's own; these come from somebody else, or from the kernel.
        raise _killed(interpreter, record, tail)
    if record.exit_status != 0:
        found = f"exit status {record.exit_status}{_and(tail)}"
        raise _broken(interpreter, found, "a probe that ends with status 0")
    last = next((line for line in reversed(outcome.stdout) if line.strip()), "")
    probe, problems = typed_json.parse(ProbeRecord, last, "the probe's last line")
    if probe is None:
        found = f"{problems[0].found} in the probe's last line, {last[:120]!r}{_and(tail)}"
        raise _broken(interpreter, found, "the probe's report")
    return probe


def _and(tail: str) -> str:
    return f"; it said: {tail}" if tail else ""


def _killed(interpreter: Path, record: ProcessRecord, tail: str) -> GateStoppedError:
    return GateStoppedError(
        process_class(record, None) or FailureClass.KILLED,
        found=f"a probe that was ended by {ending(record)}{_and(tail)}",
        expected="a probe that ends by itself and reports",
        where=str(interpreter),
        action="look at what else this machine was doing; a new attempt is a new run",
    )


def _broken(interpreter: Path, found: str, expected: str) -> GateStoppedError:
    return GateStoppedError(
        recognise((found,), release=platform.release()) or FailureClass.BROKEN_VENV,
        found=found,
        expected=expected,
        where=str(interpreter),
        action="make the environment again yourself; m43 repairs and installs nothing",
    )
