"""The rehearsal world: complete while it lasts, gone afterwards."""

import json
import re
from functools import partial
from pathlib import Path

import pytest
from huggingface_hub import HfApi, hf_hub_download
from huggingface_hub.errors import GatedRepoError

from m43.rehearsal.toy_gemma import REPO, REVISION
from m43.rehearsal.world import RehearsalWorld, new_token
from tools.faulty_hub import Fault, FaultKind, FaultyHub


def test_the_world_serves_the_pinned_toy() -> None:
    """The token opens the hub, and the hub has the toy at the revision that is pinned."""
    with RehearsalWorld() as world:
        info = HfApi(endpoint=world.endpoint, token=world.token).model_info(REPO)
        path = hf_hub_download(
            world.repo,
            "config.json",
            revision=world.revision,
            endpoint=world.endpoint,
            token=world.token,
            cache_dir=world.cache_dir,
        )
        config = json.loads(Path(path).read_text())
        assert Path(path).is_relative_to(world.cache_dir)
    assert info.sha == world.revision == REVISION
    assert config["model_type"] == "gemma"


def test_the_world_is_gone_afterwards() -> None:
    """Neither files nor a listening hub are left."""
    with RehearsalWorld() as world:
        assert (world.model_folder / "model.safetensors").is_file()
    assert not world.model_folder.parent.exists()
    with pytest.raises(Exception, match=r"refused|closed"):
        HfApi(endpoint=world.endpoint, token=world.token).whoami()


def test_the_world_is_gone_after_an_error() -> None:
    """A rehearsal that breaks off leaves nothing behind either."""
    with pytest.raises(ZeroDivisionError), RehearsalWorld() as world:
        _ = 1 / 0
    assert not world.model_folder.parent.exists()


def test_a_world_that_cannot_be_made_leaves_no_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What was opened before the failure is closed again."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("m43.rehearsal.toy_gemma.TOKENIZER", tmp_path / "absent.json")
    with pytest.raises(FileNotFoundError), RehearsalWorld():
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_world_can_have_a_fault() -> None:
    """The gates are tried against a hub that refuses, with the same toy behind it."""
    fault = Fault(kind=FaultKind.LICENCE_NOT_ACCEPTED)
    with (
        RehearsalWorld(make_hub=partial(FaultyHub, fault=fault)) as world,
        pytest.raises(GatedRepoError),
    ):
        HfApi(endpoint=world.endpoint, token=world.token).auth_check(world.repo)


def test_every_token_is_new_and_has_the_right_form() -> None:
    """Two worlds never share a token, and searches for tokens find it wherever it leaks."""
    tokens = {new_token() for _ in range(100)}
    assert len(tokens) == 100
    assert all(re.fullmatch(r"hf_[a-zA-Z]{34}", token) for token in tokens)
