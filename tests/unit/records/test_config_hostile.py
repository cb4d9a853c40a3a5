"""Whatever stands in a profile, it is read or refused in words: never a traceback, never a wait."""

import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from m43.__main__ import REPOSITORY, main
from m43.records import profile_check
from m43.records.profile import Profile
from m43.text import visible
from tests.unit.fuzzing import hostile

PRODUCTION = REPOSITORY / "acceptance" / "production.toml"
CORPUS = Path(__file__).parents[1] / "corpus" / "profiles"
# One line per problem, and nobody reads more than this.
LONGEST = 200_000

TABLE = tomllib.loads(PRODUCTION.read_text(encoding="utf-8"))
KEYS = [(name,) for name in TABLE] + [
    (name, key) for name, value in TABLE.items() if isinstance(value, dict) for key in value
]

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
values = st.recursive(
    st.booleans()
    | st.integers()
    | st.integers(-(10**400), 10**400)
    | st.floats()
    | texts
    | st.sampled_from(["../" * 30, "\0", "\x1b[31m", "a" * 5000, "~x/y", "-1", "NaN"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


def as_toml(value: Any) -> str:
    """Write a value as TOML; a JSON text is one in TOML, but for DEL."""
    if isinstance(value, dict):
        inner = ", ".join(f"{as_toml(key)} = {as_toml(each)}" for key, each in value.items())
        return f"{{{inner}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(as_toml, value))}]"
    if isinstance(value, str):
        # Outside the first plane JSON writes two halves, which TOML refuses.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return (
        str(value).lower()
        if isinstance(value, bool)
        else hex(value)
        if _long(value)
        else str(value)
    )


def _long(value: Any) -> bool:
    return isinstance(value, int) and value > 10**300


def lines(table: dict[str, Any]) -> str:
    """Write a table key by key."""
    return "".join(f"{as_toml(key)} = {as_toml(value)}\n" for key, value in table.items())


def outcome(path: Path) -> Profile | str:
    """Load a profile: it, or what a person is told of it."""
    try:
        return profile_check.load(path)
    except profile_check.ProfileError as error:
        text = str(error)
        assert visible(text) == text
        assert len(text) < LONGEST
        assert str(path) in text
        return text


@pytest.mark.parametrize("name", sorted(path.name for path in CORPUS.iterdir()))
def test_every_profile_of_the_corpus_is_refused_in_words(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the loader, and by the command that a person types."""
    assert isinstance(outcome(CORPUS / name), str)

    assert main(["checklist", "--m43-profile", str(CORPUS / name)]) == 1

    out, error = capsys.readouterr()
    assert out == ""
    assert all(line.startswith("m43: ") for line in error.splitlines())
    assert visible(error) == error


@hostile(60)
@given(st.sampled_from(KEYS), values)
def test_any_value_under_any_key_is_read_or_refused(
    tmp_path: Path, key: tuple[str, ...], value: Any
) -> None:
    """Of every type, size and depth; what is read is a whole profile."""
    table: dict[str, Any] = json.loads(json.dumps(TABLE))
    holder = table
    for name in key[:-1]:
        holder = holder[name]
    holder[key[-1]] = value
    path = tmp_path / "profile.toml"
    path.write_text(lines(table), encoding="utf-8")

    assert isinstance(outcome(path), Profile | str)


@hostile(40)
@given(st.binary(max_size=60) | texts.map(str.encode), st.integers(0, 3000))
def test_any_bytes_anywhere_are_read_or_refused(tmp_path: Path, data: bytes, place: int) -> None:
    """In the middle of a good profile."""
    good = PRODUCTION.read_bytes()
    path = tmp_path / "profile.toml"
    path.write_bytes(good[:place] + data + good[place:])

    assert isinstance(outcome(path), Profile | str)


def test_unknown_keys_are_guessed_at_up_to_a_number(tmp_path: Path) -> None:
    """Thousands of them, and very long ones, take no time and no screen."""
    path = tmp_path / "profile.toml"
    many = "".join(f"key{number} = 1\n" for number in range(20_000))
    path.write_text(f'{many}"{"k" * 100_000}" = 1\n{PRODUCTION.read_text()}')

    text = outcome(path)

    assert isinstance(text, str)
    assert "found 19981 more unknown keys" in text
    assert len(text) < 20_000


def test_windows_line_ends_are_no_problem(tmp_path: Path) -> None:
    """A profile may be written in any editor."""
    path = tmp_path / "profile.toml"
    path.write_bytes(PRODUCTION.read_bytes().replace(b"\n", b"\r\n"))

    assert isinstance(outcome(path), Profile)


def test_what_is_no_file_is_refused_at_once(tmp_path: Path) -> None:
    """A pipe, a folder, a circle of links, a device, and 100 MB."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "circle").symlink_to("circle")
    with (tmp_path / "large").open("wb") as file:
        file.truncate(100 << 20)

    for path in (
        *(tmp_path / "pipe", tmp_path, tmp_path / "circle", tmp_path / "large"),
        *(Path("/dev/zero"), tmp_path / ("x" * 300), tmp_path / "nothing"),
    ):
        assert isinstance(outcome(path), str)


def test_a_link_to_a_profile_is_read_where_it_leads(tmp_path: Path) -> None:
    """Its paths start where the file lies, not where the link does."""
    (tmp_path / "link.toml").symlink_to(PRODUCTION)

    profile = profile_check.load(tmp_path / "link.toml")

    assert profile.data.train == REPOSITORY / "acceptance" / "data" / "train.jsonl"


@pytest.mark.parametrize(
    ("key", "old", "new"),
    [
        ("contract.repo", '"google/gemma-2b"', '"../.."'),
        ("contract.repo", '"google/gemma-2b"', '"a/b?c=d"'),
        ("contract.device_kind", "NVIDIA GeForce RTX 5090", r"RTX\u001b[31m"),
        ("hub.endpoint", '"default"', '"https://user:word@host"'),
        ("hub.endpoint", '"default"', '"file:///etc/passwd"'),
        ("venv.path", '"../.venv-gpu"', r'"a\u0000b"'),
        ("data.train", "data/train.jsonl", "x" * 300),
        ("data.train", "data/train.jsonl", r"a\nb"),
        ("training.batch_rows", "batch_rows = 8", "batch_rows = 40000"),
        ("evaluation.batch_rows", "batch_rows = 50", "batch_rows = 9223372036854775807"),
        ("training.seed", "seed = 43", "seed = -1"),
        ("training.seed", "seed = 43", "seed = 2147483648"),
        ("training.clip_norm", "clip_norm = 1.0", "clip_norm = 1e31"),
        ("training.weight_decay", "weight_decay = 0.0", "weight_decay = 1e31"),
        ("deadlines.train_s", "train_s = 3600.0", "train_s = 604801"),
    ],
)
def test_what_would_leave_allocate_or_wait_is_refused_by_name(
    tmp_path: Path, key: str, old: str, new: str
) -> None:
    """Each of a right type, and of a value that nobody means."""
    text = PRODUCTION.read_text()
    assert old in text
    path = tmp_path / "profile.toml"
    path.write_text(text.replace(old, new))

    with pytest.raises(profile_check.ProfileError) as caught:
        profile_check.load(path)

    assert {problem.where for problem in caught.value.problems} == {f"{path}, {key}"}


def test_pytest_refuses_a_bad_profile_in_words(tmp_path: Path) -> None:
    """A usage error with every problem, no traceback, and nothing is run."""
    (tmp_path / "profile.toml").write_bytes((CORPUS / "escapes_in_keys.toml").read_bytes())
    command = ["acceptance", "-m", "production", "--m43-profile", str(tmp_path / "profile.toml")]

    done = run_pytest(command)

    assert done.returncode == 4
    assert "m43 does not begin this run" in done.stderr
    assert "found the unknown key" in done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    assert visible(done.stderr) == done.stderr


@pytest.mark.parametrize(
    ("option", "value", "found"),
    [
        ("--m43-run", "x" * 300, "one plain folder name"),
        ("--m43-run", "../m42", "one plain folder name"),
        ("--m43-profile", "~nobody-has-this-name/p.toml", "found no file"),
    ],
)
def test_pytest_refuses_options_that_lead_nowhere(option: str, value: str, found: str) -> None:
    """In words, and before anything is looked for under such a name."""
    done = run_pytest(["acceptance", "-m", "production", option, value])

    assert done.returncode == 4
    assert found in done.stderr
    assert "Traceback" not in done.stderr + done.stdout


def test_the_commands_write_in_any_encoding(tmp_path: Path) -> None:
    """What an old terminal cannot write is written as an escape, not as a traceback."""
    run = tmp_path / os.fsdecode(b"\xff \xc3\xa9")
    run.mkdir()
    (run / "journal.jsonl").touch()
    done = subprocess.run(
        [sys.executable, "-m", "m43", "verify", str(run)],
        cwd=REPOSITORY,
        capture_output=True,
        check=False,
        timeout=100,
        env={"PYTHONIOENCODING": "ascii:strict", "PATH": os.environ["PATH"]},
    )

    assert done.returncode == 1
    assert done.stdout.endswith(b"not supported\n")
    assert done.stdout.isascii()
    assert done.stderr == b""


def run_pytest(command: Iterable[str]) -> subprocess.CompletedProcess[str]:
    """Type a command of pytest's in the repository."""
    return subprocess.run(
        [sys.executable, "-m", "pytest", *command],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
