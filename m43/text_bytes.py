"""Bytes that should be UTF-8 text: read as text, or named for what they are instead."""

from collections.abc import Callable
from dataclasses import dataclass

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
BINARY = "binary data"
# What a program looks at to know a file by its beginning.
_BEGINNING = 1024
_SAVE = "save it as UTF-8 without a byte order mark"


@dataclass(frozen=True, kw_only=True)
class OtherKind:
    """What some bytes are instead of text, and what to do about it."""

    found: str
    action: str


class NotTextError(ValueError):
    """Bytes that are no UTF-8 text; `action` says what to do where the kind is known."""

    def __init__(self, found: str, action: str) -> None:
        super().__init__(found)
        self.action = action


def read_text(data: bytes) -> str:
    """Decode a text that others read too; a byte order mark is refused, as they refuse it.

    Raises:
        NotTextError: which names what the bytes are instead.
    """
    if data.startswith(BYTE_ORDER_MARK):
        raise NotTextError("a byte order mark at its beginning", _SAVE)
    other = other_kind(data)
    if other is not None:
        raise NotTextError(other.found, other.action)
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        found = f"bytes that are not UTF-8 ({error.reason}, at byte {error.start})"
        raise NotTextError(found, _SAVE) from error


def without_mark(data: bytes) -> bytes:
    """Leave out the byte order mark that some editors write before UTF-8; it says nothing."""
    return data.removeprefix(BYTE_ORDER_MARK)


def other_kind(data: bytes) -> OtherKind | None:
    r"""Know a file that is no UTF-8 text by its first bytes; None for what may be text.

    Example:
        >>> other_kind(b"\x1f\x8b\x08\x00").found
        'a gzip file'

    Sources: RFC 1952, RFC 8878, the XZ and bzip2 formats, PKWARE's APPNOTE, Apache Parquet's
    file format, the Git LFS specification (docs/spec.md); The Unicode Standard, 23.8, for marks.
    """
    beginning = data[:_BEGINNING]
    return next((kind for begins, kind in _KINDS if begins(beginning)), None)


def _starts(*magic: bytes) -> Callable[[bytes], bool]:
    return lambda beginning: beginning.startswith(magic)


def _is_page(beginning: bytes) -> bool:
    text = without_mark(beginning).lstrip().lower()
    return text.startswith((b"<!doctype html", b"<html", b"<?xml", b"<head", b"<body"))


def _is_utf_16(beginning: bytes) -> bool:
    # Without its mark: every other byte of what is mostly ASCII is 0.
    even, odd = beginning[0:64:2], beginning[1:64:2]
    return len(odd) > 1 and any(
        all(letters) and not any(zeros) for letters, zeros in ((even, odd), (odd, even))
    )


def _packed(name: str, how: str) -> OtherKind:
    return OtherKind(found=name, action=f"unpack it first ({how})")


_WIDE = OtherKind(
    found="text in UTF-16 or UTF-32, as PowerShell's > and Notepad's Unicode write it",
    action="save it as UTF-8 (in PowerShell: Get-Content OLD | Set-Content -Encoding utf8 NEW)",
)
_KINDS = (
    (_starts(b"\xff\xfe", b"\xfe\xff", b"\x00\x00\xfe\xff"), _WIDE),
    (_is_utf_16, _WIDE),
    (_starts(b"\x1f\x8b"), _packed("a gzip file", "gunzip")),
    (_starts(b"PK\x03\x04", b"PK\x05\x06"), _packed("a zip archive", "unzip")),
    (_starts(b"\x28\xb5\x2f\xfd"), _packed("a Zstandard file", "unzstd")),
    (_starts(b"\xfd7zXZ\x00"), _packed("an xz file", "unxz")),
    (_starts(b"BZh"), _packed("a bzip2 file", "bunzip2")),
    (
        _starts(b"PAR1"),
        OtherKind(found="a Parquet file", action="export its rows as JSON Lines"),
    ),
    (
        _starts(b"version https://git-lfs.github.com/spec/"),
        OtherKind(
            found="a Git LFS pointer in place of the file", action="fetch the file: git lfs pull"
        ),
    ),
    (
        _is_page,
        OtherKind(
            found="a web page",
            action="fetch the file again: a page, of a login perhaps, was saved in its place",
        ),
    ),
    (
        lambda beginning: b"\x00" in beginning[:16],
        OtherKind(found=BINARY, action="name a file of text"),
    ),
)
