"""No form of the token survives redaction, and none is overlooked in a file."""

import base64
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
