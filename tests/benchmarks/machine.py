"""The machine that the figures are of."""

import os
import re
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Machine:
    """As Linux tells of it.

    Attributes:
        load: how many processes wanted a core over the last minute, those of others included.
    """

    processor: str
    family: int
    model: int
    cores: int
    memory_bytes: int
    load: float

    @property
    def sentence(self) -> str:
        """One line for the notes."""
        return (
            f"{self.processor} family {self.family} model {self.model}, {self.cores} cores, "
            f"{self.memory_bytes / 2**30:.0f} GiB; load at the end {self.load:.1f}"
        )


def machine() -> Machine:
    """Read it off this one."""
    text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    return Machine(
        processor=_field(text, "model name"),
        family=int(_field(text, "cpu family")),
        model=int(_field(text, "model")),
        cores=len(os.sched_getaffinity(0)),
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        load=os.getloadavg()[0],
    )


def _field(text: str, name: str) -> str:
    found = re.search(rf"^{name}\s*: (.*)$", text, re.MULTILINE)
    return found[1] if found else "unknown"
