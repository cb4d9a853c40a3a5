"""No form of the token survives redaction, and none is overlooked in a file."""

import base64
import io
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from m43.evidence import secrets
from m43.evidence.redaction import REDACTED, forms, holds_secret, redact

SECRET = "s3cr3t/with+odd=signs"
TOKEN = "hf_" + "Ab3" * 11


def in_base64(before: str, after: str) -> str:
    """Encode the secret in the midst of other text, as an Authorization header does."""
    return base64.b64encode(f"{before}{SECRET}{after}".encode()).decode()


@pytest.mark.parametrize(
    "text",
    [
        SECRET,
        quote(SECRET, safe=""),
        base64.b64encode(SECRET.encode()).decode(),
        in_base64("user:", ""),
        in_base64("a", "bc"),
        in_base64("ab", "c"),
        f"Bearer {TOKEN}",
        f"https://user:{TOKEN}@hub/",
    ],
)
def test_every_form_of_a_secret_is_redacted_and_found(text: str) -> None:
    """Plain, URL-encoded, base64 at any alignment, or shaped like a hub token."""
    clean = redact(f"before {text} after", [SECRET])

    assert REDACTED in clean
    assert clean.startswith("before ")
    assert clean.endswith(" after")
    assert holds_secret(text.encode(), [SECRET])
    assert not holds_secret(clean.encode(), [SECRET])


def test_what_is_no_secret_stays() -> None:
    """Words that begin like a token and are none are left alone, and an empty secret is none."""
    text = "hf_hub_download, hf_transfer, HF_TOKEN"

    assert redact(text, ["", "abc"]) == text
    assert forms("") == ()


def test_a_secret_that_a_line_end_cuts_is_found() -> None:
    """As a log breaks it, with the indent of the next line; not if anything else is between."""
    cut = f"{SECRET[:9]}\r\n\t  {SECRET[9:]}".encode()
    assert holds_secret(cut, [SECRET])
    assert not holds_secret(cut.replace(b"\t", b"-"), [SECRET])


def test_a_secret_of_four_signs_is_one() -> None:
    """And one of three would be found in half of every text."""
    assert "a4.z" in forms("a4.z")
    assert forms("a4.") == ()


@given(secret=st.text(min_size=8, max_size=40), before=st.text(), after=st.text())
def test_redaction_leaves_no_plain_secret(secret: str, before: str, after: str) -> None:
    """Whatever stands around it, the secret itself is gone."""
    clean = redact(before + secret + after, [secret])

    assert secret not in clean.replace(REDACTED, "\n") or secret in REDACTED


def test_the_search_names_the_files_that_hold_a_secret(tmp_path: Path) -> None:
    """Also below folders, in binary files, across a line break and across the pieces read."""
    (tmp_path / "model").mkdir()
    (tmp_path / "clean.txt").write_text("nothing here: hf_short")
    (tmp_path / "model" / "weights").write_bytes(b"\x00\xff" + SECRET.encode() + b"\x00")
    (tmp_path / "wrapped.log").write_text(f"{TOKEN[:20]}\n  {TOKEN[20:]}")
    half = (1 << 24) - 10
    (tmp_path / "large").write_bytes(b"." * half + SECRET.encode() + b"." * 100)

    found = secrets.search(tmp_path, [SECRET])

    assert [path.name for path in found] == ["large", "weights", "wrapped.log"]


def test_pieces_overlap_by_more_than_a_secret_is_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A secret across the border of two pieces is found, wherever the border falls in it."""
    monkeypatch.setattr(secrets, "_PIECE_BYTES", 64)
    monkeypatch.setattr(secrets, "_OVERLAP_BYTES", 40)
    for before in range(64 - 39, 64):
        (tmp_path / "file").write_bytes(b"." * before + SECRET.encode() * 2 + b"." * 9)
        assert secrets.search(tmp_path, [SECRET * 2]) == (tmp_path / "file",)


def test_a_large_file_is_never_read_as_a_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights are larger than the memory; and what is only near a secret is none."""
    asked: list[int | None] = []

    class Watched(io.BytesIO):
        def read(self, size: int | None = None) -> bytes:
            asked.append(size)
            return super().read(size)

    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setattr(Path, "open", lambda path, mode: Watched(SECRET.encode()[1:]))
    assert secrets.search(tmp_path, [SECRET]) == ()
    assert asked == [1 << 24, 1 << 24]
