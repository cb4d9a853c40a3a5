"""The checks of the model: whether it is the one of the contract, as far as it is known yet."""

from collections.abc import Mapping

from m43.errors import FailureClass
from m43.evidence.contract.check import Check
from m43.records import AuthRecord, Contract, PlanRecord

_SERVED = (
    "look whether HF_ENDPOINT is meant: this hub serves another model under the name; for another "
    "model write a profile of its own"
)
_PINNED = "a hub tells the SHA-256 of large files only: promise that of a small file nowhere"


MODEL_DESCRIBED = "config.json describes the promised model"


def hub_model_checks(
    record: AuthRecord, contract: Contract, before: Check | None = None
) -> tuple[Check, ...]:
    """Hold the files that the hub describes against the contract, before a byte of them moves.

    Args:
        record: what the hub said.
        contract: what the model is.
        before: the check that failed first, after which these say nothing of their own.
    """
    told = {file.name: f"{file.digest_kind} {file.digest}" for file in record.files}
    promised = {name: f"sha256 {digest}" for name, digest in contract.file_sha256.items()}
    digests = {name: told.get(name, "nothing") for name in promised}
    small = any(digest.startswith("git-sha1") for digest in digests.values())
    failure_class = before.failure_class if before else FailureClass.WRONG_MODEL
    return (
        Check(
            name="the weights have the promised sizes",
            found=_sizes(record.weight_sizes),
            expected=_sizes(contract.file_bytes),
            holds=record.weight_sizes == contract.file_bytes,
            action=before.action if before else _SERVED,
            failure_class=failure_class,
            checked=before is None,
        ),
        Check(
            name="the files have the promised digests",
            found=_listed(digests) or "none is promised",
            expected=_listed(promised) or "none is promised",
            holds=digests == promised,
            action=before.action if before else _PINNED if small else _SERVED,
            failure_class=failure_class,
            checked=before is None,
        ),
    )


def plan_model_check(record: PlanRecord, contract: Contract) -> Check:
    """Hold the model that config.json describes against the contract, kind, size and key by key."""
    told, promised = record.config_values, contract.config
    other = [key for key, value in promised.items() if told.get(key) != value]
    found = model_words(record.architecture, record.parameters)
    expected = model_words(contract.architecture, contract.parameters)
    found += "".join(f", {key} {told.get(key, 'nothing')}" for key in other)
    expected += "".join(f", {key} {promised[key]}" for key in other)
    return Check(
        name=MODEL_DESCRIBED,
        found=found,
        expected=expected,
        holds=found == expected,
        action=_SERVED,
        failure_class=FailureClass.WRONG_MODEL,
    )


def model_words(architecture: str, parameters: int) -> str:
    """Name a model by what it is."""
    return f"{architecture or 'no architecture'}, {parameters:,} parameters"


def promised_words(contract: Contract, files: int) -> str:
    """Say what the contract promises about the model, of so many pinned files."""
    model = model_words(contract.architecture, contract.parameters)
    sizes = f"sizes of {len(contract.file_bytes)} files of weights"
    return f"{model}, {sizes}, SHA-256 of {len(contract.file_sha256)} of {files} files"


def _sizes(sizes: Mapping[str, int]) -> str:
    return _listed({name: f"{size:,} bytes" for name, size in sizes.items()}) or "no weights"


def _listed(words: Mapping[str, str]) -> str:
    return "; ".join(f"{name}: {words[name]}" for name in sorted(words))
