"""The fault matrix: every case with what it must leave, and what each of them really left."""

from dataclasses import dataclass

from m43.errors import FailureClass as F
from tests.faults import record
from tests.faults.record import Row
from tests.faults.remains import ITSELF, NEXT_RUN, RENDER, Remains


@dataclass(frozen=True, kw_only=True)
class Case:
    """A fault, where it strikes, and what must be true afterwards.

    Attributes:
        status: pytest's exit status; -9 is SIGKILL.
        closed_by: who wrote the journal's last line.
        quick: whether CI has time for it.
        words: what the failure analysis must say.
    """

    fault: str
    gate: str
    failure_class: F
    status: int
    closed_by: str = ITSELF
    document: str = "failure_analysis.md"
    quick: bool = False
    words: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """The name of the case in pytest's list."""
        return f"{self.fault} @ {self.gate or 'before gate 1'}"

    @property
    def closer(self) -> str:
        """The command that closes the run if it cannot do so itself."""
        return NEXT_RUN if self.closed_by == NEXT_RUN else RENDER


GATES = ("auth", "venv", "train-300", "eval")
_INTERRUPTS = ("SIGINT", "SIGTERM", "SIGHUP")
_QUICK_GATES = ("auth", "venv")

SIGNALS: tuple[Case, ...] = (
    *(
        Case(
            fault="SIGKILL of pytest",
            gate=gate,
            failure_class=F.INTERRUPTED,
            status=-9,
            closed_by=NEXT_RUN if gate in ("auth", "eval") else RENDER,
            quick=gate in ("auth", "venv", "train-300"),
            words=("cut off", "The machine was not restarted"),
        )
        for gate in GATES
    ),
    # The auth gate and the download have no child: its requests are made by pytest itself.
    *(
        Case(
            fault="SIGKILL of the child",
            gate=gate,
            failure_class=F.KILLED,
            status=1,
            quick=gate in ("venv", "train-300"),
            words=("SIGKILL",),
        )
        for gate in GATES[1:]
    ),
    *(
        Case(
            fault=f"{number}{' twice' * twice}",
            gate=gate,
            failure_class=F.INTERRUPTED,
            status=2,
            quick=(gate in _QUICK_GATES and not (twice and number != "SIGINT"))
            or (number, twice, gate) == ("SIGTERM", False, "eval"),
            words=(f"Interrupted: {number}",),
        )
        for number in _INTERRUPTS
        for twice in (False, True)
        for gate in GATES
    ),
    Case(
        fault="terminal hung up",
        gate="train-300",
        failure_class=F.INTERRUPTED,
        status=2,
        words=("Interrupted: SIGHUP",),
    ),
)

# The plan's figure, and what by it filled the memory.
_PLANNED = ("The plan for the longest batch", "By the plan this fills the memory")
CHILD: tuple[Case, ...] = (
    Case(
        fault="killed by the kernel for memory",
        gate="train-300",
        failure_class=F.OUT_OF_HOST_MEMORY,
        status=1,
        words=("The kernel ended it for lack of memory", *_PLANNED),
    ),
    Case(
        fault="RESOURCE_EXHAUSTED from XLA",
        gate="train-300",
        failure_class=F.OUT_OF_DEVICE_MEMORY,
        status=1,
        quick=True,
        words=("RESOURCE_EXHAUSTED", "The request that failed was for", *_PLANNED),
    ),
    Case(
        fault="NaN loss at step 7",
        gate="train-300",
        failure_class=F.NON_FINITE_LOSS,
        status=1,
        words=("at step 7",),
    ),
    Case(
        fault="NaN gradient at step 7",
        gate="train-300",
        failure_class=F.NON_FINITE_LOSS,
        status=1,
        words=("at step 7",),
    ),
    Case(
        fault="NaN in a weight at step 7",
        gate="train-300",
        failure_class=F.NON_FINITE_LOSS,
        status=1,
        quick=True,
        words=("at step 7",),
    ),
    Case(
        fault="divergence",
        gate="train-300",
        failure_class=F.DIVERGED,
        status=1,
        words=("times the first",),
    ),
    Case(
        fault="deadline while stepping",
        gate="train-300",
        failure_class=F.TIMED_OUT,
        status=1,
        words=("The time was over after", "of 200 recorded steps", "train.stacks.txt"),
    ),
    Case(
        fault="deadline while compiling",
        gate="train-300",
        failure_class=F.TIMED_OUT,
        status=1,
        words=("compile", "train.stacks.txt"),
    ),
    Case(
        fault="hung without heartbeat",
        gate="train-300",
        failure_class=F.HUNG,
        status=1,
        quick=True,
        words=("wait_for_what_never_comes", "train.stacks.txt"),
    ),
    Case(
        fault="deadline of the probe",
        gate="venv",
        failure_class=F.BROKEN_VENV,
        status=1,
        words=("no report after 3 s",),
    ),
    Case(
        fault="deaf to SIGTERM, with grandchildren",
        gate="train-300",
        failure_class=F.TIMED_OUT,
        status=1,
        words=("SIGKILL",),
    ),
    Case(
        fault="SIGKILL of pytest over a deaf child with grandchildren",
        gate="train-300",
        failure_class=F.INTERRUPTED,
        status=-9,
        closed_by=RENDER,
    ),
    Case(
        fault="SIGKILL of pytest and both its guardians",
        gate="train-300",
        failure_class=F.INTERRUPTED,
        status=-9,
        closed_by=RENDER,
    ),
)

# Allowed to the user of the run: pytest alone, and what it starts first.
PROCESSES: tuple[Case, ...] = tuple(
    Case(
        fault=f"{number} processes allowed",
        # The hub of a rehearsal is a thread, and begins before its first gate.
        gate="auth" if number > 2 else "",
        failure_class=F.PROCESS_LIMIT,
        # OpenBLAS interrupts a process in which it can start no thread.
        status=2 if number == 1 else 1,
        words=("ulimit -u",),
    )
    for number in (1, 2, 3)
)

DISK: tuple[Case, ...] = (
    Case(fault="disk full before the run", gate="", failure_class=F.DISK_FULL, status=4),
    Case(fault="read-only before the run", gate="", failure_class=F.NOT_WRITABLE, status=4),
    Case(fault="disk full at the records", gate="venv", failure_class=F.DISK_FULL, status=1),
    Case(fault="no inode left at the records", gate="venv", failure_class=F.DISK_FULL, status=1),
    Case(fault="TMPDIR full", gate="venv", failure_class=F.DISK_FULL, status=1),
    Case(fault="disk full at the metrics", gate="train-300", failure_class=F.DISK_FULL, status=1),
    Case(fault="disk full at the model", gate="train-300", failure_class=F.DISK_FULL, status=1),
    # The journal alone cannot tell why it ends; the terminal did.
    Case(
        fault="disk full at the journal",
        gate="venv",
        failure_class=F.INTERRUPTED,
        status=1,
        closed_by=RENDER,
    ),
    # Every promise was kept and sealed: there is nothing that failed.
    Case(
        fault="disk full at the documents",
        gate="closing",
        failure_class=F.HARNESS_ERROR,
        status=1,
        closed_by=RENDER,
        document="fault_summary.md",
    ),
    Case(
        fault="folder takes no names from training on",
        gate="train-300",
        failure_class=F.NOT_WRITABLE,
        status=1,
        closed_by=RENDER,
    ),
)

_AUTH = {"gate": "auth", "status": 1, "quick": True}
_DOWNLOAD = {"gate": "train-300", "status": 1}
HUB: tuple[Case, ...] = (
    Case(fault="no token", failure_class=F.NO_TOKEN, **_AUTH),
    Case(fault="empty token", failure_class=F.NO_TOKEN, **_AUTH),
    Case(fault="token refused", failure_class=F.TOKEN_REFUSED, **_AUTH),
    Case(fault="licence not accepted", failure_class=F.LICENCE_NOT_ACCEPTED, **_AUTH),
    Case(
        fault="fine-grained token without gated access",
        failure_class=F.TOKEN_WITHOUT_GATED_ACCESS,
        **_AUTH,
    ),
    Case(fault="unknown repository", failure_class=F.WRONG_REVISION, **_AUTH),
    Case(fault="unknown revision", failure_class=F.WRONG_REVISION, **_AUTH),
    Case(fault="missing file", failure_class=F.FILES_MISSING, **_AUTH),
    Case(fault="429", failure_class=F.RATE_LIMITED, **_AUTH),
    Case(fault="500", failure_class=F.HUB_ERROR, **_AUTH),
    Case(fault="port closed", failure_class=F.HUB_UNREACHABLE, **_AUTH),
    Case(fault="no route at all", failure_class=F.HUB_UNREACHABLE, **_AUTH),
    Case(
        fault="offline mode set",
        failure_class=F.OFFLINE_MODE,
        words=("HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE was set",),
        **_AUTH,
    ),
    Case(fault="answers slower than the limit", failure_class=F.HUB_UNREACHABLE, **_AUTH),
    Case(fault="429 at a file", failure_class=F.RATE_LIMITED, **_DOWNLOAD),
    Case(fault="500 at a file", failure_class=F.HUB_ERROR, **_DOWNLOAD),
    Case(fault="connection cut in a file", failure_class=F.CONNECTION_LOST, **_DOWNLOAD),
    Case(
        fault="digest does not match",
        failure_class=F.DOWNLOAD_CORRUPT,
        **(_DOWNLOAD | {"quick": True}),
    ),
    Case(fault="slow answers at a file", failure_class=F.HUB_UNREACHABLE, **_DOWNLOAD),
)

EVERY: tuple[Case, ...] = (*SIGNALS, *CHILD, *PROCESSES, *DISK, *HUB)

# What has no gate that it strikes, and no failure of its own.
NO_FAULT = "no fault at all"
REAL_CUT, PRETENDED_CUT = "power cut of a real run", "power cut of a pretended run"
CLOCK = "clock set back by an hour"


def twins(names: tuple[str, str]) -> str:
    """Name the case of two production runs at once."""
    return f"two production runs at once, named {' and '.join(names)}"


TWINS = (("m43_v1", "m43_v1"), ("m43_v1", "m43_v2"))
NAMES: tuple[str, ...] = (
    NO_FAULT,
    *(case.id for case in EVERY),
    *(twins(names) for names in TWINS),
    CLOCK,
    PRETENDED_CUT,
    REAL_CUT,
)
"""Every case by its name: what the record must hold in the end."""

_LONG = {REAL_CUT, *(case.id for case in EVERY if not case.quick)}
QUICK_NAMES: tuple[str, ...] = tuple(name for name in NAMES if name not in _LONG)
"""What CI has time for, and the rights."""


def enter(case: Case, remains: Remains) -> None:
    """Hold what a fault left against its case, and take it into the record.

    Raises: AssertionError, when it is something else.
    """
    assert remains.documents == (case.document,)
    if case.document == "failure_analysis.md":
        assert remains.failure_class == case.failure_class, remains.text
        assert remains.gate == case.gate
    assert remains.status == case.status
    assert remains.closed_by == case.closed_by
    for words in case.words:
        assert words in remains.text
    record.add(row(case.id, remains))


def row(name: str, remains: Remains) -> Row:
    """Make the line of a case from what it left."""
    accepted = remains.documents == ("fault_summary.md",)
    return Row(
        case=name,
        exit=str(remains.status),
        failure_class="none: accepted" if accepted else remains.failure_class,
        document=", ".join(remains.documents),
        journal=f"{remains.journal_lines} lines; ends {remains.journal_end}",
        closed_by=remains.closed_by,
        orphans=str(remains.orphans),
        half_files=f"0 under a name; {remains.unfinished} without, removed by who closed it",
    )
