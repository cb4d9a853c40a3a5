"""The access to the hub: which one a run asks, with which token, and where the downloads go."""

import ctypes
import os
import re
from collections.abc import Iterator, Mapping, MutableMapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Literal
from urllib.parse import unquote, urlsplit

from m43.evidence.journal import is_searchable, redact
from m43.files import read_whole
from m43.records import DEFAULT_ENDPOINT, DEFAULT_HUB, LOOPBACK_ENDPOINT, Profile

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


_SECRET_NAMES = frozenset({"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"})
_HUB_PREFIXES = ("HF_", "HUGGING_FACE_", "HUGGINGFACE_")


@dataclass(frozen=True, kw_only=True)
class NamedSecret:
    """A secret, and how it is spoken of."""

    name: str
    value: str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class HubAccess:
    """Everything outside the repository that the gates may touch.

    The token and the secrets are read when they are first asked for, and are values from then on:
    what becomes of a variable or of a file afterwards changes nothing.

    Attributes:
        environment: The variables as the engineer set them; a rehearsal gets its own.
        endpoint: The hub's address; empty means the one that huggingface_hub itself uses.
        cache_dir: The Hugging Face cache; None means the one that huggingface_hub itself uses.
        hidden: Secrets that lie about and are not this hub's: the engineer's, in a rehearsal.
    """

    environment: Mapping[str, str] = field(repr=False)
    endpoint: str
    cache_dir: Path | None
    hidden: tuple[str, ...] = field(default=(), repr=False)

    @cached_property
    def token(self) -> HubToken:
        """The token that huggingface_hub would use."""
        return find_token(self.environment)

    @cached_property
    def secrets(self) -> tuple[str, ...]:
        """Every text that may appear in nothing that m43 writes."""
        return tuple(dict.fromkeys((*(each.value for each in self.named_secrets), *self.hidden)))

    @cached_property
    def named_secrets(self) -> tuple[NamedSecret, ...]:
        """The secrets in the environment, each with what it is called."""
        tokens = (
            NamedSecret(name=f"the token in {each.source}", value=each.value)
            for each in every_token(self.environment)
        )
        return (*tokens, *_passwords(self.environment))

    @property
    def unsearched(self) -> tuple[str, ...]:
        """What cannot be searched for, because it stands in innocent text as well."""
        names = (each.name for each in self.named_secrets if not is_searchable(each.value))
        return tuple(dict.fromkeys(names))

    @property
    def cache(self) -> Path:
        """Where the downloads go."""
        return self.cache_dir if self.cache_dir is not None else hub_cache(self.environment)

    @property
    def hub_is_here(self) -> bool:
        """Whether the hub is on this machine, so that no proxy is asked for it."""
        try:
            host = urlsplit(self.endpoint).hostname or ""
        except ValueError:
            return False
        return host in ("localhost", "::1") or host.startswith("127.")

    @property
    def hub_variables(self) -> tuple[str, ...]:
        """The names of the variables by which huggingface_hub can be told to behave otherwise."""
        return tuple(sorted(name for name in self.environment if name.startswith(_HUB_PREFIXES)))


def take_secrets(environment: MutableMapping[str, str]) -> dict[str, str]:
    """Copy the variables of this process, and take those that hold a secret out of it.

    What is started from now on, by whomever, inherits none. The kernel shows the variables with
    which a process began to every process of the same user, so they are written over there.
    """
    before = dict(environment)
    for name in _SECRET_NAMES & environment.keys() | set(_secretive(before)):
        _overwrite(name)
        del environment[name]
    return before


def without_secrets(environment: Mapping[str, str]) -> dict[str, str]:
    """Copy the variables that hold no secret."""
    left_out = {*_SECRET_NAMES, *_secretive(environment)}
    return {name: value for name, value in environment.items() if name not in left_out}


def _secretive(environment: Mapping[str, str]) -> Iterator[str]:
    secrets = shell_secrets(environment).secrets
    for name, value in environment.items():
        if redact(value, secrets) != value:
            yield name


def _overwrite(name: str) -> None:
    library = ctypes.CDLL(None)
    library.getenv.restype = ctypes.c_void_p
    if place := library.getenv(os.fsencode(name)):
        ctypes.memset(place, ord("x"), len(ctypes.string_at(place)))


def shell_secrets(environment: Mapping[str, str]) -> HubAccess:
    """Return an access of which nothing but its secrets is known yet."""
    return HubAccess(environment=environment, endpoint="", cache_dir=None)


def outside_world(profile: Profile, environment: Mapping[str, str]) -> HubAccess:
    """Return the access that a profile names: the real hub, or one at an address."""
    if profile.hub.endpoint == LOOPBACK_ENDPOINT:
        raise ValueError("the loopback hub lives in the rehearsal's own world")
    named = profile.hub.endpoint
    endpoint = environment.get("HF_ENDPOINT", "") if named == DEFAULT_ENDPOINT else named
    return HubAccess(environment=environment, endpoint=endpoint.rstrip("/"), cache_dir=None)


def with_its_hub(profile: Profile, environment: Mapping[str, str]) -> Profile:
    """Name in a profile the hub that HF_ENDPOINT leads to, where it is another than the usual one.

    So that a run tells it as what it is: a hub that its profile does not name.
    """
    scheme, colon, rest = environment.get("HF_ENDPOINT", "").rstrip("/").partition("://")
    # A login in it is nobody's to read.
    address = f"{scheme}{colon}{rest.rpartition('@')[2]}"
    if profile.hub.endpoint != DEFAULT_ENDPOINT or address in ("", DEFAULT_HUB):
        return profile
    return replace(profile, hub=replace(profile.hub, endpoint=address))


def rehearsal_world(
    environment: Mapping[str, str], *, endpoint: str, token: str, cache_dir: Path
) -> HubAccess:
    """Return the access to a loopback hub, in which no token of the engineer's exists."""
    hidden = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_TOKEN_PATH", "HF_HOME", "HF_ENDPOINT")
    mine = {name: value for name, value in environment.items() if name not in hidden}
    mine |= {"HF_TOKEN": token, "HF_HOME": str(cache_dir.parent / "home")}
    return HubAccess(
        environment=mine,
        endpoint=endpoint,
        cache_dir=cache_dir,
        hidden=tuple(found.value for found in every_token(environment)),
    )


def _passwords(environment: Mapping[str, str]) -> Iterator[NamedSecret]:
    """Give the passwords in addresses, which libraries put into the text of their errors."""
    for name, value in environment.items():
        if name.upper().endswith("_PROXY") or name == "HF_ENDPOINT":
            # Between the colon and the last @, as every reader of addresses has it.
            _, _, password = value.rpartition("@")[0].rpartition("/")[2].partition(":")
            for each in dict.fromkeys((password, unquote(password))):
                if each:
                    yield NamedSecret(name=f"the password in {name}", value=each)
