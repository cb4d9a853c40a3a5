"""The requirements: what m43's training needs, compared with what an environment holds."""

import tomllib
from collections.abc import Callable, Iterable
from importlib.metadata import PackageNotFoundError
from pathlib import Path

from packaging.markers import default_environment
from packaging.requirements import Requirement as Requested
from packaging.utils import canonicalize_name

from m43.errors import FailureClass, GateStoppedError
from m43.records import ProbeRecord, Requirement

# The one list: what `pip install m43[training]` would read as well.
EXTRA = "training"


def compare(project: Path, probe: ProbeRecord) -> tuple[Requirement, ...]:
    """Compare each requirement of the extra `training` with what the probe found installed.

    Raises: GateStoppedError, when there is no such list: nothing to compare would satisfy all.
    """
    texts = tomllib.loads(project.read_text(encoding="utf-8"))
    extras = texts.get("project", {}).get("optional-dependencies", {})
    if not extras.get(EXTRA):
        raise GateStoppedError(
            FailureClass.HARNESS_ERROR,
            found=f"no extra {EXTRA!r}",
            expected="the list of what training needs",
            where=str(project),
            action="restore pyproject.toml from git",
        )
    installed = {str(canonicalize_name(item.name)): item.version for item in probe.packages}
    return tuple(_compare(extras[EXTRA], installed, probe))


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


def _compare(
    texts: Iterable[str], installed: dict[str, str], probe: ProbeRecord
) -> Iterable[Requirement]:
    major_minor = ".".join(probe.python_version.split(".")[:2])
    # The markers are asked about the environment that trains, not about this interpreter.
    environment = {str(name): str(value) for name, value in default_environment().items()}
    environment |= {"python_version": major_minor, "python_full_version": probe.python_version}
    for text in texts:
        wanted = Requested(text)
        if wanted.marker is not None and not wanted.marker.evaluate(environment):
            continue
        version = installed.get(canonicalize_name(wanted.name))
        satisfied = version is not None and wanted.specifier.contains(version, prereleases=True)
        yield Requirement(requirement=text, installed=version or "absent", satisfied=satisfied)
