"""The audit of the weights: whether they are those that training began with and ended with."""

from collections.abc import Iterator

from m43.errors import Problem
from m43.evidence.digests import file_sha256, weights_digest, weights_sha256
from m43.evidence.dossier import Dossier
from m43.names import is_weight_file
from m43.run_dir import RunDir


def audit_weights(run: RunDir, dossier: Dossier) -> Iterator[Problem]:
    """Digest the saved model again, and take the base model's digest from the pinned files."""
    train = dossier.train
    if train is None:
        return
    found = weights_sha256(run.model)
    # Weights that are not there are the manifest's concern.
    if found and found != train.model_sha256:
        expected = f"{train.model_sha256}, as in train.json"
        action = "do not rely on this folder: the model was swapped after training"
        yield _problem(f"weights with SHA-256 {found}", expected, "model", action)
    config = run.model / "config.json"
    if config.is_file() and file_sha256(config) != train.repo_config_sha256:
        expected = f"{train.repo_config_sha256}, which training read (train.json)"
        action = "do not rely on this folder: the model's description was changed"
        yield _problem(f"SHA-256 {file_sha256(config)}", expected, "model/config.json", action)
    pinned = {
        file.name: file.digest
        for file in train.download.files
        if is_weight_file(file.name) and file.digest_kind == "sha256"
    }
    # Small weights are pinned by their git blob, from which no SHA-256 follows.
    if pinned and len(pinned) == sum(is_weight_file(f.name) for f in train.download.files):
        expected = weights_digest(pinned)
        if train.base_weights_sha256 != expected:
            action = "do not rely on this folder: training began from other weights than it says"
            yield _problem(
                f"base weights with SHA-256 {train.base_weights_sha256}",
                f"{expected}, which follows from download.json",
                "train.json, base_weights_sha256",
                action,
            )


def _problem(found: str, expected: str, where: str, action: str) -> Problem:
    return Problem(found=found, expected=expected, where=where, action=action)
