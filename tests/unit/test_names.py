"""Names from outside become paths and addresses only if they are plain."""

import pytest

from m43.text import is_address, is_folder_name, is_path, is_repository


@pytest.mark.parametrize("name", ["m43_v1", "rehearsal-20260101T000000Z", "a.b", "x" * 96])
def test_a_plain_name_is_a_folder_name(name: str) -> None:
    """Letters, digits, dots, hyphens and underscores."""
    assert is_folder_name(name)


@pytest.mark.parametrize(
    "name", ["", ".", "..", ".hidden", "-rf", "a/b", "a b", "é", "a\n", "a\0", "x" * 97]
)
def test_another_name_is_none(name: str) -> None:
    """It could leave its place, be taken for an option, or not exist."""
    assert not is_folder_name(name)


def test_a_repository_is_owner_and_name() -> None:
    """As the hub writes them."""
    assert is_repository("google/gemma-2b")
    for name in ("gemma", "a/b/c", "../..", "a/..", "/b", "a/", "a/b\n", "a--b/c", "a/b..c", "@/b"):
        assert not is_repository(name)


@pytest.mark.parametrize(
    "address", ["https://huggingface.co", "http://127.0.0.1:8080", "http://[::1]:1/hub"]
)
def test_a_hub_has_an_address(address: str) -> None:
    """A scheme, a host, perhaps a port and a path."""
    assert is_address(address)


@pytest.mark.parametrize(
    "address",
    [
        *("", "hub", "file:///etc/passwd", "https://", "https:///x", "ftp://host"),
        *("https://user:word@host", "https://hf_x@host", "https://host?token=x", "https://host#x"),
        *("https://host\n", "https://ho st", "https://h\u00f6st", "http://[::1", "http://h:port"),
        *("http://h:99999", "javascript:alert(1)", "https://h\x1b[31m"),
    ],
)
def test_another_text_is_no_address(address: str) -> None:
    """Above all none that carries a password into every record."""
    assert not is_address(address)


@pytest.mark.parametrize("text", ["../data/rows.jsonl", "/a/é b", "a" * 255, "a/" * 1000])
def test_a_path_may_lead_anywhere(text: str) -> None:
    """It is a person's own."""
    assert is_path(text)


@pytest.mark.parametrize("text", ["", "a\0b", "a\nb", "\x1b[2J", "a" * 256, "é" * 128, "a/" * 1025])
def test_what_no_system_can_open_is_no_path(text: str) -> None:
    """Its name is too long, or it would steer the terminal that shows it."""
    assert not is_path(text)
