"""The auth gate: what the hub says to this token, in at most four requests and no weights."""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar
from urllib.parse import urlsplit

from m43.evidence.secrets import redact
from m43.harness.hub_session import default_endpoint, hub_session
from m43.harness.hub_token import ACCEPTED_SOURCE, flaw
from m43.harness.world import World
from m43.plain_text import visible
from m43.profile import Profile
from m43.records import AuthRecord, HubResponse, PinnedFile

TIMEOUT_S = 15.0
_LONGEST_ERROR = 600
_LONGEST_NAME = 100
_DIGEST = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")

Step = Literal["whoami", "auth_check", "revision", "weights_head"]
T = TypeVar("T")


def measure(world: World, profile: Profile) -> AuthRecord:
    """Ask the hub, and record every answer.

    Without a token in HF_TOKEN nothing is asked: another token may be anybody's. Nor with one
    that no request can carry.
    """
    begun = time.monotonic()
    if world.token.source != ACCEPTED_SOURCE or flaw(world.token):
        return _record(world, profile, _Ladder(world=world, profile=profile), begun)
    ladder = _Ladder(world=world, profile=profile, endpoint=world.endpoint or default_endpoint())
    with hub_session(ladder.endpoint, timeout_s=TIMEOUT_S, on_response=ladder.see):
        ladder.climb()
    return _record(world, profile, ladder, begun)


def _record(world: World, profile: Profile, ladder: "_Ladder", begun: float) -> AuthRecord:
    files = {file.name: file for file in ladder.files}
    asked = any(response.step == "revision" for response in ladder.responses)
    wanted = profile.hub.files
    return AuthRecord(
        token_source=world.token.source,
        endpoint=redact(ladder.endpoint or world.endpoint or profile.hub.endpoint, world.secrets),
        account=ladder.account,
        repo=profile.contract.repo,
        revision=ladder.revision,
        responses=tuple(ladder.responses),
        files=tuple(files[name] for name in wanted if name in files),
        missing_files=tuple(name for name in wanted if name not in files) if asked else (),
        weight_bytes=ladder.weight_bytes,
        hub_variables=world.hub_variables,
        duration_s=time.monotonic() - begun,
        token_flaw=flaw(world.token) if world.token.source == ACCEPTED_SOURCE else "",
    )


class RedirectedError(Exception):
    """A hub that sends a question elsewhere: who answers there is not who was asked."""


@dataclass(kw_only=True)
class _Ladder:
    """The four steps, and what they brought."""

    world: World
    profile: Profile
    endpoint: str = ""
    responses: list[HubResponse] = field(default_factory=list)
    account: str = ""
    revision: str = ""
    files: tuple[PinnedFile, ...] = ()
    weight_bytes: int = 0
    # The answers of the step that is being made.
    seen: list[Any] = field(default_factory=list)
    step: Step = "whoami"

    def see(self, response: Any) -> None:
        """Take an answer before the client does, which would follow wherever it leads.

        Raises: RedirectedError, but for the weights: those lie in a storage of another name, and
        the client only reads where. A redirect within the hub would be a fifth request.
        """
        self.seen.append(response)
        target = str(response.headers.get("location", ""))
        stored = self.step == "weights_head" and _names_a_host(target)
        if 300 <= int(response.status_code) < 400 and not stored:
            raise RedirectedError(f"the hub sends on to {target or 'nowhere'}; not followed")

    def climb(self) -> None:
        """Ask until an answer makes the next question pointless; a refusal by one gate does not."""
        from huggingface_hub import HfApi

        api = HfApi(endpoint=self.endpoint, token=self.world.token.value)
        contract = self.profile.contract
        who = self.ask("whoami", lambda: _table(api.whoami()))
        self.account = self._told(who.get("name", ""), _LONGEST_NAME) if who else ""
        # A token that is refused, a hub that does not answer or has enough of us: stop here.
        if self.responses[-1].status in (0, 401, 403, 429):
            return
        self.ask("auth_check", lambda: api.auth_check(contract.repo))
        if self.responses[-1].status in (0, 429):
            return
        info = self.ask(
            "revision",
            lambda: api.model_info(
                contract.repo, revision=contract.revision, files_metadata=True, timeout=TIMEOUT_S
            ),
        )
        if info is not None:
            self.revision = self._told(info.sha or "", _LONGEST_NAME)
            self.files = tuple(
                pinned for sibling in info.siblings or () if (pinned := pin(sibling)) is not None
            )
        if self.responses[-1].status in (0, 429):
            return
        self.ask("weights_head", self._head)

    def _head(self) -> object:
        from huggingface_hub import get_hf_file_metadata, hf_hub_url

        contract = self.profile.contract
        name = next(name for name in self.profile.hub.files if name.endswith(".safetensors"))
        url = hf_hub_url(contract.repo, name, revision=contract.revision, endpoint=self.endpoint)
        # retry_on_errors=False is the library's default; it is what keeps this one request.
        return get_hf_file_metadata(
            url, token=self.world.token.value, timeout=TIMEOUT_S, endpoint=self.endpoint
        )

    def ask(self, step: Step, question: Callable[[], T]) -> T | None:
        """Make one step, and record what came of it whatever that is."""
        self.seen.clear()
        self.step = step
        answer, error = None, ""
        try:
            answer = question()
        except Exception as problem:  # noqa: BLE001 (a hub may answer with anything at all)
            error = self._text(problem)
        status = int(self.seen[-1].status_code) if self.seen else 0
        if step == "weights_head":
            self.weight_bytes = sum(response.num_bytes_downloaded for response in self.seen)
        # What a client asked once more by itself is a request too, and four is the limit.
        self.responses += [
            HubResponse(step=step, status=int(response.status_code), error="asked again")
            for response in self.seen[:-1]
        ]
        self.responses.append(HubResponse(step=step, status=status, error=error))
        return answer

    def _text(self, problem: Exception) -> str:
        return self._told(f"{type(problem).__name__}: {problem}", _LONGEST_ERROR)

    def _told(self, words: object, most: int) -> str:
        """Write down what the hub said: on a line, without what steers, and never the token."""
        text = redact(str(words), self.world.secrets)
        return visible(" ".join(text.split()))[:most]


def _names_a_host(address: str) -> bool:
    try:
        return bool(urlsplit(address).netloc)
    except ValueError:
        return False


def _table(answer: Any) -> dict[str, Any]:
    if not isinstance(answer, dict):
        raise TypeError(f"found {type(answer).__name__} as the answer, expected a table")
    return answer


def pin(sibling: Any) -> PinnedFile | None:
    """Describe a file of the revision; None where the hub gives no size or no digest of it."""
    lfs = sibling.lfs
    digest = lfs.sha256 if lfs is not None else sibling.blob_id
    if type(sibling.size) is not int or sibling.size < 0:
        return None
    if not isinstance(digest, str) or _DIGEST.fullmatch(digest) is None:
        return None
    return PinnedFile(
        name=sibling.rfilename,
        size_bytes=sibling.size,
        digest_kind="sha256" if lfs is not None else "git-sha1",
        digest=digest,
    )
