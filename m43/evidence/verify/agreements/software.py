"""The software: what the children imported, and the numbers it computed before anything else.

Digests of packages cannot be recomputed without their wheels. Here stands what follows all the
same: whose the files are, that one file has one digest, and what is the same for everybody.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import get_args

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
