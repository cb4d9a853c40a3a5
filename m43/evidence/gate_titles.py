"""The gates' titles: what each of them is about, as a person is told."""

from m43.evidence.promise import CLOSING
from m43.records import GATES

TITLES: dict[str, str] = {
    "auth": "this token can read these bytes",
    "venv": "the environment as it is, on the promised device",
    "train-300": "the training that was promised, whole",
    "eval": "every row, both models, scored",
    CLOSING: "nothing else was touched",
}


def gate_title(stage: str) -> str:
    """Write the heading of a gate, or of the measurement after the last one.

    Example:
        >>> gate_title("auth")
        'Gate 1 of 4: auth - this token can read these bytes'
    """
    if stage not in GATES:
        return f"After the gates: {stage} - {TITLES[stage]}"
    return f"Gate {GATES.index(stage) + 1} of {len(GATES)}: {stage} - {TITLES[stage]}"
