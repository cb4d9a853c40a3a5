"""The gates of a run: their order, their titles, and which promises belong to each."""

from typing import Literal

GateName = Literal["auth", "venv", "train-300", "eval"]
GATES: tuple[GateName, ...] = ("auth", "venv", "train-300", "eval")


CLOSING = "closing"

# A promise belongs to the gate that its name begins with; the order here is the order of the run.
PREFIXES: dict[str, str] = {
    "test_auth_": "auth",
    "test_venv_": "venv",
    "test_train_": "train-300",
    "test_eval_": "eval",
    "test_closing_": CLOSING,
}


def gate_of(name: str) -> str | None:
    """Give the gate that a promise's name names; None when it names none."""
    return next((gate for prefix, gate in PREFIXES.items() if name.startswith(prefix)), None)


# The gates of the grammar, in order; "closing" is the measurement after the last gate.
STAGES: tuple[str, ...] = (*GATES, CLOSING)


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
