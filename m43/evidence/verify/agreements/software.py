"""The software: what is installed, what of it the children imported, and what it computed first.

Digests of packages cannot be recomputed without their wheels. Here stands what follows all the
same: whose the files are, that one file has one digest, and what is the same for everybody.
"""

import json
import re
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import Any, get_args

from m43.errors import Problem, differences, problem
from m43.evidence.contract import package
from m43.evidence.run import LoadedRun
from m43.evidence.verify.agreements.training import handed_sha256
from m43.files import file_sha256
from m43.records import (
    Collective,
    ImportedRecord,
    MalformedRecordError,
    MeshRecord,
    ProbedProcess,
    ProbeRecord,
    Profile,
    RunDir,
    VenvRecord,
    read_record,
)

_problem = partial(problem, action="")
_LINE = re.compile(r"([0-9a-f]{64})  (\S.*)")
_REFERENCE = Path("training/numerics/float64.json")


# --- packages ----------------------------------------------------------------------------------


def packages(loaded_run: LoadedRun, repository: Path) -> Iterator[Problem]:
    """Hold requirements and the versions that training named against the list of packages."""
    venv, train = loaded_run.venv, loaded_run.train
    if venv is None:
        return
    installed = {_name(each.name): each.version for each in venv.probe.packages}
    for item in venv.requirements:
        where = f"{RunDir.venv.name}, requirements"
        version = installed.get(_name(item.requirement), "absent")
        if item.installed != version:
            found = f"{item.requirement} by {item.installed}"
            yield _problem(found, f"{version}, as the packages have it", where)
        meets = satisfies(version, item.requirement)
        if meets is not None and meets != item.satisfied:
            words = "satisfied" if item.satisfied else "not satisfied"
            yield _problem(f"{item.requirement} {words} by {version}", "the opposite", where)
    yield from _requirements(venv, repository)
    if train is not None:
        for package, version in (("jax", train.jax_version), ("flax", train.flax_version)):
            if installed.get(package) != version:
                expected = f"{installed.get(package, 'none')}, as venv.json lists"
                where = f"{RunDir.train.name}, {package}_version"
                yield _problem(version, expected, where)


def project_table(repository: Path) -> Mapping[str, Any]:
    """Read what pyproject.toml says of the project; nothing where it cannot be read."""
    try:
        text = (repository / "pyproject.toml").read_text(encoding="utf-8")
        table: Mapping[str, Any] = tomllib.loads(text).get("project", {})
    except (OSError, ValueError):
        return {}
    return table


def _requirements(venv: VenvRecord, repository: Path) -> Iterator[Problem]:
    """Require the lists that the code of the run has; code of another commit is told as that."""
    extras = project_table(repository).get("optional-dependencies", {})
    # Without the code of the run there is nothing to compare; that is told by its own check.
    wanted = extras.get("training", ())
    told = [item.requirement for item in venv.requirements]
    where = f"{RunDir.venv.name}, requirements"
    if len(set(told)) != len(told):
        yield _problem(f"{len(told)} requirements", f"{len(set(told))}, each once", where)
    asked = {_plain(text) for text in wanted if _applies(text, venv.probe.python_version)}
    if not asked:
        return
    for text in sorted(set(told) - asked):
        yield _problem(text, "a requirement of pyproject.toml, extra training", where)
    for text in sorted(asked - set(told)):
        yield _problem("no comparison", f"that of {text}", where)
    tested = {
        _name(text): _plain(text).partition("==")[2].removesuffix(".*")
        for text in extras.get("tested", ())
        if _applies(text, venv.probe.python_version)
    }
    for item in venv.requirements:
        if item.tested != tested.get(_name(item.requirement), ""):
            expected = f"{tested.get(_name(item.requirement), 'none')}, as in pyproject.toml"
            yield _problem(f"{item.requirement}, tested with {item.tested}", expected, where)


def _plain(requirement: str) -> str:
    """Return a requirement as the gate records it, without its marker."""
    return requirement.partition(";")[0].strip()


_MARKER = re.compile(r"python_version\s*([<>=!~]+)\s*['\"]([\d.]+)['\"]")


def _applies(requirement: str, python_version: str) -> bool:
    """Tell whether a requirement is meant for a Python; what cannot be read is not insisted on."""
    _, semicolon, marker = requirement.partition(";")
    parts = [_MARKER.fullmatch(each.strip()) for each in marker.split(" and ")] if semicolon else []
    minor = ".".join(python_version.split(".")[:2])
    return all(part is not None and satisfies(minor, f"x{part[1]}{part[2]}") for part in parts)


def _name(requirement: str) -> str:
    """Return the name of a distribution as all indexes have it. Source: PEP 503."""
    text = re.split(r"[<>=!~;\[\s(]", requirement.strip(), maxsplit=1)[0]
    return re.sub(r"[-_.]+", "-", text).lower()


# Not those with an epoch ("1!2.0"), which comes before all else. Source: PEP 440.
_VERSION = re.compile(r"(\d+(?:\.\d+)*)([^!\d][^!]*)?")
_CLAUSE = re.compile(r"(~=|==|!=|<=|>=|<|>)\s*(\d+(?:\.\d+)*)")
_COMPARE: Mapping[str, Callable[[tuple[int, ...], tuple[int, ...]], bool]] = {
    "==": lambda one, other: one == other,
    "!=": lambda one, other: one != other,
    "<=": lambda one, other: one <= other,
    ">=": lambda one, other: one >= other,
    "<": lambda one, other: one < other,
    ">": lambda one, other: one > other,
}


def satisfies(version: str, requirement: str) -> bool | None:
    """Tell whether a version meets a requirement; None where either is of a form not known here.

    Example:
        >>> satisfies("0.10.2", "jax>=0.10.2,<0.11"), satisfies("2.0", "x~=1.4")
        (True, False)
    """
    if version == "absent":
        return False
    text = re.sub(r"^[\w.-]+\s*(\[[^]]*\])?", "", requirement.partition(";")[0].strip())
    listed = [part.strip() for part in text.split(",") if part.strip()]
    clauses = [_CLAUSE.fullmatch(each) for each in listed]
    told = _VERSION.fullmatch(version)
    if told is None or None in clauses:
        return None
    release, bounds = told[1], [(each[1], each[2]) for each in clauses if each is not None]
    # What follows the numbers decides only beside the same numbers, and is not read here.
    if told[2] and any(_meets(release, "==", bound) for _, bound in bounds):
        return None
    return all(_meets(release, *bound) for bound in bounds)


def _meets(version: str, operator: str, bound: str) -> bool:
    if operator == "~=":
        least = bound.split(".")
        return _meets(version, ">=", bound) and version.split(".")[: len(least) - 1] == least[:-1]
    pairs = list(zip_longest(map(int, version.split(".")), map(int, bound.split(".")), fillvalue=0))
    return _COMPARE[operator](tuple(a for a, _ in pairs), tuple(b for _, b in pairs))


# --- what was imported -------------------------------------------------------------------------


def imported(loaded_run: LoadedRun) -> Iterator[Problem]:
    """Hold what training and evaluation imported against the installed packages."""
    venv, before = loaded_run.venv, None
    for child, facts in (("train", loaded_run.train), ("eval", loaded_run.evaluation)):
        if facts is None or venv is None:
            continue
        record, where = facts.imported, RunDir(Path()).imported(child).name
        yield from _listed_once(record, where)
        yield from _of_packages(record, venv, where)
        if before is not None and record.passed_over != before.passed_over:
            expected = f"{', '.join(before.passed_over) or 'none'}, as beside training"
            yield _problem(
                ", ".join(record.passed_over) or "none", expected, f"{where}, passed_over"
            )
        before = record


def _listed_once(record: ImportedRecord, where: str) -> Iterator[Problem]:
    names: Counter[str] = Counter()
    for line in record.files:
        found = _LINE.fullmatch(line)
        if found is None:
            yield _problem(f"the line {line[:80]!r}", "a SHA-256 and a path", where)
        else:
            names[found[2]] += 1
    for name, count in names.items():
        if count > 1:
            yield _problem(f"{name}, {count} times", "each file once", where)
    for name in (*record.altered, *record.unrecorded):
        if name not in names:
            yield _problem(f"{name}, which was not digested", "one of the files", where)


def _of_packages(record: ImportedRecord, venv: VenvRecord, where: str) -> Iterator[Problem]:
    """Each file of a package is of a distribution that is installed, and training's are there."""
    installed = {f"{_normal(each.name)} {each.version}" for each in venv.probe.packages}
    for name, count in record.distributions.items():
        if name not in installed or count < 1:
            found = f"{count} files of {name}"
            yield _problem(found, f"those of a package in {RunDir.venv.name}", where)
    brought = {name.partition(" ")[0] for name in record.distributions}
    for item in venv.requirements:
        wanted = _normal(re.split("[<>=!~; ]", item.requirement, maxsplit=1)[0])
        if wanted not in brought:
            yield _problem(f"nothing of {wanted}", "what training needs", where)
    folders = {f"{Path(folder).name}/" for folder in venv.probe.site_packages}
    lines = (line.partition("  ")[2] for line in record.files)
    inside = [name for name in lines if name.startswith(tuple(folders))]
    recorded = len(set(inside) - set(record.unrecorded))
    if recorded != sum(record.distributions.values()):
        found = f"{sum(record.distributions.values())} files of distributions"
        yield _problem(found, f"{recorded}, which are listed", f"{where}, distributions")


def _normal(name: str) -> str:
    """Source: packaging.python.org, "Names and normalization"."""
    return re.sub(r"[-_.]+", "-", name).lower()


def numerics(loaded_run: LoadedRun, repository: Path) -> Iterator[Problem]:
    """Hold the numerics check against the reference of this checkout, which is everybody's."""
    if loaded_run.venv is None:
        return
    where = f"{RunDir.venv.name}, numerics"
    references = json.loads((package(repository) / _REFERENCE).read_text(encoding="utf-8"))
    for step in loaded_run.venv.probe.numerics.steps:
        reference = references.get(step.family)
        if reference is None:
            yield _problem(f"a Gemma of {step.family}", f"one of {', '.join(references)}", where)
            continue
        exact = reference["losses_nats"]
        if list(step.reference_losses_nats) != exact:
            found = f"{step.family}: losses of {list(step.reference_losses_nats)} in float64"
            yield _problem(found, f"{exact}, as in {_REFERENCE.name}", where)
        for name in (step.gradient_worst, step.update_worst):
            if name not in reference["weights"]:
                yield _problem(f"{step.family}: a weight {name!r}", "a weight of it", where)


def exchanges(run: RunDir, loaded_run: LoadedRun) -> Iterator[Problem]:
    """Hold what the mesh exchanged against the profile, and what processes said against theirs."""
    venv, profile, where = loaded_run.venv, loaded_run.profile, f"{RunDir.venv.name}, mesh"
    if venv is None or profile is None:
        return
    mesh, promised = venv.probe.mesh, profile.contract
    if mesh is None or promised.devices == 1:
        if mesh is not None or promised.devices > 1:
            found = f"{'no' if mesh is None else 'a'} mesh that was tried"
            yield _problem(found, f"what {promised.devices} devices can try", where)
        return
    yield from differences(_of_all(run, venv, mesh, profile), where, "")
    for each in mesh.exchanges:
        # What each device contributes is compared on all of them; gathered, that of each.
        least = each.payload_bytes // 4 * promised.devices
        least *= each.devices if each.operation == "all-gather" else 1
        if not 0 <= each.wrong_values <= each.values or not 0 < least <= each.values:
            yield _problem(each, f"{least:,} values at least, of 4 bytes", f"{where}, exchanges")
        if not 0 < each.duration_s <= venv.duration_s:
            yield _problem(
                f"{each.duration_s} s", "a time within the gate's", f"{where}, exchanges"
            )
    for process in mesh.processes[1:]:
        yield from _left(run.of_process(process.process), process, venv.probe)


_Pairs = dict[str, tuple[object, object]]


def _of_all(run: RunDir, venv: VenvRecord, mesh: MeshRecord, profile: Profile) -> _Pairs:
    """Pair what was recorded of a mesh with what it has to be."""
    said, contract = mesh.processes, profile.contract
    devices = [each for one in said for each in one.devices]
    axes = (("fsdp", profile.mesh.fsdp), ("tensor", profile.mesh.tensor))
    wanted = [(axis, each, n) for axis, n in axes for each in get_args(Collective) if n > 1]
    return {
        "mesh": (mesh.mesh, profile.mesh),
        "process": ([each.process for each in said], [*range(contract.processes)]),
        "devices": (len(set(devices)), contract.devices),
        "computed": ([len(e.wrong_products) for e in said], [len(e.devices) for e in said]),
        "kind of device": ({each.partition(" ")[2] for each in devices}, {venv.device}),
        "profile_sha256": ({each.profile_sha256 for each in said}, {file_sha256(run.profile)}),
        "code_sha256": ({each.code_sha256 for each in said}, {handed_sha256(run)}),
        "packages_sha256": (len({each.packages_sha256 for each in said}), 1),
        "python_version": ({each.python_version for each in said}, {venv.probe.python_version}),
        "driver_version": ({each.driver_version for each in said}, {venv.probe.driver_version}),
        "exchanges": ([(e.axis, e.operation, e.devices) for e in mesh.exchanges], wanted),
    }


def _left(own: RunDir, said: ProbedProcess, first: ProbeRecord) -> Iterator[Problem]:
    """Hold what a further process left against what it said, and against the first's."""
    try:
        found = read_record(own.probe, ProbeRecord)
    except MalformedRecordError as error:
        yield from error.problems
        return
    kinds = [f"{each.platform}:{each.kind}" for each in found.devices]
    pairs: _Pairs = {
        "packages": (found.packages, first.packages),
        "devices": (kinds, [each.partition(" ")[2] for each in said.devices]),
        "python_version": (found.python_version, said.python_version),
        "driver_version": (found.driver_version, said.driver_version),
        "default_device": (found.default_device, first.default_device),
    }
    yield from differences(pairs, f"process {said.process}, {own.probe.name}", "")
