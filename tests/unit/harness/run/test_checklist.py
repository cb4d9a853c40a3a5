"""The checklist looks at everything, changes nothing and ends with what to type."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from m43 import typed_json
from m43.errors import FailureClass, GateStoppedError
from m43.evidence.journal import ledger
from m43.evidence.journal.journal import Journal
from m43.harness.commands import checklist
from m43.harness.commands.checklist import look
from m43.harness.run.items import Checklist, Group, Item, is_ready, note, unchecked
from m43.harness.terminal.checklist_page import page
from m43.records import profile_check
from m43.records.profile import Profile
from tests.unit.harness.conftest import (
    FILES,
    REPO,
    REPOSITORY,
    REVISION,
    TOKEN,
    WEIGHT_BYTES,
    StartWorld,
)
from tests.unit.harness.copied_tree import CopiedTree
from tests.unit.harness.golden import agree

SIZES = f'[contract.file_bytes]\n"model.safetensors" = {len(WEIGHT_BYTES)}\n'
Look = Callable[..., Checklist]


@pytest.fixture
def production(copied_tree: CopiedTree) -> Path:
    """Write a profile of kind production that this machine could run: its venv, its CPU."""
    text = (copied_tree.root / "acceptance" / "production.toml").read_text()
    files = json.dumps(list(FILES))
    for pattern, value in (
        (r'repo = ".*"', f'repo = "{REPO}"'),
        (r'revision = ".*"', f'revision = "{REVISION}"'),
        (r'platform = ".*"', 'platform = "cpu"'),
        (r'device_kind = ".*"', 'device_kind = "cpu"'),
        (r"files = \[[^]]*\]", f"files = {files}"),
        (r"(\[contract.file_bytes\]\n)(.+\n)+", SIZES),
        (r"\[contract.config\]\n(.+\n)+", ""),
        (r'path = ".*"', 'path = "self"'),
    ):
        text, count = re.subn(pattern, value, text, count=1)
        assert count == 1
    path = copied_tree.root / "acceptance" / "mine.toml"
    path.write_text(text)
    return path


@pytest.fixture
def looked(copied_tree: CopiedTree, production: Path, monkeypatch: pytest.MonkeyPatch) -> Look:
    """Look at the copy as a person who stands in it would."""
    monkeypatch.chdir(copied_tree.root)

    def at(
        change: Callable[[Profile], Profile] = lambda profile: profile,
        environment: Mapping[str, str] | None = None,
    ) -> Checklist:
        profile = change(profile_check.load(production))
        variables = {"HOME": str(copied_tree.root.parent), "PATH": os.environ["PATH"]}
        return look(profile, production, copied_tree.root, variables | dict(environment or {}))

    return at


def text_of(checklist: Checklist) -> str:
    """Give the page as a pipe gets it."""
    return "".join(f"{line}\n" for line in page(checklist))


def agree_on_page(name: str, checklist: Checklist, tree: CopiedTree) -> None:
    """Compare the page with its golden, without what differs between machines."""
    agree(
        name,
        text_of(checklist),
        (re.escape(str(tree.root)), "REPOSITORY"),
        (re.escape(sys.prefix), "VENV"),
        (r"Linux \d\S*", "Linux RELEASE"),
        (r"(?:(  [a-z ]{13}package) .*\n)+", r"\1 ..., one line for each\n"),
        (r"\d+ promises", "N promises"),
        (r"127\.0\.0\.1:\d+", "LOOPBACK"),
        (r"\((?:\d+ min )?\d[\d.]* s\)", "(SECONDS)"),
        (r"\d+\.\d+ [GM]iB free", "SIZE free"),
        (r"  \S*python -m (pytest|m43)", r"  PYTHON -m \1"),
        (r"  (pytest) acc", r"  PYTHON -m \1 acc"),
    )


def test_a_run_that_could_start_gives_its_command(
    looked: Look, start_world: StartWorld, copied_tree: CopiedTree
) -> None:
    """Every check of both gates holds against a real hub, and the command ends the page."""
    _, hub = start_world()
    found = looked(at_hub(hub.endpoint), {"HF_TOKEN": TOKEN})
    assert found.ready, text_of(found)
    assert found.command.endswith("acceptance -m production --m43-profile acceptance/mine.toml")
    assert text_of(found).endswith(f"  {found.command}\n")
    agree_on_page("checklist_ready", found, copied_tree)


def test_without_a_token_the_hub_checks_are_shown_as_not_checked(
    looked: Look, copied_tree: CopiedTree
) -> None:
    """None is left out, each says why, and everything else is looked at all the same."""
    found = looked()
    auth = next(group for group in found.groups if group.gate == "auth")
    assert [item.state for item in auth.items] == ["NO", *["not checked"] * 8, "ok"]
    assert {item.found for item in auth.items[1:-1]} == {"no token"}
    assert not found.ready
    agree_on_page("checklist_no_token", found, copied_tree)


def test_without_a_token_the_plan_is_made_from_the_contract(looked: Look) -> None:
    """Memory and disk are looked at; that config.json agrees is what nobody can know yet."""
    shapes = profile_check.load(REPOSITORY / "acceptance" / "production.toml").contract.config

    def knowing(profile: Profile) -> Profile:
        return replace(profile, contract=replace(profile.contract, config=shapes))

    venv = next(group for group in looked(knowing).groups if group.gate == "venv")
    states = {item.name: item.state for item in venv.items[-5:]}
    assert list(states.values()) == ["ok", "not checked", "ok", "ok", "ok"]
    assert states["config.json describes the promised model"] == "not checked"
    assert states["the training fits the memory of cpu:cpu"] == "ok"


@pytest.mark.parametrize(
    ("variables", "failure_class"),
    [
        ({"ALL_PROXY": "socks4://127.0.0.1:1"}, FailureClass.PROXY_FAILED),
        ({"SSL_CERT_FILE": "/nowhere.pem"}, FailureClass.CERTIFICATE_NOT_TRUSTED),
    ],
)
def test_a_client_that_cannot_be_made_is_told_once(
    looked: Look,
    variables: dict[str, str],
    failure_class: FailureClass,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What depends on it is not checked, for the same reason, and the hub is not asked."""
    monkeypatch.delattr(checklist.auth, "measure")
    found = looked(at_hub("default"), {"HF_TOKEN": TOKEN, **variables})
    (refused,) = (item for item in found.items if item.state == "NO")
    assert refused.found.startswith(f"{next(iter(variables))}: ")
    auth = next(group for group in found.groups if group.gate == "auth")
    assert [item.state for item in auth.items] == ["ok", *["not checked"] * 8, "ok"]
    not_checked = {item.found for item in found.items if item.state == "not checked"}
    assert not_checked == {str(failure_class)}


def test_without_a_venv_its_checks_are_shown_as_not_checked(
    looked: Look, start_world: StartWorld, copied_tree: CopiedTree
) -> None:
    """The hub is asked all the same."""
    _, hub = start_world()
    gone = str(copied_tree.root / ".venv-gpu")

    def without_venv(profile: Profile) -> Profile:
        return replace(at_hub(hub.endpoint)(profile), venv=replace(profile.venv, path=gone))

    found = looked(without_venv, {"HF_TOKEN": TOKEN})
    venv = next(group for group in found.groups if group.gate == "venv")
    assert venv.items[0].state == "NO"
    assert {item.state for item in venv.items[1:]} == {"not checked"}
    assert len(hub.requests) == 4
    agree_on_page("checklist_no_venv", found, copied_tree)


def test_bad_rows_are_named_with_file_line_and_reason(
    looked: Look, start_world: StartWorld, copied_tree: CopiedTree
) -> None:
    """Two bad rows, one of them with an escape sequence in it, which steers nothing."""
    _, hub = start_world()
    rows = copied_tree.root / "acceptance" / "data" / "train.jsonl"
    lines = rows.read_text().splitlines()
    lines[7], lines[11] = '{"prompt": "Why?"}', "\x1b[2Jnot JSON"
    rows.write_text("".join(f"{line}\n" for line in lines))
    found = looked(at_hub(hub.endpoint), {"HF_TOKEN": TOKEN})
    assert found.count("NO") == 1
    assert not found.ready
    agree_on_page("checklist_bad_row", found, copied_tree)


def at_hub(endpoint: str) -> Callable[[Profile], Profile]:
    """Point a profile at a hub."""
    return lambda profile: replace(profile, hub=replace(profile.hub, endpoint=endpoint))


def test_a_used_folder_too_few_rows_and_a_broken_ledger_are_told(
    looked: Look, copied_tree: CopiedTree
) -> None:
    """What stands before the gates is looked at as well; the way out is named."""
    (copied_tree.runs / "m43_v1").mkdir(parents=True)
    Journal.create(copied_tree.runs / "m43_v1" / "journal.jsonl").append("opened")
    book = copied_tree.runs / "attempts.jsonl"
    for name in ("m43_v0", "m43_v1"):
        ledger.append(book, run=name, kind="production", started_utc="2026-01-02T03:04:05Z")
    whole = book.read_text()

    def wider(profile: Profile) -> Profile:
        return replace(profile, training=replace(profile.training, batch_rows=9))

    first = {item.name: item for item in looked(wider).items}
    book.write_text(whole.splitlines()[1] + "\n")
    second = {item.name: item for item in looked(wider).items}

    assert first["the run folder is free"].state == "NO"
    assert "--m43-run m43_v2" in first["the run folder is free"].action
    enough = first["there are rows enough for one epoch at most"]
    assert (enough.state, "lower training.batch_rows to 8" in enough.action) == ("NO", True)
    assert first["earlier runs without an end"].found == "m43_v1"
    attempts = "the ledger of attempts is whole"
    assert first[attempts].found.startswith("2 earlier: m43_v1 (production, 2026-")
    assert second[attempts].state == "NO"


def test_the_json_is_the_record(copied_tree: CopiedTree, production: Path) -> None:
    """What a machine reads is the dataclass itself, and the exit status its `ready`."""
    result = run_checklist(copied_tree, "--json", "--m43-profile", "acceptance/mine.toml")
    read, problems = typed_json.parse(Checklist, result.stdout, "the output")
    assert problems == ()
    assert read is not None
    assert (read.ready, result.returncode) == (False, 1)
    assert read.command.endswith("-m m43 checklist --m43-profile acceptance/mine.toml")
    assert [group.gate for group in read.groups] == ["ground", "auth", "venv", "train-300", "eval"]


def run_checklist(
    tree: CopiedTree, *options: str, **variables: str
) -> "subprocess.CompletedProcess[str]":
    """Type the command."""
    return subprocess.run(
        [sys.executable, "-m", "m43", "checklist", *options],
        cwd=tree.root,
        env=tree.environment(**variables),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_it_writes_nothing_at_all(
    copied_tree: CopiedTree, production: Path, start_world: StartWorld, tmp_path: Path
) -> None:
    """Not one file or folder: in the tree, in the Hugging Face home, in the temporary folder.

    With the real probe, which imports all that training needs.
    """
    training = copied_tree.root / "m43" / "training"
    shutil.rmtree(training)
    shutil.copytree(REPOSITORY / "m43" / "training", training)
    for cache in list(copied_tree.root.rglob("__pycache__")):
        shutil.rmtree(cache)
    # What Python reads before any line of m43 is run: set-up compiles it.
    first = [str(copied_tree.root / "m43" / name) for name in ("__init__.py", "__main__.py")]
    subprocess.run([sys.executable, "-m", "compileall", "-q", *first], check=True)
    _, hub = start_world()
    production.write_text(production.read_text().replace('"default"', f'"{hub.endpoint}"'))
    outside, temporary = tmp_path / "outside", tmp_path / "temporary"
    temporary.mkdir()
    variables = {name: str(outside / name) for name in ("HOME", "HF_HOME", "XDG_CACHE_HOME")}
    for folder in variables.values():
        Path(folder).mkdir(parents=True)
    variables["TMPDIR"] = str(temporary)
    before = digest(copied_tree.root), digest(outside)

    result = run_checklist(
        copied_tree, "--m43-profile", "acceptance/mine.toml", HF_TOKEN=TOKEN, **variables
    )

    # All was looked at: the hub's answers are good, and so is the environment; the config.json
    # that it serves is none, as the plan's own child says.
    assert result.returncode == 1, result.stdout + result.stderr
    assert len(hub.requests) > 4
    (bad,) = re.findall(r"^  NO +(.*)$", result.stdout, flags=re.MULTILINE)
    assert bad == "the training was planned"
    assert "config.json" in result.stdout
    after = digest(copied_tree.root), digest(outside)
    assert [changed(*pair) for pair in zip(before, after, strict=True)] == [set(), set()]
    assert list(temporary.iterdir()) == []


def changed(before: dict[str, str], after: dict[str, str]) -> set[str]:
    """Name what was added, removed or touched."""
    return {path for path, _ in before.items() ^ after.items()}


def digest(root: Path) -> dict[str, str]:
    """Digest everything below a folder: files with their times, folders, links."""
    found = {}
    for path in sorted(root.rglob("*")):
        data = path.read_bytes() if path.is_file() else b""
        time_ns = path.lstat().st_mtime_ns
        found[str(path)] = f"{hashlib.sha256(data).hexdigest()} {time_ns}"
    return found


def test_no_sign_of_readiness_is_not_readiness() -> None:
    """Nothing was checked, or one thing could not be: no reason to start."""
    held = Item(name="a", state="ok", found="b", expected="b", action="")
    open_ = unchecked("a", FailureClass.NO_TOKEN, "b")
    assert not is_ready(())
    assert not is_ready((group(note("a", "b")),))
    assert not is_ready((group(held, open_),))
    assert is_ready((group(held, note("a", "b"), replace(held, state="at the gate")),))


def group(*items: Item) -> Group:
    """Put items into a group."""
    return Group(gate="ground", title="", items=items)


def test_a_rehearsal_needs_no_hub(
    profile: Profile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own hub is not there yet, so nothing is asked; what stops the venv is told."""
    monkeypatch.setattr(checklist.venv, "measure", _no_environment)
    found = look(profile, REPOSITORY / "acceptance" / "rehearsal.toml", REPOSITORY, {})
    states = {group.gate: {item.state for item in group.items} for group in found.groups}
    assert states["auth"] == {"note"}
    # The plan takes what the hub serves.
    assert states["venv"] == {"NO", "not checked", "at the gate"}


def _no_environment(*arguments: object) -> object:
    raise GateStoppedError(FailureClass.NO_VENV, found="", expected="", where="", action="")
