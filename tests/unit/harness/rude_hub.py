"""A hub that answers some questions with whatever a test gives it."""

import json
from dataclasses import dataclass
from pathlib import Path

from hypothesis import strategies as st

from m43.evidence.journal.secrets import forms
from m43.records.profile import Contract
from m43.rehearsal.hub import LoopbackHub
from m43.rehearsal.reply import Reply, Request, ServedRepository
from tests.unit.harness.conftest import REPO, REVISION, TOKEN

QUESTIONS = ("whoami", "auth-check", "/revision/", "/resolve/")
MARKUP = (
    "</pre></script><script>alert(1)</script><img src=x onerror=alert(1)> ]]> --> "
    "[link](javascript:alert(1)) ![image](http://x/y.png) | a | `code` **bold**\n# heading\n"
)
STEERING = "\x1b]0;owned\x07\x1b[31mred\x1b[0m \x9b2J \u202eright-to-left \u200b\ud800"
LONG = "a<b" * 33_334


@dataclass(frozen=True, kw_only=True)
class Rudeness:
    """What is answered, and to which question."""

    question: str
    status: int
    headers: dict[str, str]
    body: bytes


class RudeHub(LoopbackHub):
    """A loopback hub that is rude about one question, and honest about the others."""

    def __init__(self, repository: ServedRepository, rudeness: Rudeness) -> None:
        super().__init__(repository=repository, token=TOKEN)
        self._rudeness = rudeness

    def reply(self, request: Request) -> Reply:
        """Say it."""
        rude = self._rudeness
        if rude.question in request.target:
            return Reply(status=rude.status, headers=rude.headers, body=rude.body)
        return super().reply(request)


def served(folder: Path, contract: Contract) -> ServedRepository:
    """Make the repository behind such a hub, the one that a contract names."""
    return ServedRepository.from_folder(folder, name=contract.repo, revision=contract.revision)


def header(text: str) -> str:
    """Give a text as a server writes it into a header, whatever it is."""
    data = text.encode(errors="surrogatepass").decode("latin-1")
    return data.translate({ord(sign): " " for sign in "\r\n\0"})


words = st.one_of(
    st.sampled_from((MARKUP, STEERING, LONG, "", *(f"said {form}." for form in forms(TOKEN)))),
    st.text(max_size=20),
)
junk = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), words),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(words, inner, max_size=2),
    max_leaves=4,
)


def _revision(sha: object, names: list[object], size: object, digest: object) -> dict[str, object]:
    lfs = {"sha256": digest, "size": size, "pointerSize": 1}
    siblings = [{"rfilename": name, "size": size, "blobId": digest, "lfs": lfs} for name in names]
    return {"id": REPO, "sha": sha, "siblings": siblings}


names = st.sampled_from(("config.json", "model.safetensors", "../../etc/passwd"))
answers = st.one_of(
    words.map(lambda text: {"error": text}),
    st.fixed_dictionaries({"name": words, "fullname": words}),
    st.builds(_revision, junk | st.just(REVISION), st.lists(names | words, max_size=3), junk, junk),
    junk,
)
bodies = st.one_of(
    # json.dumps writes lone surrogates as the escapes that they are.
    answers.map(lambda value: json.dumps(value).encode()),
    words.map(lambda text: text.encode(errors="surrogatepass")),
    st.binary(max_size=20),
)
rudenesses = st.builds(
    Rudeness,
    question=st.sampled_from(QUESTIONS),
    status=st.sampled_from((200, 200, 301, 307, 400, 401, 403, 404, 418, 429, 500, 503)),
    headers=st.fixed_dictionaries(
        {"Content-Type": st.sampled_from(("application/json", "text/html; charset=latin-1"))},
        optional={
            "X-Error-Message": words.map(header),
            "X-Error-Code": words.map(header),
            "X-Request-Id": words.map(header),
            "X-Repo-Commit": words.map(header),
            "ETag": words.map(header),
            "Location": st.sampled_from(
                (f"/x?token={TOKEN}", f"http://user:{TOKEN}@127.0.0.1:9/", "javascript:alert(1)")
            )
            | words.map(header),
        },
    ),
    body=bodies,
)
