"""Where the token is found, and that it shows nowhere."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from m43.harness.run.hub_access import (
    HubToken,
    every_token,
    find_token,
    flaw,
    hub_cache,
    oddity,
    token_path,
    without_secrets,
)
from tests.unit.harness.conftest import REPOSITORY, TOKEN


@pytest.mark.parametrize(
    ("environment", "source", "value"),
    [
        ({"HF_TOKEN": "one", "HUGGING_FACE_HUB_TOKEN": "two"}, "HF_TOKEN", "one"),
        ({"HF_TOKEN": "", "HUGGING_FACE_HUB_TOKEN": "two"}, "HUGGING_FACE_HUB_TOKEN", "two"),
        ({"HF_TOKEN": " \n", "HUGGING_FACE_HUB_TOKEN": ""}, "absent", ""),
        ({"HF_TOKEN": "one\n"}, "HF_TOKEN", "one"),
        ({}, "absent", ""),
    ],
)
def test_tokens_are_found_in_the_hubs_own_order(
    tmp_path: Path, environment: dict[str, str], source: str, value: str
) -> None:
    """The variables come in order, and an empty one counts as unset."""
    token = find_token({**environment, "HOME": str(tmp_path)})
    assert (token.source, token.value) == (source, value)


def test_a_token_file_is_found_where_the_hub_keeps_it(tmp_path: Path) -> None:
    """HF_TOKEN_PATH, then HF_HOME, then the cache folder name the place."""
    home = tmp_path / "hf"
    home.mkdir()
    (home / "token").write_text("three\n")
    assert find_token({"HF_HOME": str(home)}).source == "token file"
    assert token_path({"HF_TOKEN_PATH": "/a/b"}) == Path("/a/b")
    assert token_path({"XDG_CACHE_HOME": "/c"}) == Path("/c/huggingface/token")
    assert token_path({"HOME": "/h"}) == Path("/h/.cache/huggingface/token")


def test_every_token_that_lies_about_is_known(tmp_path: Path) -> None:
    """A token that is not used can leak as well as one that is."""
    (tmp_path / "token").write_text("three")
    environment = {
        "HF_TOKEN": "one", "HUGGING_FACE_HUB_TOKEN": "two", "HF_HOME": str(tmp_path)
    }  # fmt: skip
    assert [token.value for token in every_token(environment)] == ["one", "two", "three"]


def test_a_token_does_not_show_its_value() -> None:
    """A token in a traceback or an assertion is a token in a log."""
    assert "secret" not in repr(HubToken(source="HF_TOKEN", value="secret"))


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("", ""),
        (TOKEN, ""),
        ("!~aB9xyz", ""),
        ("x.Y/z-1~" * 125, ""),
        ("x.Y/z-1~" * 125 + "w", "characters: 1,001, expected 1,000 at most"),
        ("hf_\u2010abc", "characters outside visible ASCII: 1 of 7"),
        ("hf_ab c\x7f", "characters outside visible ASCII: 2 of 8"),
        ("hf_\r\nX-Other: x", "characters outside visible ASCII: 3 of 15"),
        ("hf_\udcff\ud800", "characters outside visible ASCII: 2 of 5"),
        ("\u200b" * 2000, "characters outside visible ASCII: 2000 of 2000"),
    ],
)
def test_a_token_that_no_request_can_carry_has_a_flaw(value: str, told: str) -> None:
    """How many characters are wrong is told, and none of them."""
    assert flaw(HubToken(source="HF_TOKEN", value=value)) == told


QUOTED = "it begins and ends with a quotation mark"
HALF_QUOTED = "a quotation mark begins or ends it"
VARIABLE = "it begins with the name of a variable"
BEARER = "it begins with the word Bearer"
ESCAPED = "it ends with a line end that is written out"
PLACEHOLDER = "it is a placeholder, as documentations have it"
SHORT = "it is too short, or too like a word, to be searched for in what a run writes"


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (f'"{TOKEN}"', QUOTED),
        (f"'{TOKEN}'", QUOTED),
        (f"`{TOKEN}`", QUOTED),
        (f'"{TOKEN}', HALF_QUOTED),
        (f"{TOKEN}'", HALF_QUOTED),
        (f"Bearer {TOKEN}", BEARER),
        (f"bearer:{TOKEN}", BEARER),
        (f"Authorization: Bearer {TOKEN}", BEARER),
        (f"HF_TOKEN={TOKEN}", VARIABLE),
        (f"export HF_TOKEN={TOKEN}", VARIABLE),
        (f"HF_TOKEN = {TOKEN}", VARIABLE),
        (f"<{TOKEN}>", "it stands in angle brackets"),
        ("$HF_TOKEN", "it names a variable whose value nothing put in its place"),
        (f"https://user:{TOKEN}@huggingface.co", "it is an address"),
        (TOKEN + "\\n", ESCAPED),
        (TOKEN + "\\r", ESCAPED),
        (TOKEN + "%0A", ESCAPED),
        (TOKEN + "%0d", ESCAPED),
        ("your_token_here", PLACEHOLDER),
        ("YOUR-HF-TOKEN", PLACEHOLDER),
        ("hf_your_token", PLACEHOLDER),
        ("hf_put-it-here", PLACEHOLDER),
        ("hf_" + "x" * 34, PLACEHOLDER),
        ("hf_********", PLACEHOLDER),
        ("hf_abc...", PLACEHOLDER),
        ("test", SHORT),
        ("hf_test", SHORT),
        ("password", SHORT),
        ("0123456789", SHORT),
    ],
)
def test_what_stands_around_a_token_or_in_its_place_is_told_by_name(value: str, told: str) -> None:
    """As it comes from an env-file, a header, a documentation; and nothing of it is quoted."""
    assert flaw(HubToken(source="HF_TOKEN", value=value)) == told


@pytest.mark.parametrize(
    "value",
    ["Gd7.k/3+Zq~9-_a==", "ABCDEFGH12==", "bearerx1-Aq9Zw2", "yourX1-Aq9Zw2", "m43-here-Aq9Zw2"],
)
def test_a_token_of_another_hub_is_taken_as_it_is(value: str) -> None:
    """What a request can carry and m43 can search for is the hub's to judge."""
    assert flaw(HubToken(source="HF_TOKEN", value=value)) == ""
    assert oddity(HubToken(source="HF_TOKEN", value=value)) == "it does not begin with hf_"


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("", ""),
        (TOKEN, ""),
        (TOKEN[:-1], "it has 36 characters and not 37"),
        (TOKEN[:-1] + "-", "it holds characters that are neither letters nor digits"),
    ],
)
def test_a_form_that_the_hub_does_not_issue_is_a_hint(value: str, told: str) -> None:
    """One character that was not copied makes a token that is refused."""
    assert oddity(HubToken(source="HF_TOKEN", value=value)) == told


@pytest.mark.parametrize(
    ("variables", "place"),
    [
        ({"HF_HUB_CACHE": "/a"}, "/a"),
        ({"HUGGINGFACE_HUB_CACHE": "/b", "HF_HOME": "/c"}, "/b"),
        ({"HF_HOME": "/c"}, "/c/hub"),
        ({"HF_HOME": ""}, "hub"),
        ({"HF_HOME": "$HOME/x-${HOME}"}, "/h/x-/h/hub"),
        ({"HF_HOME": "/$NOBODY/${}"}, "/$NOBODY/${}/hub"),
        ({"HF_HUB_CACHE": ""}, "."),
        ({"XDG_CACHE_HOME": ""}, "huggingface/hub"),
        ({"XDG_CACHE_HOME": "~"}, "HOME/huggingface/hub"),
        ({}, "/h/.cache/huggingface/hub"),
    ],
)
def test_the_cache_is_where_the_client_has_it(variables: dict[str, str], place: str) -> None:
    """Word for word: what the client itself says is asked in a process of its own."""
    home = {"HOME": "/h", **variables}
    assert str(hub_cache(home)) == place.replace("HOME", os.path.expanduser("~"))  # noqa: PTH111
    code = "from huggingface_hub import constants; print(constants.HF_HUB_CACHE or '.')"
    asked = subprocess.run(
        [sys.executable, "-c", code], env=home, capture_output=True, text=True, check=True
    )
    assert asked.stdout.strip() == place.replace("HOME", "/h")


def test_a_token_file_that_would_never_end_is_none(tmp_path: Path) -> None:
    """A pipe, a device, a folder, a home of nobody, bytes that are no text: no token, no wait."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")

    for path in (tmp_path / "pipe", Path("/dev/zero"), tmp_path, tmp_path / "binary"):
        assert find_token({"HF_TOKEN_PATH": str(path)}).source == "absent"
    for name in ("HF_TOKEN_PATH", "HF_HOME", "XDG_CACHE_HOME", "HOME"):
        assert find_token({"HOME": str(tmp_path), name: "~nobody-has-this-name"}).source == "absent"
    assert find_token({"HOME": str(tmp_path), "HF_TOKEN_PATH": "a\0b"}).source == "absent"


def test_a_run_takes_its_secrets_out_of_its_own_variables() -> None:
    """What is started later inherits none, and the kernel's copy shows none to its neighbours."""
    code = (
        "import os; from pathlib import Path\n"
        "from m43.harness.run.hub_access import take_secrets\n"
        "taken = take_secrets(os.environ)\n"
        "print(sorted(taken[name] for name in ('HF_TOKEN', 'COPY', 'https_proxy')))\n"
        "print(sorted({'HF_TOKEN', 'COPY', 'https_proxy', 'LANG'} & os.environ.keys()))\n"
        "print(os.popen('env').read(), Path('/proc/self/environ').read_text())\n"
    )
    proxy = "http://me:Winter26-night@proxy:3128"
    said = subprocess.run(
        [sys.executable, "-c", code],
        env={"HF_TOKEN": TOKEN, "COPY": f"x{TOKEN}", "https_proxy": proxy, "LANG": "C"},
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    taken, left, *rest = said.splitlines()

    assert taken == str(sorted([TOKEN, f"x{TOKEN}", proxy]))
    assert left == "['LANG']"
    assert "LANG=C" in rest[0] + rest[1] + rest[2]
    assert not any(secret in "".join(rest) for secret in (TOKEN, "Winter26"))


def test_a_variable_that_holds_no_secret_is_left_to_everybody() -> None:
    """The token goes by its name, also one that cannot be searched for; a copy by its value."""
    environment = {"HF_TOKEN": "token", "PATH": "/bin", "COPY": TOKEN, "NO_PROXY": "localhost"}
    assert without_secrets(environment) == {"PATH": "/bin", "NO_PROXY": "localhost"}
