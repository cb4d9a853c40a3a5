"""Secrets: known in text, taken out of it, and searched for before a folder is sealed."""

import base64
import functools
import html
import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from urllib.parse import quote, quote_plus

REDACTED = "[REDACTED]"

# Source: Hugging Face user access tokens are "hf_" and letters and digits, 34 at present.
_HUB_TOKEN = re.compile(rb"hf_(?=([A-Za-z0-9]{20}))")
# What is shorter, has fewer characters that differ or is a word stands in innocent text as well:
# a run would be refused, and half of a log hidden, for the sake of "pass" or "test".
_SHORTEST = 8
_FEWEST_DIFFERENT = 5
_WORD = re.compile(r"[A-Za-z]?(?:[a-z._-]{0,14}|[A-Z._-]{0,14})|[0-9]{0,15}")
# Of a longer text the beginning is looked for as a whole and the rest in pieces, so that the time
# that it takes has an end; a variable may hold a book, and no server takes a header like that.
_LONGEST, _LONGEST_IN_PIECES = 500, 4000
# What somebody else has cut is hidden from this many letters in a row on; fewer stand in digests.
_PIECE = 10
# What a line break, with the indentation around it, may put between two letters of a secret; in
# JSON and in a repr it is written as an escape.
_BREAK = r"(?:[ \t]*(?:[\r\n]|\\[rn])+[ \t]*)?"
# On one line first: so a whole token at the end of its line does not take the next line with it.
_TOKENS = r"hf_[A-Za-z0-9]{20,}", rf"h{_BREAK}f{_BREAK}_(?:{_BREAK}[A-Za-z0-9]){{20,}}"
# Name and password in an address, up to the last @ before its path as readers of addresses have
# it: hidden by where it stands, so that a password that is also a word is hidden too.
_LOGIN = r"""(?<=://)[^\s/?#:@"<>]*:[^\s/?#"<>]*(?=@)"""
_TOKEN_LETTERS = 24
_BEGUN_SHAPE = re.compile(rb"(?:h|hf|hf_[A-Za-z0-9]{0,19})\Z")


def is_searchable(secret: str) -> bool:
    """Tell whether a secret would hardly be found in a text that is not about it.

    Example:
        >>> [is_searchable(text) for text in ("pass", "Training", "aaaa1111", "Winter26")]
        [False, False, False, True]
    """
    varied = len(secret) >= _SHORTEST and len(set(secret)) >= _FEWEST_DIFFERENT
    return varied and _WORD.fullmatch(secret) is None


def forms(secret: str) -> tuple[str, ...]:
    """Give the ways in which a secret may be written.

    Plain, URL-encoded, base64 and hexadecimal, and as it stands in JSON, in Python's repr and in
    HTML or XML. Not what somebody does on purpose: reversed, encrypted, one letter at a time.
    None of a secret that cannot be searched for.
    """
    return _written(secret[:_LONGEST]) if is_searchable(secret) else ()


def _written(secret: str) -> tuple[str, ...]:
    data = secret.encode(errors="surrogateescape")
    in_json = json.dumps(secret)[1:-1]
    urls = (quote(data, safe=""), quote_plus(data))
    encoded = [secret, *urls, *(re.sub("%..", lambda code: code[0].lower(), url) for url in urls)]
    encoded += [data.hex(), data.hex().upper()]
    encoded += [in_json, in_json.replace("/", "\\/"), json.dumps(secret, ensure_ascii=False)[1:-1]]
    encoded += [repr(secret)[1:-1], html.escape(secret), html.escape(secret, quote=False)]
    for code in (base64.b64encode, base64.urlsafe_b64encode):
        # In the middle of a longer text a secret is encoded at one of three alignments; what
        # does not depend on its neighbours is the same each time.
        for shift in range(3):
            text = code(b"\0" * shift + data).decode()
            start = -(-shift * 4 // 3)
            end = (shift + len(data)) * 8 // 6
            encoded.append(text[start:end])
    # Longest first, so that no form is replaced inside a longer one.
    return tuple(sorted(set(encoded), key=lambda form: (-len(form), form)))


def redact(text: str, secrets: Iterable[str]) -> str:
    """Replace every form of the secrets, logins in addresses, and what is shaped like a hub token.

    Also where a line ends in the middle of one, and what is left of one where somebody has cut it.
    """
    values = tuple(secrets)
    if _is_suspect(text, values):
        text = _without_whole(text, values)
    return _without_pieces(text, values)


def _is_suspect(text: str, secrets: tuple[str, ...]) -> bool:
    """Tell whether a text may hold a whole secret: to look closely at every line takes long."""
    if "://" in text or _has_own_breaks(secrets):
        return True
    # A hub's JSON may hold halves of surrogate pairs, which are no bytes of anything.
    return holds_secret(text.encode(errors="replace"), secrets) or not text.isascii()


def _without_whole(text: str, secrets: tuple[str, ...]) -> str:
    pattern, pieces, at = _pattern(secrets), [], 0
    while match := pattern.search(text, at):
        if match["token"] is None or _holds_token(_joined(match[0].encode())):
            pieces += [text[at : match.start()], REDACTED]
            at = match.end()
        else:
            # A placeholder of a documentation; a secret may begin in it all the same.
            pieces.append(text[at : match.start() + 1])
            at = match.start() + 1
    return "".join((*pieces, text[at:]))


def _without_pieces(text: str, secrets: tuple[str, ...]) -> str:
    """Hide what stands in the text of a secret that was shortened before it came here."""
    known, pieces, kept, at = _pieces(secrets), [], 0, 0
    places = range(len(text) - _PIECE + 1)
    if known.isdisjoint([text[at : at + _PIECE] for at in places]):
        return text
    while at in places:
        end = at + _PIECE
        if text[at:end] not in known:
            at += 1
            continue
        while text[end + 1 - _PIECE : end + 1] in known:
            end += 1
        pieces += [text[kept:at], REDACTED]
        kept = at = end
    return "".join((*pieces, text[kept:]))


def begins_secret(text: str, secrets: Iterable[str]) -> bool:
    """Tell whether the end of a text may be the beginning of a secret that goes on."""
    values = tuple(secrets)
    beginnings = _beginnings(values)
    tail = _joined(text[-_OVERLAP_BYTES:].encode(errors="surrogateescape"))[-_longest(values) :]
    return _BEGUN_SHAPE.search(tail) is not None or not beginnings.isdisjoint(
        [tail[at:] for at in range(len(tail))]
    )


def holds_secret(data: bytes, secrets: Iterable[str]) -> bool:
    """Tell whether bytes hold a secret in any form, also broken by line ends."""
    needles = _needles(tuple(secrets))
    # In bytes and one by one: weights are searched too, and this is ten times as fast as _pattern.
    return any(
        _holds_token(view) or any(needle in view for needle in needles)
        for view in (data, _joined(data))
    )


def _holds_token(data: bytes) -> bool:
    """Tell a hub token from what documentations write in its place: one letter, again and again."""
    return any(len(set(letters)) >= _FEWEST_DIFFERENT for letters in _HUB_TOKEN.findall(data))


def _joined(data: bytes) -> bytes:
    """Leave line breaks out, with the indentation around them."""
    for written in (b"\\r", b"\\n", b"\r"):
        data = data.replace(written, b"\n")
    return b"".join(line.strip(b" \t") for line in data.split(b"\n"))


@functools.lru_cache(maxsize=16)
def _every_form(secrets: tuple[str, ...]) -> tuple[str, ...]:
    every = {form for secret in secrets for form in forms(secret)}
    return tuple(sorted(every, key=lambda form: (-len(form), form)))


@functools.lru_cache(maxsize=16)
def _needles(secrets: tuple[str, ...]) -> tuple[bytes, ...]:
    return tuple(form.encode(errors="surrogateescape") for form in _every_form(secrets))


@functools.lru_cache(maxsize=16)
def _longest(secrets: tuple[str, ...]) -> int:
    return max((_TOKEN_LETTERS, *map(len, _needles(secrets))))


@functools.lru_cache(maxsize=16)
def _beginnings(secrets: tuple[str, ...]) -> frozenset[bytes]:
    needles = _needles(secrets)
    return frozenset(each[:length] for each in needles for length in range(1, len(each)))


@functools.lru_cache(maxsize=16)
def _pieces(secrets: tuple[str, ...]) -> frozenset[str]:
    known = (secret[:_LONGEST_IN_PIECES] for secret in secrets if is_searchable(secret))
    texts = (form for secret in known for form in _written(secret))
    pieces = (text[at : at + _PIECE] for text in texts for at in range(len(text) - _PIECE + 1))
    return frozenset(filter(is_searchable, pieces))


@functools.lru_cache(maxsize=16)
def _has_own_breaks(secrets: tuple[str, ...]) -> bool:
    """Tell whether a secret itself holds what is left out to find one that a line end breaks."""
    return any(
        mark in form for form in _every_form(secrets) for mark in ("\\", "\n", "\r", " ", "\t")
    )


@functools.lru_cache(maxsize=16)
def _pattern(secrets: tuple[str, ...]) -> re.Pattern[str]:
    broken = (_BREAK.join(map(re.escape, form)) for form in _every_form(secrets))
    return re.compile("|".join((*broken, _LOGIN, f"(?P<token>{'|'.join(_TOKENS)})")))


# Read in pieces, because weights are large; the pieces overlap by more than any secret is long.
_PIECE_BYTES = 1 << 24
_OVERLAP_BYTES = 1 << 14


def search(folder: Path, secrets: Iterable[str]) -> tuple[Path, ...]:
    """List the files below a folder that hold a secret, or something shaped like a hub token."""
    values = tuple(secrets)
    paths = sorted(folder.rglob("*"))
    return tuple(path for path in paths if path.is_file() and _holds_secret(path, values))


def lines_with_secret(path: Path, secrets: Iterable[str]) -> tuple[int, ...]:
    """Number the lines of a file that hold a secret; 0 stands for one that a line end breaks."""
    values = tuple(secrets)
    if not _holds_secret(path, values):
        return ()
    with path.open("rb") as file:
        found = tuple(number for number, line in enumerate(file, 1) if holds_secret(line, values))
    return found or (0,)


def _holds_secret(path: Path, secrets: Sequence[str]) -> bool:
    kept = b""
    with path.open("rb") as file:
        while piece := file.read(_PIECE_BYTES):
            if holds_secret(kept + piece, secrets):
                return True
            kept = piece[-_OVERLAP_BYTES:]
    return False
