"""The checklist and the beginning of a run say the same of every situation, before anything."""

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from m43.errors import FailureClass, GateStoppedError, M43Error
from m43.evidence.contract.contract import read_contract
from m43.evidence.journal import ledger
from m43.evidence.journal.journal import Journal
from m43.files import FileLock
from m43.harness.commands import checklist
from m43.harness.commands.checklist import look
from m43.harness.run import surroundings, traces
from m43.harness.run.attempt import begin
from m43.harness.run.hub_access import HubAccess, flaw
from m43.harness.run.items import Item
from m43.harness.run.local_checks import GroundError, ground_items, require_ground
from m43.harness.run.opening import Plan, contract_path, named
from m43.records import profile_check
from m43.records.hub_record import AuthRecord
from m43.records.profile import Profile
from tests.unit.evidence.good_records import auth_record
from tests.unit.harness.conftest import REPOSITORY, TOKEN

CACHE = "the Hugging Face cache can be written, or holds the pinned files"
CLIENT = "the hub's client can use the proxies and certificates"
INNOCENT = "no secret stands in what the run writes down"
TRACES = "what the run writes leaves the submission alone"
TOKEN_ITEM = "the token is in HF_TOKEN"
PASSWORD = "Winter26!x"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a checkout that holds only what is looked at before the first gate, and stand in it."""
    folder = tmp_path / "checkout"
    for part in ("pyproject.toml", "acceptance/production.toml", "acceptance/test_production.py"):
        (folder / part).parent.mkdir(parents=True, exist_ok=True)
        (folder / part).write_bytes((REPOSITORY / part).read_bytes())
    data = folder / "acceptance" / "data"
    data.mkdir()
    for name in ("train.jsonl", "eval_v2.jsonl"):
        (data / name).write_bytes((REPOSITORY / "acceptance" / "data" / name).read_bytes())
    (tmp_path / "home").mkdir()
    monkeypatch.chdir(folder)
    for name in list(os.environ):
        if name.upper().endswith("_PROXY") or name.startswith(("SSL_", "XDG_", "REQUESTS_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr(traces, "_PROCESSES", tmp_path / "nowhere")
    # Whether pytest starts has tests of its own; a run that begins knows it.
    monkeypatch.setattr(checklist, "start_items", lambda *words: ())
    monkeypatch.setattr(checklist.venv, "measure", _no_environment)
    monkeypatch.setattr(checklist.auth, "measure", _unasked_hub)
    return folder


def _no_environment(*arguments: object) -> object:
    raise GateStoppedError(FailureClass.NO_VENV, found="", expected="", where="", action="")


def _unasked_hub(hub_access: HubAccess, profile: Profile, *_: object) -> AuthRecord:
    # What a hub answers is the gates' matter; what they are to send it is known before.
    return auth_record(
        profile, token_source=hub_access.token.source, token_flaw=flaw(hub_access.token)
    )


def write(root: Path, text: str, name: str = "train.jsonl") -> None:
    """Add a line to the rows."""
    with (root / "acceptance" / "data" / name).open("a") as file:
        file.write(text + "\n")


@dataclass(frozen=True, kw_only=True)
class Situation:
    """What was set or done before, and the item that says NO to it; empty when none does."""

    variables: Mapping[str, str] = field(default_factory=dict)
    prepare: Callable[[Path], object] = lambda root: None
    item: str = ""
    endpoint: str = "http://127.0.0.1:9"


def going_on(root: Path) -> FileLock:
    """Leave a run whose process lives: it holds its journal."""
    run = root / "submission_runs" / "earlier"
    run.mkdir(parents=True)
    Journal.create(run / "journal.jsonl").append("opened")
    return FileLock.take(run / "journal.jsonl")


def cut_off(root: Path) -> None:
    """Leave a run whose process is gone."""
    going_on(root).release()


def book(root: Path, change: Callable[[str], str]) -> None:
    """Leave a ledger of two attempts, changed."""
    path = root / "submission_runs" / "attempts.jsonl"
    for run in ("first", "second"):
        ledger.append(path, run=run, kind="production", started_utc="2026-01-01T00:00:00Z")
    path.write_text(change(path.read_text()))


def cached(root: Path) -> None:
    """Leave a cache that has every pinned file, below a file where nothing can be made."""
    profile = profile_check.load(root / "acceptance" / "production.toml")
    name = profile.contract.repo.replace("/", "--")
    snapshot = root.parent / f"hub/models--{name}/snapshots/{profile.contract.revision}"
    snapshot.mkdir(parents=True)
    for file in profile.hub.files:
        (snapshot / file).write_text("")


OUTSIDE = "https://huggingface.co"
SITUATIONS: dict[str, Situation] = {
    "nothing": Situation(),
    "no token": Situation(variables={"HF_TOKEN": ""}),
    "a quoted token": Situation(variables={"HF_TOKEN": f'"{TOKEN}"'}, item=TOKEN_ITEM),
    "a stand-in token": Situation(variables={"HF_TOKEN": "test"}, item=TOKEN_ITEM),
    "an older variable with a stand-in": Situation(variables={"HUGGING_FACE_HUB_TOKEN": "test"}),
    "a proxy with a word": Situation(variables={"HTTPS_PROXY": "http://user:pass@127.0.0.1:1"}),
    "a SOCKS proxy": Situation(
        variables={"ALL_PROXY": "socks5://127.0.0.1:1"}, endpoint=OUTSIDE, item=CLIENT
    ),
    "a SOCKS proxy and a hub of this machine": Situation(
        variables={"ALL_PROXY": "socks5://127.0.0.1:1"}
    ),
    "certificates that are not there": Situation(
        variables={"SSL_CERT_FILE": "nothing.pem"}, endpoint=OUTSIDE, item=CLIENT
    ),
    "certificates for another client": Situation(
        variables={"REQUESTS_CA_BUNDLE": "nothing.pem"}, endpoint=OUTSIDE
    ),
    "an endpoint without a scheme": Situation(
        variables={"HF_ENDPOINT": "127.0.0.1:9"},
        endpoint="default",
        item="HF_ENDPOINT is the address of a hub",
    ),
    "an empty endpoint": Situation(
        variables={"HF_ENDPOINT": ""},
        endpoint="default",
        item="HF_ENDPOINT is the address of a hub",
    ),
    "an endpoint with a login": Situation(
        variables={"HF_ENDPOINT": f"http://user:{PASSWORD}@127.0.0.1:9/"}, endpoint="default"
    ),
    "a cache beside the project": Situation(variables={"HF_HOME": ".hf"}),
    "a cache that is the project": Situation(variables={"HF_HUB_CACHE": "."}, item=TRACES),
    "a cache in the runs": Situation(variables={"HF_HOME": "submission_runs/hf"}, item=TRACES),
    "a cache amid the rows": Situation(variables={"HF_HUB_CACHE": "acceptance/data"}, item=TRACES),
    "a cache below a file": Situation(
        variables={"HF_HOME": "../file/hf"},
        prepare=lambda root: (root.parent / "file").write_text(""),
        item=CACHE,
    ),
    "a cache that has everything": Situation(
        variables={"HF_HUB_CACHE": "../hub"},
        prepare=lambda root: (cached(root), (root.parent / "hub").chmod(0o555)),
    ),
    "nobody's home": Situation(variables={"HF_HOME": "~nobody-has-this-name/hf"}, item=CACHE),
    "a token in a row": Situation(
        prepare=lambda root: write(root, f'{{"prompt": "{TOKEN}"}}'), item=INNOCENT
    ),
    "a placeholder in a row": Situation(
        prepare=lambda root: write(root, "hf_" + "x" * 34, "eval_v2.jsonl")
    ),
    "a password in a row": Situation(
        variables={"HTTPS_PROXY": f"http://user:{PASSWORD}@127.0.0.1:1"},
        prepare=lambda root: write(root, PASSWORD, "eval_v2.jsonl"),
        item=INNOCENT,
    ),
    "a word that is a password in a row": Situation(
        variables={"HTTPS_PROXY": "http://user:pass@127.0.0.1:1"},
        prepare=lambda root: write(root, "pass"),
    ),
    "a password that is a part of the path": Situation(
        variables={"HTTPS_PROXY": "http://user:a_password_that1@127.0.0.1:1"}, item=INNOCENT
    ),
    "no rows": Situation(
        prepare=lambda root: (root / "acceptance" / "data" / "train.jsonl").unlink()
    ),
    "a run that is going on": Situation(prepare=going_on, item="no other run is going on"),
    "a run that was cut off": Situation(prepare=cut_off),
    "a changed ledger": Situation(
        prepare=lambda root: book(root, lambda text: text.replace("first", "third")),
        item="the ledger of attempts is whole",
    ),
    "a ledger that a power cut left": Situation(
        prepare=lambda root: book(root, lambda text: text[:-9])
    ),
    "runs that cannot be made": Situation(
        prepare=lambda root: (root / "submission_runs").write_text(""),
        item="the runs can be written",
    ),
    "an earlier attempt": Situation(
        prepare=lambda root: (root / "submission_runs" / "m43_v1").mkdir(parents=True),
        item="the run folder is free",
    ),
}


@pytest.fixture
def situation(
    request: pytest.FixtureRequest, root: Path, monkeypatch: pytest.MonkeyPatch
) -> Situation:
    """Bring a situation about."""
    found = SITUATIONS[request.param]
    if "path" in request.param:
        moved = root.parent / "a_password_that1"
        root.rename(moved)
        monkeypatch.chdir(moved)
    for name, value in {"HF_TOKEN": TOKEN, **found.variables}.items():
        monkeypatch.setenv(name, value)
    path = Path.cwd() / "acceptance" / "production.toml"
    path.write_text(path.read_text().replace('"default"\n', f'"{found.endpoint}"\n'))
    request.node.kept = found.prepare(Path.cwd())  # a lock lives as long as what holds it
    return found


def before_the_gates(profile: Profile, path: Path) -> list[Item]:
    """Give what the checklist says NO to, of all that no hub, device or row decides."""
    shown = look(profile, path, Path.cwd(), os.environ)
    ground = next(group.items for group in shown.groups if group.gate == "ground")
    token = next(item for item in shown.items if item.name == TOKEN_ITEM)
    return [item for item in (*ground, token) if item.state == "NO"]


@pytest.mark.parametrize("situation", SITUATIONS, indirect=True)
def test_the_checklist_and_the_run_say_the_same(situation: Situation) -> None:
    """One NO there is one refusal here, of the same thing, and leaves no trace of a run."""
    path = Path.cwd() / "acceptance" / "production.toml"
    profile = profile_check.load(path)
    said = before_the_gates(profile, path)
    if os.environ["HF_TOKEN"] == "":
        # A run without a token begins, and says in its documents that it had none.
        (absent,) = said
        assert (absent.name, absent.found) == (TOKEN_ITEM, "absent")
        said = []
    assert [item.name for item in said] == ([situation.item] if situation.item else [])
    runs = sorted(Path.cwd().glob("submission_runs/**"))
    plan = Plan(
        repository=Path.cwd(),
        profile_path=path,
        profile=named(profile, "", datetime.now(UTC)),
        contract=read_contract(contract_path(Path.cwd())),
        command=("pytest",),
        started=datetime.now(UTC),
    )
    if not situation.item:
        begin(plan).hold.release()
        return
    with pytest.raises(M43Error) as refused:
        begin(plan)
    assert sorted(Path.cwd().glob("submission_runs/**")) == runs
    if isinstance(refused.value, GroundError):
        assert [problem.where for problem in refused.value.problems] == [situation.item]
        assert all(secret not in str(refused.value) for secret in (TOKEN, PASSWORD))


def items(root: Path, environment: Mapping[str, str], **changes: object) -> dict[str, Item]:
    """Look at the ground, by name."""
    path = root / "acceptance" / "production.toml"
    profile = replace(profile_check.load(path), **changes)  # type: ignore[arg-type]
    variables = {"HOME": str(root.parent / "home"), **environment}
    return {item.name: item for item in ground_items(profile, path, root, variables)}


def test_what_is_found_in_a_row_is_named_with_its_line_and_not_quoted(root: Path) -> None:
    """By the variable that it stands in; each place once, whatever it looks like besides."""
    lines = len((root / "acceptance" / "data" / "train.jsonl").read_text().splitlines())
    other = TOKEN[:-1] + "Z"
    for text in (TOKEN, other, f"{PASSWORD} {PASSWORD}"):
        write(root, text)
    proxy = f"http://user:{PASSWORD}@proxy"
    found = items(root, {"HF_TOKEN": TOKEN, "HTTP_PROXY": proxy})[INNOCENT]
    name = "acceptance/data/train.jsonl"
    assert found.found == (
        f"{name}:{lines + 1}: something shaped like a hub token; "
        f"{name}:{lines + 2}: something shaped like a hub token; "
        f"{name}:{lines + 3}: the password in HTTP_PROXY"
    )
    assert "back to the hub" in found.action


def test_the_engineers_secrets_count_in_a_rehearsal_as_well(root: Path) -> None:
    """Nothing of its own hub asks for a token, a cache or a proxy."""
    (root / "acceptance" / "rehearsal.toml").write_bytes(
        (REPOSITORY / "acceptance" / "rehearsal.toml").read_bytes()
    )
    write(root, TOKEN)
    path = root / "acceptance" / "rehearsal.toml"
    environment = {
        "HF_TOKEN": TOKEN, "ALL_PROXY": "socks5://a:1", "HF_HOME": "/proc/nothing", "HOME": "/",
    }  # fmt: skip
    profile = profile_check.load(path)
    found = ground_items(profile, path, root, environment)
    assert [item.name for item in found if item.state == "NO"] == [INNOCENT]
    with pytest.raises(GroundError):
        require_ground(profile, path, root, environment)
    quoted = {"HF_TOKEN": '"quoted"', "HOME": "/"}
    (root / "acceptance" / "data" / "train.jsonl").write_text("")
    require_ground(profile, path, root, quoted)


def test_secrets_that_are_also_words_are_named(root: Path) -> None:
    """In one note, each by its variable."""
    found = items(root, {"HTTPS_PROXY": "http://a:pass@b", "HUGGING_FACE_HUB_TOKEN": "test"})
    said = found["secrets that are also words"].found
    assert said.startswith("the token in HUGGING_FACE_HUB_TOKEN; the password in HTTPS_PROXY: too")
    assert found["secrets that are also words"].state == "note"
    assert "secrets that are also words" not in items(
        root, {"HTTPS_PROXY": f"http://a:{PASSWORD}@b"}
    )


def test_what_is_not_watched_is_named(root: Path) -> None:
    """And what would hide a part of the submission is named with that part."""
    found = items(root, {"HF_HOME": str(root / ".hf")})
    assert found["not watched in the checkout"].found.startswith(
        ".hf/.agent_harnesses.json (a list that huggingface_hub keeps); .hf/datasets (the cache"
    )
    hidden = items(root, {"HF_HUB_CACHE": str(root / "acceptance")})[TRACES]
    assert hidden.found == "acceptance (the Hugging Face cache), where acceptance would be hidden"
    assert "not watched in the checkout" not in items(root, {})


def test_no_home_at_all_is_told(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A container's user without a name and without HOME; a cache of its own mends it."""
    monkeypatch.setattr("os.path.expanduser", lambda path: path)
    assert items(root, {"HOME": ""})[CACHE].found == "~, which is nobody's home folder"
    assert items(root, {"HOME": "", "HF_HUB_CACHE": "/"})[CACHE].state == "ok"


def test_a_disk_without_room_is_told(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of bytes or of files; a file system that counts no files has room for them."""
    room = list(os.statvfs(root))

    def full(**values: int) -> None:
        order = ("f_bavail", 4), ("f_files", 5), ("f_favail", 7)
        changed = [values.get(name, room[place]) for name, place in order]
        told = dict(zip(("f_bavail", "f_files", "f_favail"), changed, strict=True))
        monkeypatch.setattr("os.statvfs", lambda path: type("Room", (), told))

    for values in ({"f_bavail": 0}, {"f_files": 9, "f_favail": 0}):
        full(**values)
        assert "No space left on device: " in items(root, {})[CACHE].found
    full(f_files=0, f_favail=0)
    assert items(root, {})[CACHE].state == "ok"


def test_a_read_only_place_is_told(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For the runs, the temporary files and the cache alike."""
    monkeypatch.setattr("os.access", lambda path, mode: False)
    found = items(root, {})
    names = ("the runs can be written", "temporary files can be written", CACHE)
    assert all(found[name].found.startswith("Permission denied: ") for name in names)


def test_a_cache_that_has_every_file_need_not_be_written(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another person's, or a file system that is only read; of a file too few it is not enough."""
    cached(root)
    monkeypatch.setattr("os.access", lambda path, mode: False)
    hub = root.parent / "hub"
    found = items(root, {"HF_HUB_CACHE": str(hub)})[CACHE]
    assert (found.state, found.found) == ("ok", "it holds them")
    next(hub.rglob("config.json")).unlink()
    assert items(root, {"HF_HUB_CACHE": str(hub)})[CACHE].state == "NO"


def test_a_machine_without_a_place_for_temporary_files_is_told(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python itself says that there is none."""

    def none() -> str:
        raise FileNotFoundError(2, "No usable temporary directory found")

    monkeypatch.setattr(tempfile, "gettempdir", none)
    found = surroundings.temporary(root)
    assert (found.state, found.found) == ("NO", "No usable temporary directory found")


def test_what_git_knows_is_asked_of_git(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache may lie in a folder of its own, not in one of the submission."""
    monkeypatch.setattr(
        surroundings, "git_files", lambda repository, path: ("notes/m42.md",) * ("notes" in path)
    )
    found = items(root, {"HF_HUB_CACHE": str(root / "notes")})[TRACES]
    assert found.found == "notes (the Hugging Face cache), where notes/m42.md would be hidden"


def test_the_opening_names_what_is_left_out_and_not_searched_for(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that whoever reads the record knows what was not looked at."""
    monkeypatch.setenv("HF_HUB_CACHE", ".hf")
    monkeypatch.setenv("HTTPS_PROXY", "http://user:pass@proxy")
    path = root / "acceptance" / "production.toml"
    profile = profile_check.load(path)
    plan = Plan(
        repository=root,
        profile_path=path,
        profile=profile,
        contract=read_contract(contract_path(root)),
        command=("pytest",),
        started=datetime.now(UTC),
    )
    attempt = begin(plan)
    opening = json.loads(attempt.run.opening.read_text())
    assert opening["left_out"] == [".hf"]
    assert opening["unsearched"] == ["the password in HTTPS_PROXY"]
    (root / ".hf").mkdir()
    (root / ".hf" / "blob").write_text("")
    assert attempt.tree_before.left_out == (".hf",)


def test_promises_that_are_not_those_of_m43_are_listed_before_a_run(root: Path) -> None:
    """What the documents will say at their top; the M43 contract itself gets no such line."""
    name = "the promises are not those of the M43 contract"
    assert name not in items(root, {})
    shutil.copytree(root / "acceptance", root / "mine")
    contract = root / "mine" / "test_production.py"
    text = contract.read_text()
    contract.write_text(text.replace("def test_train_takes_exactly", "def test_train_takes"))
    path = root / "mine" / "production.toml"
    environment = {"HOME": str(root.parent / "home")}
    profile = profile_check.load(path)
    found = {each.name: each for each in ground_items(profile, path, root, environment)}[name]
    assert found.state == "note"
    assert "dropped: test_train_takes_exactly" in found.found
