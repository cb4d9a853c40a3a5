"""The hub token: where it was found. Its value is never printed, recorded or passed on."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

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


def flaw(token: HubToken) -> str:
    """Say why no request can carry a token; empty when one can, or when there is none.

    Source: RFC 6750, section 2.1, and RFC 9110, section 5.5: a token in a header is made of
    visible ASCII characters.
    """
    length = len(token.value)
    odd = sum(not "!" <= character <= "~" for character in token.value)
    if odd:
        return f"characters outside visible ASCII: {odd} of {length}"
    return f"characters: {length:,}, expected {_LONGEST:,} at most" if length > _LONGEST else ""


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
        return _expanded(path)
    return hub_home(environment) / "token"


def hub_home(environment: Mapping[str, str]) -> Path:
    """Say where huggingface_hub keeps its things."""
    if home := environment.get("HF_HOME"):
        return _expanded(home)
    cache = environment.get("XDG_CACHE_HOME") or str(
        _expanded(environment.get("HOME") or "~") / ".cache"
    )
    return _expanded(cache) / "huggingface"


def _expanded(path: str) -> Path:
    # Not Path.expanduser, which raises where "~name" is nobody's home.
    return Path(os.path.expanduser(path))  # noqa: PTH111


def _file_text(path: Path) -> str:
    try:
        return read_whole(path, _MOST_BYTES).decode()
    except (OSError, ValueError):
        # No readable file is the same as no file: there is no token in it to use.
        return ""
