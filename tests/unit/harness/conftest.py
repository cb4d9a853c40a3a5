"""A profile, worlds around a loopback hub, and a copy of the repository with a quick child."""

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from m43.harness.run.hub_access import HubAccess
from m43.records import profile_check
from m43.records.profile import Profile
from m43.rehearsal.hub import LoopbackHub
from m43.rehearsal.reply import ServedRepository
from tests.unit.harness.copied_tree import CopiedTree, copy_tree
from tools.faulty_hub import NO_FAULT, Fault, FaultyHub

REPOSITORY = Path(profile_check.__file__).resolve().parents[2]
REPO = "m43/toy"
REVISION = "0123456789abcdef0123456789abcdef01234567"
TOKEN = "hf_" + "NoHubHasEverIssuedThisTokenOfTests"
FILES = ("config.json", "tokenizer.json", "model.safetensors")
WEIGHT_BYTES = bytes(range(256)) * 1200

StartWorld = Callable[..., tuple[HubAccess, LoopbackHub]]


@pytest.fixture(autouse=True)
def _no_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the person at this machine has set must not reach these tests."""
    for name in list(os.environ):
        if name.startswith(("HF_", "HUGGING_FACE_", "PYTEST_ADDOPTS", "PYTHONOPTIMIZE")):
            monkeypatch.delenv(name)
    # Where the hub's client works in this process, it asks nobody by itself.
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_TELEMETRY", True)


@pytest.fixture
def profile() -> Profile:
    """Give the bundled rehearsal's profile, of a repository with three files."""
    loaded = profile_check.load(REPOSITORY / "acceptance" / "rehearsal.toml")
    return replace(
        loaded,
        contract=replace(
            loaded.contract,
            repo=REPO,
            revision=REVISION,
            file_bytes={"model.safetensors": len(WEIGHT_BYTES)},
            config={},
            file_sha256={"model.safetensors": hashlib.sha256(WEIGHT_BYTES).hexdigest()},
        ),
        hub=replace(loaded.hub, files=FILES),
    )


@pytest.fixture
def model_folder(tmp_path: Path) -> Path:
    """Make the folder that the hub serves."""
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "gemma"}\n')
    (folder / "tokenizer.json").write_text("{}\n")
    (folder / "model.safetensors").write_bytes(WEIGHT_BYTES)
    return folder


@pytest.fixture
def start_world(tmp_path: Path, model_folder: Path) -> Iterator[StartWorld]:
    """Start hubs that end with the test, each with a world around it."""
    served = ServedRepository.from_folder(model_folder, name=REPO, revision=REVISION)
    with ExitStack() as stack:

        def start(fault: Fault = NO_FAULT, token: str = TOKEN) -> tuple[HubAccess, LoopbackHub]:
            hub = stack.enter_context(FaultyHub(repository=served, token=TOKEN, fault=fault))
            environment = {"HF_TOKEN": token, "PATH": os.environ["PATH"], "HOME": str(tmp_path)}
            hub_access = HubAccess(
                environment=environment, endpoint=hub.endpoint, cache_dir=tmp_path / "cache"
            )
            return hub_access, hub

        yield start


@pytest.fixture
def copied_tree(tmp_path: Path) -> CopiedTree:
    """Copy the repository, with a child that pretends to train in a moment."""
    return copy_tree(REPOSITORY, tmp_path / "repository")
