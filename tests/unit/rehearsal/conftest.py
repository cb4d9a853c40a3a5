"""A small repository, a hub for it, and clients of the real library."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from huggingface_hub import HfApi

from m43.rehearsal.hub import LoopbackHub
from m43.rehearsal.reply import ServedRepository
from tools.faulty_hub import NO_FAULT, Fault, FaultyHub

REPO = "m43/toy"
REVISION = "0123456789abcdef0123456789abcdef01234567"
TOKEN = "hf_" + "NoHubHasEverIssuedThisTokenOfTests"
WEIGHTS = "model.safetensors"
WEIGHT_BYTES = bytes(range(256)) * 1200

StartHub = Callable[..., LoopbackHub]


@pytest.fixture(autouse=True)
def _no_hub_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the person at this machine has set for the real hub must not reach these tests."""
    for name in [name for name in os.environ if name.startswith(("HF_", "HUGGING_FACE_"))]:
        monkeypatch.delenv(name)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Make a folder with one small file, one large one and one in a subfolder."""
    model = tmp_path / "model"
    (model / "assets").mkdir(parents=True)
    (model / "config.json").write_text('{"model_type": "gemma"}\n')
    (model / WEIGHTS).write_bytes(WEIGHT_BYTES)
    (model / "assets" / "a picture.txt").write_text("no picture")
    return model


@pytest.fixture
def repository(folder: Path) -> ServedRepository:
    """Describe that folder as a repository."""
    return ServedRepository.from_folder(folder, name=REPO, revision=REVISION)


@pytest.fixture
def start_hub(repository: ServedRepository) -> Iterator[StartHub]:
    """Start hubs that end with the test."""
    hubs: list[LoopbackHub] = []

    def start(fault: Fault = NO_FAULT) -> LoopbackHub:
        hub = FaultyHub(repository=repository, token=TOKEN, fault=fault)
        hub.__enter__()
        hubs.append(hub)
        return hub

    yield start
    for hub in hubs:
        hub.__exit__()


def client(hub: LoopbackHub, token: str | bool = TOKEN) -> HfApi:
    """Make the real client, pointed at a hub of ours."""
    return HfApi(endpoint=hub.endpoint, token=token)
