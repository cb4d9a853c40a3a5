"""The table of gates: their order, what each asks, and what belongs to it.

Which files a gate leaves stands in the table of files (`RunDir.records`).
"""

from dataclasses import dataclass

CLOSING = "closing"


@dataclass(frozen=True, kw_only=True)
class Gate:
    """A gate, or the measurement after the last one.

    Attributes:
        name: In the journal and in every document.
        title: What its heading says of it.
        question: What it asks, in the words of somebody who has never seen a gate.
        prefix: Of the names of its promises.
        record: The name by which the contract asks for what it measured.
        children: The child processes that leave records of their own, in their order.
        job: What `python -m m43.training` calls the last of them; empty where it is none of its.
        unit: What its progress is counted in; empty where it is not counted.
        first_words: What the terminal shows until there is a sign of work.
    """

    name: str
    title: str
    question: str
    prefix: str
    record: str
    first_words: str
    children: tuple[str, ...] = ()
    job: str = ""
    unit: str = ""


TABLE: tuple[Gate, ...] = (
    Gate(
        name="auth",
        title="this token can read these bytes",
        question="May this token read exactly the pinned files?",
        prefix="test_auth_",
        record="auth",
        first_words="asking the hub, four times at most",
    ),
    Gate(
        name="venv",
        title="the environment as it is, on the promised device",
        question="Is this the machine and the software that were promised?",
        prefix="test_venv_",
        record="venv",
        first_words="a child looks at the packages, the device and its numbers",
    ),
    Gate(
        name="train-300",
        title="the training that was promised, whole",
        question="Did the promised training really happen, step by step?",
        prefix="test_train_",
        record="train",
        first_words="preparing",
        children=("download", "train"),
        job="train",
        unit="step",
    ),
    Gate(
        name="eval",
        title="every row, both models, scored",
        question="Were all questions put to both models, and scored?",
        prefix="test_eval_",
        record="evaluation",
        first_words="preparing",
        children=("eval",),
        job="evaluate",
        unit="row",
    ),
    Gate(
        name=CLOSING,
        title="nothing else was touched",
        question="Was nothing else touched?",
        prefix="test_closing_",
        record="closing",
        first_words="looking at the environment and the working tree again",
    ),
)

# In the order of the run; the measurement after the last gate is no gate, and comes last.
STAGES: tuple[str, ...] = tuple(gate.name for gate in TABLE)
GATES: tuple[str, ...] = STAGES[:-1]
_BY_NAME = {gate.name: gate for gate in TABLE}


def gate_named(name: str) -> Gate:
    """Return the row of a gate."""
    return _BY_NAME[name]


def gate_of(promise: str) -> str | None:
    """Return the gate that a promise's name names; None when it names none."""
    return next((each.name for each in TABLE if promise.startswith(each.prefix)), None)


def gate_of_child(child: str) -> Gate:
    """Return the gate that a child process belongs to."""
    return next(each for each in TABLE if child in each.children)


def gate_title(name: str) -> str:
    """Write the heading of a gate, or of the measurement after the last one.

    Example:
        >>> gate_title("auth")
        'Gate 1 of 4: auth - this token can read these bytes'
    """
    title = gate_named(name).title
    if name not in GATES:
        return f"After the gates: {name} - {title}"
    return f"Gate {GATES.index(name) + 1} of {len(GATES)}: {name} - {title}"
