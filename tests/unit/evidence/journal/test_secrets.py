"""No form of the token survives redaction, and none is overlooked in a file."""

import base64
import html
import io
import json
import random
import string
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote
from xml.sax.saxutils import escape

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from m43.evidence.journal import secrets
from m43.evidence.journal.secrets import (
    REDACTED,
    begins_secret,
    forms,
    holds_secret,
    is_searchable,
    redact,
)
from tests.unit.fuzzing import hostile

SECRET = "s3cr3t/with+odd=signs"
TOKEN = "hf_" + "Ab3Cd" * 7
SECRETS = st.text(min_size=8, max_size=40).filter(is_searchable)


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


@pytest.mark.parametrize("between", ["\x0b\n", "X\n", " ", "\\n\x0c", "r\n"])
def test_only_line_ends_and_spaces_may_stand_between(between: str) -> None:
    """What is cut by anything else is not the secret."""
    assert not holds_secret(f"{SECRET[:9]}{between}{SECRET[9:]}".encode(), [SECRET])


@pytest.mark.parametrize("between", ["\\r\\n", "\\n  ", "\\r", "\r", "\n"])
def test_a_line_end_may_be_written_as_an_escape(between: str) -> None:
    """As JSON and repr write it, each kind by itself."""
    assert holds_secret(f"{SECRET[:9]}{between}{SECRET[9:]}".encode(), [SECRET])


def test_the_forms_of_a_secret_are_these_and_no_others() -> None:
    """Written out, longest first: a form that is cut short would leave a part of the secret."""
    assert forms("k/ü +\"'<") == (
        "k%2F%C3%BC%20%2B%22%27%3C",  # in an address
        "k%2f%c3%bc%20%2b%22%27%3c",
        "k%2F%C3%BC+%2B%22%27%3C",  # in a query
        "k%2f%c3%bc+%2b%22%27%3c",
        "k/ü +&quot;&#x27;&lt;",  # in HTML
        "6B2FC3BC202B22273C",
        "6b2fc3bc202b22273c",
        "k\\/\\u00fc +\\\"'<",  # in JSON, as PHP and as Python write it
        "k/\\u00fc +\\\"'<",
        "ay/DvCArIic8",  # in base64, at its beginning
        "ay_DvCArIic8",
        "k/ü +\"'&lt;",  # in XML
        "rL8O8ICsiJz",  # in base64, behind one byte, and behind two
        "svw7wgKyInP",
        "k/ü +\"\\'<",  # in a repr
        "k/ü +\\\"'<",  # in JSON that keeps its letters
        "k/ü +\"'<",
    )


def test_nothing_is_put_before_the_first_byte_of_a_file(tmp_path: Path) -> None:
    """The end of a secret at the beginning of a file is no secret."""
    (tmp_path / "file").write_bytes(SECRET.encode())
    assert secrets.search(tmp_path, [f"XXXX{SECRET}"]) == ()


@pytest.mark.parametrize(
    "word",
    ["pass", "test", "Win26", "Winter2", "password", "Password", "PASSWORD", "change-me",
     "hf_token", "no.such_word-is", "20260102", "123456789012345", "hf_xxxxxxxx", "abcd" * 9,
     "hf_" + "x" * 34],
)  # fmt: skip
def test_what_is_also_a_word_is_not_searched_for(word: str) -> None:
    """It stands in innocent text: half of a log would be hidden, and a good run refused."""
    assert not is_searchable(word)
    assert forms(word) == ()
    assert redact(f"a {word} b", [word]) == f"a {word} b"
    assert not holds_secret(word.encode(), [word])


@pytest.mark.parametrize(
    "secret",
    ["Winter26", "pAssword", "winter-26", "PASSwords", "1234abcd", "abcde!!!", "a1b2c!!!",
     "no.such_word-is-", "NO.SUCH_WORD-IS-", "1234567890123456", "w\xf6rterbuch"],
)  # fmt: skip
def test_what_is_no_word_is_searched_for(secret: str) -> None:
    """Eight characters, five of them different, not all of one kind; or more than a word has."""
    assert is_searchable(secret)
    assert redact(f"a {secret} b", [secret]) == f"a {REDACTED} b"
    assert holds_secret(secret.encode(), [secret])


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("http://user:pass@proxy:3128 failed", f"http://{REDACTED}@proxy:3128 failed"),
        ("socks5://:pass@proxy", f"socks5://{REDACTED}@proxy"),
        ("http://user:p@ss:w@proxy/a:b@c", f"http://{REDACTED}@proxy/a:b@c"),
        ("'http://user:it's@proxy'", f"'http://{REDACTED}@proxy'"),
        ('["http://a:b@c", "d:e@f"]', f'["http://{REDACTED}@c", "d:e@f"]'),
        ("http://a:b@c http://d:e@f", f"http://{REDACTED}@c http://{REDACTED}@f"),
    ],
)
def test_a_login_in_an_address_is_hidden_whatever_it_is(text: str, clean: str) -> None:
    """Its place tells it, so that a password which is also a word is hidden as well."""
    assert redact(text, ()) == clean


@pytest.mark.parametrize(
    "text",
    ["http://127.0.0.1:8080/x@y", "http://host:80?a=b@c", "http://host:80#a@b", "http://user@host",
     "a:b@c", "mailto:a:b@c", '"http://host:80" a@b', "<http://host:80> a@b", "http://host:80 a@b"],
)  # fmt: skip
def test_an_address_without_a_password_stays(text: str) -> None:
    """What stands behind its host, or in another text, is no login."""
    assert redact(text, ()) == text


PLACEHOLDERS = ("hf_" + "x" * 34, "hf_" + "XxXx" * 6, "hf_" + "abcd" * 9)


@pytest.mark.parametrize("text", PLACEHOLDERS)
def test_a_placeholder_of_a_documentation_is_no_token(text: str) -> None:
    """With fewer than five different characters no hub issued it; also where a line follows it."""
    for whole in (text, f"{text}\nLoading of the weights", json.dumps(f"{text}\nfrom a import b")):
        assert redact(whole, ()) == whole
        assert not holds_secret(whole.encode(), ())


def test_a_token_needs_five_characters_that_differ() -> None:
    """Among its first twenty: what follows a placeholder belongs to something else."""
    assert holds_secret(b"hf_" + b"abcde" * 4, ())
    assert redact("hf_" + "abcde" * 4, ()) == REDACTED
    assert not holds_secret(b"hf_" + b"x" * 20 + b"abcde", ())
    assert not holds_secret(b"hf_" + b"abcde" * 3 + b"abcd", ())


@pytest.mark.parametrize("before", [*PLACEHOLDERS, "hf_" + "x" * 18, "hf_" + "x" * 20])
def test_what_begins_in_a_placeholder_is_hidden(before: str) -> None:
    """A token, or a secret, right behind it and grown together with it."""
    # The token by its shape alone, the password because it is known.
    for secret, known in ((TOKEN, ()), ("Winter26", ["Winter26"])):
        text = f"{before}{secret} and more"
        assert holds_secret(text.encode(), known)
        assert redact(text, known) == f"{before}{REDACTED} and more"


@settings(deadline=None)
@given(secret=SECRETS, before=st.text(), after=st.text())
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


def test_the_lines_that_hold_a_secret_are_numbered(tmp_path: Path) -> None:
    """Each of them; 0 where it begins on one line and ends on another."""
    file = tmp_path / "rows.jsonl"
    file.write_text(f"first\nsecond {SECRET}\n{PLACEHOLDERS[0]}\n{TOKEN}\n")
    assert secrets.lines_with_secret(file, [SECRET]) == (2, 4)
    assert secrets.lines_with_secret(file, ()) == (4,)
    file.write_text(f"first\n{SECRET[:9]}\n{SECRET[9:]}\n")
    assert secrets.lines_with_secret(file, [SECRET]) == (0,)
    assert secrets.lines_with_secret(file, ()) == ()


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


WRITTEN = {
    "plain": SECRET,
    "in an address": quote(SECRET, safe=""),
    "in an address, in small letters": quote(SECRET, safe="").replace("%2F", "%2f"),
    "in base64": base64.b64encode(SECRET.encode()).decode(),
    "in base64 for addresses": base64.urlsafe_b64encode(b"??>" + SECRET.encode()).decode(),
    "in hexadecimal": SECRET.encode().hex(),
    "in large hexadecimal": SECRET.encode().hex().upper(),
    "in JSON": json.dumps({"token": SECRET}),
    "in JSON of PHP": json.dumps(SECRET).replace("/", r"\/"),
    "in a repr": repr(OSError(f"bad header: {SECRET.encode()!r}")),
    "shaped like a token": f"Authorization: Bearer {TOKEN}",
}


@pytest.mark.parametrize("how", WRITTEN)
def test_no_form_survives_a_line_break_at_any_place(how: str) -> None:
    """Wherever a line is broken, whatever is indented."""
    text = WRITTEN[how]

    for place in range(1, len(text)):
        broken = f"{text[:place]} \r\n\t {text[place:]}"
        assert not holds_secret(redact(broken, [SECRET]).encode(), [SECRET]), broken
        assert SECRET not in redact(broken, [SECRET]).replace(" \r\n\t ", "")


def test_a_token_at_the_end_of_its_line_takes_nothing_of_the_next() -> None:
    """What follows it is not part of it."""
    assert redact(f"token {TOKEN}\nLoading weights", ()) == f"token {REDACTED}\nLoading weights"


@pytest.mark.parametrize(
    "secret", ["q\"u\\o/t<e>&'s", "\xfc\xf1\xee\U0001f511-w0rd", "new\nline", "\udcff\udcfe-xyz12"]
)
def test_a_secret_of_strange_characters_is_found_as_libraries_write_it(secret: str) -> None:
    """In JSON, in a repr, in HTML, in XML; also bytes of the environment that are no text."""
    for text in (
        *(json.dumps(secret), json.dumps(secret, ensure_ascii=False), repr(secret)),
        *(html.escape(secret), escape(secret), secret),
    ):
        assert REDACTED in redact(f"a {text} b", [secret]), text


@hostile(60)
@given(
    secret=SECRETS,
    before=st.text(max_size=20),
    after=st.text(max_size=20),
    place=st.integers(1, 39),
    form=st.integers(0, 30),
)
def test_whatever_is_redacted_is_not_found_any_more(
    secret: str, before: str, after: str, place: int, form: int
) -> None:
    """The two agree on every form, in any surroundings, broken at any place."""
    every = forms(secret)
    text = every[form % len(every)]
    broken = f"{before}{text[:place]}\n  {text[place:]}{after}"

    assert holds_secret(text.encode(), [secret])
    clean = redact(broken, [secret])

    # What was left beside the mark may spell it anew only if the secret is like the mark.
    assert not holds_secret(clean.replace(REDACTED, " ").encode(), [secret]) or len(set(secret)) < 3


def test_the_end_of_a_line_may_begin_a_secret() -> None:
    """Of every form, and of what is only shaped like one; not where it is complete, or none."""
    for text in (SECRET, TOKEN, base64.b64encode(SECRET.encode()).decode(), SECRET.encode().hex()):
        assert all(begins_secret(f"x {text[:end]} ", [SECRET]) for end in range(1, 20))
    assert not begins_secret(f"the token is {TOKEN}", [SECRET])
    # Bytes of a log that are no text come as halves of surrogate pairs.
    assert begins_secret(f"\udcff{SECRET[:9]}", [SECRET])
    assert not begins_secret("loading: 5 %", [SECRET])
    assert not begins_secret("", [SECRET])


def test_long_runs_of_spaces_take_no_time() -> None:
    """A file may be made so that a search in it never ends."""
    spaces = b" \t" * (1 << 20)

    assert not holds_secret(spaces, [SECRET])
    assert redact(spaces.decode(), [SECRET]) == spaces.decode()


def test_a_variable_that_holds_a_book_takes_no_time() -> None:
    """Whatever somebody put into HF_TOKEN, its beginning is found, and a log is still written."""
    book = "It was the best of times, it was the worst of times. " * 4000

    assert redact(f"a {book} b", [book]).startswith(f"a {REDACTED}")
    assert holds_secret(book.encode(), [book])
    assert not begins_secret("loading: 5 %", [book])


@pytest.mark.parametrize("letters", [37, 499, 501, 700, 1000])
@pytest.mark.parametrize("code", [str, lambda text: base64.b64encode(text.encode()).decode()])
def test_of_a_long_secret_the_end_is_hidden_as_well(
    letters: int, code: Callable[[str], str]
) -> None:
    """A hub may issue long tokens, and a server that echoes one puts all of it into its error."""
    token = "".join(random.Random(letters).choices(string.ascii_letters + string.digits, k=letters))

    clean = redact(f"Invalid header: {code(token)}; " * 3, [token])

    written = code(token)
    shown = {written[at : at + 10] for at in range(len(written) - 9)}
    assert not any(part in clean for part in shown)
    assert clean.startswith(f"Invalid header: {REDACTED}")


@pytest.mark.parametrize("cut", [slice(0, 25), slice(12, None), slice(9, 30)])
def test_a_secret_that_somebody_else_has_cut_is_hidden(cut: slice) -> None:
    """Libraries shorten what they quote; half a token is the half that nobody has to guess."""
    assert redact(f"found 'Bearer {TOKEN[cut]}', expected", [TOKEN]) == (
        f"found 'Bearer {REDACTED}', expected"
    )


def test_a_few_letters_of_a_secret_are_no_secret() -> None:
    """They stand in digests, too; and a word stands in innocent text."""
    assert redact(f"{TOKEN[5:13]} hf_", [TOKEN]) == f"{TOKEN[5:13]} hf_"
    assert redact("the evaluation ended", ["evaluation-4711"]) == "the evaluation ended"
