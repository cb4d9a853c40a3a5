"""The rehearsal world: a toy Gemma, a hub that serves it and a token that opens it, for one run."""

import secrets
import string
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Self

from m43.rehearsal.hub import LoopbackHub
from m43.rehearsal.reply import ServedRepository
from m43.rehearsal.toy_gemma import REPO, revision_of, write_toy_gemma

# What a user access token of the hub looks like.
TOKEN_PREFIX = "hf_"
TOKEN_LETTERS = 34


class RehearsalWorld:
    """Everything outside this machine that a run talks to; all of it is gone afterwards.

    The revision is computed from the files that are served, not copied from a profile: a toy that
    differs from the pinned one is refused by the same promise that guards the real model.

    Attributes:
        repo: the name of the toy Gemma at the hub.
        revision: the only commit that the hub knows.
        token: the only token that the hub accepts.
        model_folder: the toy's files, as they are served.
        cache_dir: a place for a Hugging Face cache, empty at first.
        hub: the hub itself, which knows every request that it answered.

    Example:
        with RehearsalWorld() as world:
            HfApi(endpoint=world.endpoint, token=world.token).auth_check(world.repo)
    """

    def __init__(self, *, make_hub: Callable[..., LoopbackHub] = LoopbackHub) -> None:
        self.repo = REPO
        self.token = new_token()
        self._make_hub = make_hub
        self._open = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as opening:
            folder = Path(opening.enter_context(TemporaryDirectory(prefix="m43-rehearsal-")))
            self.model_folder = folder / "model"
            self.cache_dir = folder / "cache"
            write_toy_gemma(self.model_folder)
            self.revision = revision_of(self.model_folder)
            repository = ServedRepository.from_folder(
                self.model_folder, name=self.repo, revision=self.revision
            )
            hub = self._make_hub(repository=repository, token=self.token)
            self.hub = opening.enter_context(hub)
            # Reached only when nothing failed; otherwise all of it is taken down again here.
            self._open = opening.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    @property
    def endpoint(self) -> str:
        """The hub's address."""
        return self.hub.endpoint


def new_token() -> str:
    """Draw a token of the right form that no real hub has ever issued."""
    letters = (secrets.choice(string.ascii_letters) for _ in range(TOKEN_LETTERS))
    return TOKEN_PREFIX + "".join(letters)
