"""The questions to the hub, in the child: at most four requests, and no weights."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

from huggingface_hub import HfApi, get_hf_file_metadata, hf_hub_url

from m43.evidence.contract import cause_names
from m43.harness.gates.hub_client import Others, hub_client, way_of
from m43.harness.gates.hub_exchange import Asked, Asking, HubRequest, failure_words, said
from m43.records import HubResponse, HubStep, HubWay, PinnedFile

TIMEOUT_S = 15.0
_LONGEST_NAME = 100
_DIGEST = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
# Statuses after which another question would be pointless.
_NOBODY, _ENOUGH = 0, 429

T = TypeVar("T")


class RedirectedError(Exception):
    """A hub that sends a question elsewhere: who answers there is not who was asked."""


def ask(
    request: HubRequest,
    token: str,
    *,
    tell: Callable[[Asked], None] = lambda asked: None,
    secrets: Sequence[str] = (),
) -> Asked:
    """Ask who the token is, what it may read, which files the revision has, where weights lie.

    Args:
        request: The hub, the repository, the revision and its files.
        token: Sent with each question, and found in nothing that is returned.
        tell: Is given what is known, before and after each step.
        secrets: What else may be found in nothing that is returned.
    """
    ladder = _Ladder(request=request, token=token, secrets=(token, *secrets), tell=tell)
    with hub_client(
        timeout_s=TIMEOUT_S, on_request=ladder.see_request, on_response=ladder.see_response
    ):
        ladder.climb()
    ladder.step = ""
    return ladder.asked


@dataclass(kw_only=True)
class _Ladder:
    """The four steps, and what they brought."""

    request: HubRequest
    token: str = field(repr=False)
    secrets: tuple[str, ...] = field(repr=False)
    tell: Callable[[Asked], None]
    responses: list[HubResponse] = field(default_factory=list)
    account: str = ""
    revision: str = ""
    files: tuple[PinnedFile, ...] = ()
    weight_bytes: int = 0
    way: HubWay = field(default_factory=HubWay)
    step: Asking = ""
    sent: bool = False
    # The answers to the step that is being made, and the requests that belong to none.
    seen: list[Any] = field(default_factory=list)
    others: Others = field(init=False)

    def __post_init__(self) -> None:
        self.others = Others(self.secrets)

    @property
    def asked(self) -> Asked:
        """What is known now."""
        return Asked(
            asking=self.step,
            sent=self.sent,
            responses=tuple(self.responses),
            unasked=self.others.requests,
            account=self.account,
            revision=self.revision,
            files=self.files,
            weight_bytes=self.weight_bytes,
            way=self.way,
        )

    def see_request(self, request: Any) -> None:
        """Note a request that is none of the steps'; it is the client's own."""
        if self._is_mine(request):
            self.sent = True
            self.tell(self.asked)
        else:
            self.others.sent(request)

    def see_response(self, response: Any) -> None:
        """Book an answer to the step whose method and address it has.

        Raises: RedirectedError, but for the weights: those lie in a storage of another name, and
        the client only reads where. A redirect within the hub would be a fifth request.
        """
        if not self._is_mine(response.request):
            self.others.answered(response)
            return
        self.seen.append(response)
        self.way = self.way if self.way.address else way_of(response, self.secrets)
        target = str(response.headers.get("location", ""))
        stored = self.step == "weights_head" and _names_a_host(target)
        if 300 <= int(response.status_code) < 400 and not stored:
            raise RedirectedError(f"the hub sends on to {target or 'nowhere'}; not followed")

    def climb(self) -> None:
        """Ask until an answer makes the next question pointless; a refusal by one gate does not."""
        api = HfApi(endpoint=self.request.endpoint, token=self.token)
        repo, revision = self.request.repo, self.request.revision
        who = self.ask("whoami", lambda: _table(api.whoami()))
        self.account = self._said(who.get("name", ""), _LONGEST_NAME) if who else ""
        # A token that is refused, a hub that does not answer or has enough of us: stop here.
        if self.responses[-1].status in (_NOBODY, 401, 403, _ENOUGH):
            return
        self.ask("auth_check", lambda: api.auth_check(repo))
        if self.responses[-1].status in (_NOBODY, _ENOUGH):
            return
        info = self.ask(
            "revision",
            lambda: api.model_info(repo, revision=revision, files_metadata=True, timeout=TIMEOUT_S),
        )
        if info is not None:
            self.revision = self._said(info.sha or "", _LONGEST_NAME)
            self.files = tuple(
                pinned for sibling in info.siblings or () if (pinned := pin(sibling)) is not None
            )
        if self.responses[-1].status in (_NOBODY, _ENOUGH):
            return
        self.ask("weights_head", self._head)

    def _head(self) -> object:
        # retry_on_errors=False is the library's default; it is what keeps this one request.
        return get_hf_file_metadata(
            self._weights_url(),
            token=self.token,
            timeout=TIMEOUT_S,
            endpoint=self.request.endpoint,
        )

    def _weights_url(self) -> str:
        wanted = self.request
        name = next(name for name in wanted.names if name.endswith(".safetensors"))
        return hf_hub_url(wanted.repo, name, revision=wanted.revision, endpoint=wanted.endpoint)

    def ask(self, step: HubStep, question: Callable[[], T]) -> T | None:
        """Make one step, and record what came of it whatever that is."""
        self.seen.clear()
        self.sent = False
        self.step = step
        self.tell(self.asked)
        answer: T | None = None
        error, causes = "", tuple[str, ...]()
        try:
            answer = question()
        except Exception as problem:  # noqa: BLE001 (a hub may answer with anything at all)
            error, causes = self._text(problem), cause_names(problem)
        status = int(self.seen[-1].status_code) if self.seen else _NOBODY
        if step == "weights_head":
            self.weight_bytes = sum(response.num_bytes_downloaded for response in self.seen)
        # What a client asked once more by itself is a request too, and four is the limit.
        self.responses += [
            HubResponse(step=step, status=int(response.status_code), error="asked again")
            for response in self.seen[:-1]
        ]
        self.responses.append(
            HubResponse(step=step, status=status, error=error, causes=causes, sent=self.sent)
        )
        return answer

    def _is_mine(self, request: Any) -> bool:
        method, address = self._address()
        asked = urlsplit(str(request.url))
        mine = urlsplit(address)
        return (
            request.method == method
            and asked.netloc == mine.netloc
            and unquote(asked.path) == unquote(mine.path)
        )

    def _address(self) -> tuple[str, str]:
        wanted = self.request
        model = f"{wanted.endpoint}/api/models/{wanted.repo}"
        addresses = {
            "whoami": ("GET", f"{wanted.endpoint}/api/whoami-v2"),
            "auth_check": ("GET", f"{model}/auth-check"),
            "revision": ("GET", f"{model}/revision/{wanted.revision}"),
        }
        return addresses.get(self.step) or ("HEAD", self._weights_url())

    def _text(self, problem: Exception) -> str:
        return failure_words(problem, self.secrets)

    def _said(self, words: object, most: int) -> str:
        return said(words, most, self.secrets)


def _names_a_host(address: str) -> bool:
    try:
        return bool(urlsplit(address).netloc)
    except ValueError:
        return False


def _table(answer: Any) -> dict[str, Any]:
    if not isinstance(answer, dict):
        raise NotATableError(f"found {type(answer).__name__} as the answer, expected a table")
    return answer


class NotATableError(Exception):
    """JSON of another form than the hub's."""


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
