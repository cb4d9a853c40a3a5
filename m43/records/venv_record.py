"""The records of the environment: its packages, its devices, and what its probe found."""

import re
from dataclasses import dataclass, field

from m43.records.numerics_record import NumericsRecord


@dataclass(frozen=True, kw_only=True)
class Package:
    """An installed distribution."""

    name: str
    version: str


@dataclass(frozen=True, kw_only=True)
class Requirement:
    """A requirement of m43's training and what the environment holds; "absent" if nothing."""

    requirement: str
    installed: str
    satisfied: bool  # by packaging's SpecifierSet over the installed version
    tested: str  # the newest minor version that m43 was tested with, "0.12"

    @property
    def name(self) -> str:
        """The package's name, as the requirement writes it."""
        return re.split("[][<>=~!; ]", self.requirement, maxsplit=1)[0]

    @property
    def newer(self) -> bool:
        """Whether what is installed is of a newer minor version than m43 was tested with."""
        tested = _numbers(self.tested)
        return _numbers(self.installed)[: len(tested)] > tested

    @property
    def installed_words(self) -> str:
        """The version that is installed, and what m43 was tested with where that is older."""
        if not self.newer:
            return self.installed
        return f"{self.installed}, newer than what m43 was tested with ({self.tested})"


def _numbers(version: str) -> list[int]:
    # Of a few digits each: no version has more, and Python refuses to read thousands.
    return [int(part) for part in re.findall("[0-9]{1,9}", version)]


@dataclass(frozen=True, kw_only=True)
class Device:
    """An accelerator (or CPU) as JAX sees it."""

    platform: str
    kind: str
    memory_bytes: int  # for a CPU: the host's memory


@dataclass(frozen=True, kw_only=True)
class ProbeRecord:
    """What the probe child printed about the interpreter that ran it."""

    executable: str
    prefix: str
    python_version: str
    system: str  # platform.system(): "Linux", "Windows", ...
    release: str
    packages: tuple[Package, ...] = field(repr=False)
    site_packages: tuple[str, ...]  # the folders in which the packages lie
    import_error: str  # empty, or why JAX could not be imported or started
    devices: tuple[Device, ...]
    default_device: str  # "platform:kind" that a computation really ran on; empty if none ran
    numerics: NumericsRecord
    driver_version: str  # "none" without an NVIDIA driver
    host_memory_bytes: int
    disk_free_bytes: int


@dataclass(frozen=True, kw_only=True)
class VenvRecord:
    """The environment that trains. `venv.json`."""

    path: str
    interpreter: str
    probe: ProbeRecord
    requirements: tuple[Requirement, ...] = field(repr=False)
    packages_sha256: str
    altered: tuple[str, ...]  # files that the probe imported, and that RECORD has otherwise
    unrecorded: tuple[str, ...]  # that no RECORD has
    duration_s: float

    @property
    def device(self) -> str:
        """Where a computation really ran, as platform:kind."""
        return self.probe.default_device

    @property
    def unsatisfied(self) -> tuple[str, ...]:
        """The requirements that the environment does not meet, with what it holds."""
        return tuple(
            f"{item.requirement} (installed: {item.installed})"
            for item in self.requirements
            if not item.satisfied
        )

    @property
    def tested_versions(self) -> tuple[str, ...]:
        """What m43 was tested with of each package that training needs."""
        return tuple(item.tested for item in self.requirements)

    @property
    def newer(self) -> tuple[str, ...]:
        """The packages that are newer than what m43 was tested with, with both versions."""
        return tuple(
            f"{item.name} {item.installed} (tested with: {item.tested})"
            for item in self.requirements
            if item.newer
        )


# --- train-300 ---------------------------------------------------------------------------------
