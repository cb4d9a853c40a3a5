"""The world: which hub a run asks, with which token, and where the downloads go."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

from m43.evidence.redaction import is_searchable
from m43.harness.hub_token import HubToken, every_token, find_token, hub_cache
from m43.profile import DEFAULT_ENDPOINT, LOOPBACK_ENDPOINT, Profile

_HUB_PREFIXES = ("HF_", "HUGGING_FACE_", "HUGGINGFACE_")


@dataclass(frozen=True, kw_only=True)
class NamedSecret:
    """A secret, and how it is spoken of."""

    name: str
    value: str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class World:
    """Everything outside the repository that the gates may touch.

    Attributes:
        environment: The variables as the engineer set them; a rehearsal gets its own.
        endpoint: The hub's address; empty means the one that huggingface_hub itself uses.
        cache_dir: The Hugging Face cache; None means the one that huggingface_hub itself uses.
        hidden: Secrets that lie about and are not this world's: the engineer's, in a rehearsal.
    """

    environment: Mapping[str, str] = field(repr=False)
    endpoint: str
    cache_dir: Path | None
    hidden: tuple[str, ...] = field(default=(), repr=False)

    @property
    def token(self) -> HubToken:
        """The token that huggingface_hub would use."""
        return find_token(self.environment)

    @property
    def secrets(self) -> tuple[str, ...]:
        """Every text that may appear in nothing that m43 writes."""
        return tuple(dict.fromkeys((*(each.value for each in self.named_secrets), *self.hidden)))

    @property
    def named_secrets(self) -> tuple["NamedSecret", ...]:
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


def outside_world(profile: Profile, environment: Mapping[str, str]) -> World:
    """Give the world that a profile names: the real hub, or one at an address."""
    if profile.hub.endpoint == LOOPBACK_ENDPOINT:
        raise ValueError("the loopback hub lives in the rehearsal's own world")
    named = profile.hub.endpoint
    endpoint = environment.get("HF_ENDPOINT", "") if named == DEFAULT_ENDPOINT else named
    return World(environment=environment, endpoint=endpoint.rstrip("/"), cache_dir=None)


def rehearsal_world(
    environment: Mapping[str, str], *, endpoint: str, token: str, cache_dir: Path
) -> World:
    """Give a world around a loopback hub, in which no token of the engineer's exists."""
    hidden = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_TOKEN_PATH", "HF_HOME", "HF_ENDPOINT")
    mine = {name: value for name, value in environment.items() if name not in hidden}
    mine |= {"HF_TOKEN": token, "HF_HOME": str(cache_dir.parent / "home")}
    return World(
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
