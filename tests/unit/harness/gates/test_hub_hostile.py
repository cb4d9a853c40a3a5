"""A hub that says the worst: a class that a person can act on, no token, nothing that steers."""

import json
import shutil
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import event, given

from m43 import typed_json
from m43.errors import FailureClass, GateStoppedError
from m43.evidence.contract.check import failing
from m43.evidence.contract.checks import auth_checks
from m43.evidence.journal.secrets import holds_secret
from m43.harness.gates.hub_exchange import LONGEST_ERROR
from m43.harness.run.hub_access import HubAccess
from m43.records import profile_check
from m43.records.hub_record import AuthRecord
from m43.records.profile import Profile
from m43.text import visible
from tests.unit.fuzzing import hostile
from tests.unit.harness.conftest import TOKEN
from tests.unit.harness.copied_tree import CopiedTree
from tests.unit.harness.hub_here import asked_here, fetched_here
from tests.unit.harness.rude_hub import (
    LONG,
    MARKUP,
    QUESTIONS,
    STEERING,
    RudeHub,
    Rudeness,
    header,
    rudenesses,
    served,
)
from tests.unit.harness.test_runs import the_run
from tests.unit.harness.test_runs_hostile import assert_harmless

# Of no five letters of it does a run write any by chance.
ODD_TOKEN = "hf_" + "qZ7xK2vW9jR4" * 3
# What a status means wherever it comes, unless the answer's own code says more.
CLASSES = {
    401: FailureClass.TOKEN_REFUSED,
    429: FailureClass.RATE_LIMITED,
    500: FailureClass.HUB_ERROR,
    503: FailureClass.HUB_ERROR,
    418: FailureClass.HUB_ERROR,
    400: FailureClass.HUB_ERROR,
}

# Unless the answer itself cannot be read: headers without end, a redirect, a body of another form.
UNREADABLE = (
    FailureClass.HUB_UNREACHABLE,
    FailureClass.CONNECTION_LOST,
    FailureClass.NOT_THE_HUB,
)


@contextmanager
def rude_world(folder: Path, profile: Profile, rudeness: Rudeness) -> Iterator[HubAccess]:
    """Start the hub, and give the world around it."""
    with RudeHub(served(folder, profile.contract), rudeness) as hub:
        environment = {"HF_TOKEN": TOKEN, "HOME": str(folder.parent)}
        cache = folder.parent / "cache"
        yield HubAccess(environment=environment, endpoint=hub.endpoint, cache_dir=cache)


def readable(body: bytes) -> bool:
    """Tell whether a body is a JSON table, as Python's own reader has it."""
    try:
        return isinstance(json.loads(body), dict)
    except ValueError:
        return False


@hostile(25)
@given(rudeness=rudenesses)
def test_whatever_the_hub_answers_is_a_record_and_a_class(
    model_folder: Path, profile: Profile, rudeness: Rudeness
) -> None:
    """The record can be written and read back, holds no token, and says what went wrong."""
    with rude_world(model_folder, profile, rudeness) as hub_access:
        record = asked_here(hub_access, profile)

    text = typed_json.dump(record)
    assert typed_json.parse(AuthRecord, text, "auth.json") == (record, ())
    assert not holds_secret(text.encode(), (TOKEN,))
    assert len(text) < 20_000
    checks = failing(auth_checks(record, profile))
    event("granted" if not checks else str(checks[0].failure_class))
    if rudeness.status in CLASSES and "X-Error-Code" not in rudeness.headers and record.statuses[0]:
        assert checks[0].failure_class in (CLASSES[rudeness.status], *UNREADABLE)
    if rudeness.status == 200 and rudeness.question == "whoami":
        assert record.access_statuses[0] == (200 if readable(rudeness.body) else 0)
    for check in checks:
        assert visible(check.found) == check.found
        assert check.failure_class is not FailureClass.HARNESS_ERROR


@pytest.mark.parametrize("question", QUESTIONS)
@pytest.mark.parametrize(
    "target", ["/elsewhere", "http://127.0.0.1:9/elsewhere", "/x/elsewhere?http://127.0.0.1:9"]
)
def test_a_question_that_is_sent_elsewhere_is_not_followed(
    model_folder: Path, profile: Profile, question: str, target: str
) -> None:
    """Four requests at most, and who answers elsewhere is not the hub that was asked."""
    rudeness = Rudeness(question=question, status=307, headers={"Location": target}, body=b"")
    with rude_world(model_folder, profile, rudeness) as hub_access:
        record = asked_here(hub_access, profile)

    checks = failing(auth_checks(record, profile))
    assert len(record.responses) == 4
    assert 307 in record.statuses
    # The weights' address in a storage is read and not followed; 302 alone grants it.
    stored = question == "/resolve/" and target.startswith("http")
    unlike = FailureClass.HUB_ERROR if stored else FailureClass.NOT_THE_HUB
    assert checks[0].failure_class is unlike
    assert checks[0].found == "307" if stored else "elsewhere" in checks[0].found


@hostile(8)
@given(rudeness=rudenesses)
def test_whatever_the_hub_answers_to_a_download_is_an_error_with_a_class(
    model_folder: Path, profile: Profile, rudeness: Rudeness
) -> None:
    """Or the files are those that were pinned."""
    shutil.rmtree(model_folder.parent / "cache", ignore_errors=True)
    honest = Rudeness(question="no such question", status=200, headers={}, body=b"")
    with rude_world(model_folder, profile, honest) as hub_access:
        granted = asked_here(hub_access, profile)

    rude = replace(rudeness, question="/resolve/")
    with rude_world(model_folder, profile, rude) as hub_access:
        error = refused(hub_access, profile, granted)

    event(str(error.failure_class) if error else "downloaded")
    if error is not None:
        assert error.failure_class is not FailureClass.HARNESS_ERROR
        assert not holds_secret(str(error).encode(), (TOKEN,))
        assert len(str(error)) < 5000


@pytest.mark.parametrize("told", ["../../../x", "f" * 40, f"said {TOKEN.encode().hex()}.", "a/b"])
def test_a_file_of_another_commit_is_not_filed(
    model_folder: Path, profile: Profile, told: str
) -> None:
    """The client would make a folder of whatever name the hub gives as the commit."""
    honest = Rudeness(question="no such question", status=200, headers={}, body=b"")
    with rude_world(model_folder, profile, honest) as hub_access:
        granted = asked_here(hub_access, profile)
    headers = {"X-Repo-Commit": told, "ETag": "x", "Content-Length": "0"}
    rude = Rudeness(question="/resolve/", status=200, headers=headers, body=b"")
    with rude_world(model_folder, profile, rude) as hub_access:
        error = refused(hub_access, profile, granted)

    assert error is not None
    assert error.failure_class is FailureClass.HUB_ERROR
    assert "not for the pinned one" in str(error)
    assert not holds_secret(str(error).encode(), (TOKEN,))
    assert not list(model_folder.parent.rglob("snapshots"))


def refused(
    hub_access: HubAccess, profile: Profile, granted: AuthRecord
) -> GateStoppedError | None:
    """Download; give the error, or nothing when the files are those that were pinned."""
    try:
        fetched = fetched_here(hub_access, profile, granted)
    except GateStoppedError as error:
        return error
    assert tuple(arrival.found for arrival in fetched.arrivals) == granted.files
    return None


@pytest.mark.parametrize(
    ("question", "status", "failure_class"),
    [("whoami", 401, "token refused"), ("/revision/", 200, "not the hub's answer")],
)
def test_nothing_of_what_a_hub_says_comes_through(
    copied_tree: CopiedTree, model_folder: Path, question: str, status: int, failure_class: str
) -> None:
    """On no output and in no file: neither the token that it repeats nor what is markup."""
    said = f"{TOKEN} {MARKUP}{STEERING} Bearer {TOKEN[:20]}\n  {TOKEN[20:]} {LONG}"
    rude = Rudeness(
        question=question,
        status=status,
        headers={"X-Error-Message": header(said[:4000])},
        body=said.encode(errors="surrogatepass"),
    )
    path = copied_tree.root / "acceptance" / "rehearsal.toml"
    with rude_world(model_folder, profile_check.load(path), rude) as hub_access:
        path.write_text(path.read_text().replace('"loopback"', f'"{hub_access.endpoint}"'))
        result = copied_tree.pytest("acceptance", "-m", "rehearsal", "-rA", HF_TOKEN=TOKEN)

    run = the_run(copied_tree)
    assert result.returncode == 1, result.stdout + result.stderr
    analysis = (run / "failure_analysis.md").read_text(encoding="utf-8")
    assert f": **{failure_class}**." in analysis
    for path in (path for path in run.rglob("*") if path.is_file()):
        assert not holds_secret(path.read_bytes(), (TOKEN,)), path.name
    for output in (result.stdout, result.stderr, analysis):
        assert not holds_secret(output.encode(), (TOKEN,))
        assert visible(output) == output
        assert "Traceback" not in output
    assert "<script>" not in analysis
    assert "\n# heading" not in analysis
    ET.parse(run / "junit.xml")
    assert_harmless((run / "report.html").read_text(encoding="utf-8"))


def test_of_a_token_whose_end_is_cut_off_nothing_is_told(
    copied_tree: CopiedTree, model_folder: Path
) -> None:
    """In the record, the documents, the terminal: an error is shortened after it was redacted."""

    def saying(text: str) -> Rudeness:
        headers = {"X-Error-Message": text}
        return Rudeness(question="whoami", status=403, headers=headers, body=b"")

    path = copied_tree.root / "acceptance" / "rehearsal.toml"
    profile = profile_check.load(path)
    with rude_world(model_folder, profile, saying("x" * LONGEST_ERROR)) as hub_access:
        cut = asked_here(hub_access, profile).responses[0].error
    # So that nine letters of the token are kept, fewer than a piece is known by.
    before = len(cut) - len(cut.rstrip("x")) - len(" hf_qZ7xK2")
    said = f"{'x' * before} {ODD_TOKEN} and more"
    with rude_world(model_folder, profile, saying(said)) as hub_access:
        path.write_text(path.read_text().replace('"loopback"', f'"{hub_access.endpoint}"'))
        result = copied_tree.pytest("acceptance", "-m", "rehearsal", "-rA", HF_TOKEN=ODD_TOKEN)

    run = the_run(copied_tree)
    assert len(cut) == LONGEST_ERROR
    assert 'xx [REDACTED"' in (run / "auth.json").read_text()
    told = {path.name: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    told |= {"terminal": (result.stdout + result.stderr).encode()}
    assert {"auth.json", "report.html", "failure_analysis.md"} < told.keys()
    pieces = [ODD_TOKEN[at : at + 5].encode() for at in range(3, 3 + 12)]
    found = [name for name, data in told.items() if any(piece in data for piece in pieces)]
    assert found == []


def test_a_link_that_a_hub_sends_stands_nowhere_and_a_login_in_it_neither(
    copied_tree: CopiedTree, model_folder: Path
) -> None:
    """In no file and on no output, though what the hub said is quoted."""
    said = "Renew at https://mary:word@evil.example/x or www.evil.example"
    headers = {"X-Error-Message": said}
    rude = Rudeness(question="/revision/", status=500, headers=headers, body=said.encode())
    path = copied_tree.root / "acceptance" / "rehearsal.toml"
    with rude_world(model_folder, profile_check.load(path), rude) as hub_access:
        path.write_text(path.read_text().replace('"loopback"', f'"{hub_access.endpoint}"'))
        result = copied_tree.pytest("acceptance", "-m", "rehearsal", HF_TOKEN=TOKEN)

    run = the_run(copied_tree)
    texts = {path.name: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    texts["outputs"] = (result.stdout + result.stderr).encode()
    quoting = {name for name, text in texts.items() if b"evil.example" in text}
    assert {"auth.json", "failure_analysis.md", "report.html"} <= quoting
    for name, text in texts.items():
        for part in (b"mary:word", b"://mary", b"://[REDACTED]", b"://evil", b"www.evil"):
            assert part not in text, name
