"""The hub token: where it was found. Its value is never printed, recorded or passed on."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from m43.evidence.redaction import is_searchable
from m43.whole_file import read_whole

Source = Literal["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "token file", "absent"]

# The one source that m43 goes on with: where the engineer set it, for this run.
ACCEPTED_SOURCE: Source = "HF_TOKEN"
_MOST_BYTES = 1 << 16
# Real ones have 37 characters; servers take headers of some thousand.
_LONGEST = 1000


@dataclass(frozen=True, kw_only=True)
class HubToken:
    """A token and where it came from."""

    source: Source
    value: str = field(repr=False)


# What stands around a token or in its place, in the order in which it is told.
_FORMS: tuple[tuple[str, str], ...] = (
    (r"""(["'`]).*\1""", "it begins and ends with a quotation mark"),
    (r"""["'`].*|.*["'`]""", "a quotation mark begins or ends it"),
    (r"<.*>", "it stands in angle brackets"),
    (r"(?i:authorization:\s*)?(?i:bearer)\b.*", "it begins with the word Bearer"),
    (r"(?:export\s+)?[A-Z][A-Z0-9_]*\s*=\s*[^=\s].*", "it begins with the name of a variable"),
    (r"\$.*", "it names a variable whose value nothing put in its place"),
    (r"[A-Za-z][A-Za-z0-9+.-]*://.*", "it is an address"),
    (r"(?i:.*(?:\\[nr]|%0[ad]))", "it ends with a line end that is written out"),
    (
        r"(?i:(?:.*[_-])?your[_-].*|.*[_-]here|.*\*{3}.*|.*\.{3})|hf_(.)\1*",
        "it is a placeholder, as documentations have it",
    ),
)
# Source: CPython 3.11, posixpath.py, expandvars.
_VARIABLE = re.compile(r"\$(?:(\w+)|\{([^}]*)\})", re.ASCII)
# Source: Hugging Face, user access tokens: "hf_" and 34 letters and digits.
_HUBS_OWN = re.compile(r"hf_[A-Za-z0-9]{34}")


def flaw(token: HubToken) -> str:
    """Say why a token cannot be used; empty when it can, or when there is none.

    None of the reasons quotes it. One that a request can carry may still be one that m43 could
    not look for in what it writes, because it stands in innocent text as well.

    Source: RFC 6750, section 2.1, and RFC 9110, section 5.5: a token in a header is made of
    visible ASCII characters.
    """
    value, length = token.value, len(token.value)
    for form, words in _FORMS:
        if re.fullmatch(form, value, re.DOTALL):
            return words
    odd = sum(not "!" <= character <= "~" for character in value)
    if odd:
        return f"characters outside visible ASCII: {odd} of {length}"
    if length > _LONGEST:
        return f"characters: {length:,}, expected {_LONGEST:,} at most"
    if value and not is_searchable(value):
        return "it is too short, or too like a word, to be searched for in what a run writes"
    return ""


def oddity(token: HubToken) -> str:
    """Say in what a token differs from those that huggingface.co issues; empty when in nothing.

    Another hub may issue others, so this decides nothing: it is a hint when one was refused.
    """
    value = token.value
    if not value or _HUBS_OWN.fullmatch(value):
        return ""
    if not value.startswith("hf_"):
        return "it does not begin with hf_"
    if not value[3:].isalnum():
        return "it holds characters that are neither letters nor digits"
    return f"it has {len(value)} characters and not 37"


def find_token(environment: Mapping[str, str]) -> HubToken:
    """Find the token that huggingface_hub would use.

    Source: huggingface_hub 2.4, utils/_auth.py: the two variables, then the file; an empty
    variable counts as unset, and white space around a token does not belong to it.
    """
    return next(
        iter(every_token(environment)),
        HubToken(source="absent", value=""),
    )


def every_token(environment: Mapping[str, str]) -> tuple[HubToken, ...]:
    """List every token that lies about, in huggingface_hub's order, so that none can leak."""
    found: list[tuple[Source, str]] = [
        ("HF_TOKEN", environment.get("HF_TOKEN", "")),
        ("HUGGING_FACE_HUB_TOKEN", environment.get("HUGGING_FACE_HUB_TOKEN", "")),
        ("token file", _file_text(token_path(environment))),
    ]
    return tuple(
        HubToken(source=source, value=text.strip()) for source, text in found if text.strip()
    )


def token_path(environment: Mapping[str, str]) -> Path:
    """Say where the token file would lie.

    Source: huggingface_hub 2.4, constants.py: HF_TOKEN_PATH, HF_HOME, XDG_CACHE_HOME.
    """
    if path := environment.get("HF_TOKEN_PATH"):
        return _expanded(path, environment)
    return hub_home(environment) / "token"


def hub_home(environment: Mapping[str, str]) -> Path:
    """Say where huggingface_hub keeps its things.

    Source: huggingface_hub 2.4, constants.py: a variable that is set and empty names the folder
    that the process stands in.
    """
    caches = environment.get("XDG_CACHE_HOME", f"{environment.get('HOME') or '~'}/.cache")
    named = environment.get("HF_HOME", str(Path(caches) / "huggingface"))
    return _expanded(named, environment)


def hub_cache(environment: Mapping[str, str]) -> Path:
    """Say where huggingface_hub keeps what it downloads.

    Source: huggingface_hub 2.4, constants.py: HF_HUB_CACHE, its older name, the folder in its home.
    """
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if name in environment:
            return _expanded(environment[name], environment)
    return hub_home(environment) / "hub"


def _expanded(path: str, environment: Mapping[str, str]) -> Path:
    # Not Path.expanduser, which raises where "~name" is nobody's home. And the client puts
    # variables in, which `docker run --env-file` leaves as they were written.
    def value(match: re.Match[str]) -> str:
        return environment.get(match[1] or match[2], match[0])

    return Path(_VARIABLE.sub(value, os.path.expanduser(path)))  # noqa: PTH111


def _file_text(path: Path) -> str:
    try:
        return read_whole(path, _MOST_BYTES).decode()
    except (OSError, ValueError):
        # No readable file is the same as no file: there is no token in it to use.
        return ""
