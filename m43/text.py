"""Text from outside: bytes as UTF-8, words without control characters, ASCII, plain names."""

import re
import reprlib
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

_LONGEST_VALUE = 80

# Controls; marks that turn the writing direction or have no width; halves of surrogate pairs,
# which no encoding can write.
STEERING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]"
)

# Source: ECMA-48: control sequences, operating system commands, and the escapes of two letters.
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\^_])")


def visible(text: str) -> str:
    """Replace what steers instead of saying; keep tabs and line feeds."""
    return STEERING.sub("\N{REPLACEMENT CHARACTER}", text.replace("\r\n", "\n"))


def without_escapes(text: str) -> str:
    r"""Remove the escape sequences that colour a terminal, move its cursor or name its window.

    Example:
        >>> without_escapes("\x1b[1;31mred\x1b[0m")
        'red'
    """
    return _ESCAPES.sub("", text)


def clipped(text: str, most: int) -> str:
    """Cut a text that is longer, and say by how much.

    Example:
        >>> clipped("abcdef", 4)
        'abcd [and 2 more characters]'
    """
    more = len(text) - most
    return f"{text[:most]} [and {more} more characters]" if more > 0 else text


def one_line(text: str, most: int) -> str:
    """Write a text on one line that is not longer than can be read."""
    return " ".join(visible(clipped(text, most)).split())


def brief(value: object) -> str:
    """Show the beginning of a value as Python writes it, however large or deep it is.

    Example:
        >>> brief([1, "a"])
        "[1, 'a']"
    """
    text = _Brief().repr(value)
    return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 3]}..."


class _Brief(reprlib.Repr):
    """Stops in time: Python's own repr writes all of it, or fails."""

    def __init__(self) -> None:
        super().__init__()
        self.maxstring = self.maxother = 200
        self.maxlist = self.maxtuple = self.maxdict = 20

    def repr_int(self, x: int, level: int) -> str:
        # Python refuses to write a number of thousands of digits.
        return repr(x) if x.bit_length() <= 200 else f"a number of {x.bit_length()} bits"


_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-@")
# Source: huggingface_hub 2.4, utils/_validators.py; most file systems allow 255 bytes.
_LONGEST = 96
# Source: Linux, limits.h: NAME_MAX, and half of PATH_MAX: the folder it starts in comes before it.
_LONGEST_PART_BYTES, _LONGEST_PATH_BYTES = 255, 2048


def is_folder_name(name: str) -> bool:
    """Return whether a name is one plain folder name, so that it cannot leave its place."""
    if not 0 < len(name) <= _LONGEST:
        return False
    return set(name) <= _PLAIN and not name.startswith((".", "-"))


def is_repository(name: str) -> bool:
    """Return whether a name is `owner/name` as the hub writes it."""
    parts = name.split("/")
    plain = all(is_folder_name(part) and "@" not in part for part in parts)
    # The hub has neither; in its cache "--" stands for the slash.
    return len(parts) == 2 and plain and "--" not in name and ".." not in name


def is_weight_file(name: str) -> bool:
    """Return whether a file of a model's folder holds weights."""
    return name.endswith(".safetensors")


def is_address(text: str) -> bool:
    """Return whether a text is the address of a hub, and nothing beside it.

    An address with a name and a password in it would be written into every record.
    """
    if not text.isascii() or not text.isprintable() or " " in text:
        return False
    try:
        parts = urlsplit(text)
        # Read so that it is checked: a port that is no number raises here.
        named = bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    plain = not (parts.query or parts.fragment or "@" in parts.netloc)
    return parts.scheme in ("http", "https") and named and plain


def is_path(text: str) -> bool:
    """Return whether a text can be a path at all."""
    data = text.encode(errors="surrogateescape") if text.isprintable() else b""
    parts = data.split(b"/")
    return 0 < len(data) <= _LONGEST_PATH_BYTES and max(map(len, parts)) <= _LONGEST_PART_BYTES


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
    r"""Recognise a file that is no UTF-8 text by its first bytes; None for what may be text.

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


def counted(number: int, noun: str) -> str:
    """Write a number and its noun, in the plural unless it is one.

    Example:
        >>> counted(1, "claim"), counted(2_400, "row"), counted(0, "box")
        ('1 claim', '2,400 rows', '0 boxes')
    """
    plural = f"{noun}es" if noun.endswith(("x", "s", "ch", "sh")) else f"{noun}s"
    return f"{number:,} {noun if number == 1 else plural}"


_MIB = 2**20


def size_words(size_bytes: float) -> str:
    """Write a size: GiB with two digits, below one of them MiB with one digit.

    Memory, files and disks alike, so that a download can be held against the disk and the same
    peak reads the same everywhere. Powers of 1024, as nvidia-smi, XLA and `df -h` count; the hub's
    pages count in GB (1 GB is 0.93 GiB). Only a rate (GB/s) keeps its maker's unit.

    Example:
        >>> size_words(32 * 2**30), size_words(1_300_000)
        ('32.00 GiB', '1.2 MiB')
    """
    mib = size_bytes / _MIB
    return f"{mib / 1024:.2f} GiB" if mib >= 1024 else f"{mib:.1f} MiB"


def duration_words(seconds: float, *, whole: bool = False) -> str:
    """Write a duration as a person says it; the time of one step keeps its own digits.

    Args:
        seconds: the duration.
        whole: without parts of a second, for a line that moves.

    Example:
        >>> [duration_words(each) for each in (0, 0.25, 42.04, 59.97, 75.0, 3725.0)]
        ['0.0 s', '0.25 s', '42.0 s', '1 min 00 s', '1 min 15 s', '1 h 02 min']
        >>> duration_words(42.04, whole=True)
        '42 s'
    """
    if round(seconds, 0 if whole else 1) < 60:
        digits = 0 if whole else 2 if 0 < seconds < 1 else 1
        return f"{seconds:.{digits}f} s"
    minutes, left = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {left:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


# What m43's own texts use; anything else is written as an escape, never left out.
_ASCII = str.maketrans(
    {
        "\N{HORIZONTAL ELLIPSIS}": "...",
        "\N{EN DASH}": "-",
        "\N{EM DASH}": "-",
        "\N{LEFT SINGLE QUOTATION MARK}": "'",
        "\N{RIGHT SINGLE QUOTATION MARK}": "'",
        "\N{LEFT DOUBLE QUOTATION MARK}": '"',
        "\N{RIGHT DOUBLE QUOTATION MARK}": '"',
        "\N{REPLACEMENT CHARACTER}": "?",
    }
)


def ascii_text(text: str) -> str:
    r"""Write a text in ASCII, on one line, without anything that steers a terminal.

    Example:
        >>> ascii_text("export HF_TOKEN=\u2026\x1b[2J")
        'export HF_TOKEN=...?[2J'
    """
    line = " ".join(visible(text).split()).translate(_ASCII)
    return line.encode("ascii", "backslashreplace").decode()
