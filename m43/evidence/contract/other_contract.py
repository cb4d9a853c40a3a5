"""Another contract: in what the model of a run differs from the one of the locked decisions."""

from collections.abc import Sequence

from m43.text import clipped

_OF_THE_MODEL = (
    "contract.repo:",
    "contract.revision:",
    "contract.architecture:",
    "contract.parameters:",
    "contract.file_bytes.",
    "contract.file_sha256.",
    "hub.files:",
)
_LONGEST = 200


def model_differences(differences: Sequence[str]) -> tuple[str, ...]:
    """Pick the differences from the locked decisions by which the model is another one.

    A digest that the locked decisions do not know asks more of the same model.
    """
    return tuple(
        line
        for line in differences
        if line.startswith(_OF_THE_MODEL)
        and not (line.startswith("contract.file_sha256.") and line.endswith(" instead of None"))
    )


def other_contract_words(differences: Sequence[str]) -> str:
    """Name the other model in one line; empty when it is the one of the locked decisions."""
    lines = [clipped(line, _LONGEST) for line in model_differences(differences)]
    return f"another contract: {'; '.join(lines)}" if lines else ""
