"""Where the token is found, and that it shows nowhere."""

import os
from pathlib import Path

import pytest

from m43.harness.hub_token import HubToken, every_token, find_token, flaw, token_path


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
        ("hf_" + "a" * 34, ""),
        ("!~", ""),
        ("a" * 1000, ""),
        ("a" * 1001, "characters: 1,001, expected 1,000 at most"),
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


def test_a_token_file_that_would_never_end_is_none(tmp_path: Path) -> None:
    """A pipe, a device, a folder, a home of nobody, bytes that are no text: no token, no wait."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")

    for path in (tmp_path / "pipe", Path("/dev/zero"), tmp_path, tmp_path / "binary"):
        assert find_token({"HF_TOKEN_PATH": str(path)}).source == "absent"
    for name in ("HF_TOKEN_PATH", "HF_HOME", "XDG_CACHE_HOME", "HOME"):
        assert find_token({"HOME": str(tmp_path), name: "~nobody-has-this-name"}).source == "absent"
    assert find_token({"HOME": str(tmp_path), "HF_TOKEN_PATH": "a\0b"}).source == "absent"
