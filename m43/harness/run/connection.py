"""The connection: proxies and certificates in the environment that the hub's client cannot use.

They break the client where it is made, whichever hub it is to ask; it is asked itself here.
"""

import importlib.util
import re
import ssl
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from m43.errors import FailureClass, Problem

_PROXY = "an address such as http://127.0.0.1:3128"
_CERTIFICATES = "certificates in PEM, as the hub's client reads them"
# Source: OpenSSL 3, X509_LOOKUP_hash_dir: files are found by the hash of their subject.
_HASHED = re.compile(r"[0-9a-fA-F]{8}\.\d+")


def has_socks() -> bool:
    """Tell whether what the client needs for a SOCKS proxy is installed.

    Source: httpx2 2.16, its extra "socks".
    """
    return importlib.util.find_spec("socksio") is not None


def proxies(environment: Mapping[str, str]) -> dict[str, str]:
    """Give the proxies that the hub's client takes, by the name of the variable.

    Source: CPython 3.11, urllib/request.py, getproxies_environment: a variable in small letters
    wins, also an empty one; httpx2 2.16, _utils.py: NO_PROXY has to hold "*" to switch them off,
    with anything else the client is still made with all of them.
    """
    chosen: dict[str, str] = {}
    spelled = [name for name in environment if name.lower().endswith("_proxy")]
    # Those in small letters last.
    for name in sorted(spelled, key=lambda name: name.endswith("_proxy")):
        scheme = name[: -len("_proxy")].lower()
        if environment[name]:
            chosen[scheme] = name
        elif name.endswith("_proxy"):
            chosen.pop(scheme, None)
    excepted = environment[chosen["no"]].split(",") if "no" in chosen else []
    if any(host.strip() == "*" for host in excepted):
        return {}
    taken = (chosen[scheme] for scheme in ("http", "https", "all") if scheme in chosen)
    return {name: environment[name] for name in taken}


def connection_problems(
    environment: Mapping[str, str], socks: Callable[[], bool] = has_socks
) -> tuple[Problem, ...]:
    """List what in the environment keeps the hub's client from being made or from being any use."""
    return (*_proxy_problems(environment, socks), *_certificate_problems(environment))


def connection_refused(environment: Mapping[str, str]) -> FailureClass | None:
    """Give the class of a run whose client cannot be made; None where it can."""
    if any(_proxy_problems(environment, has_socks)):
        return FailureClass.PROXY_FAILED
    if any(_certificate_problems(environment)):
        return FailureClass.CERTIFICATE_NOT_TRUSTED
    return None


def _proxy_problems(environment: Mapping[str, str], socks: Callable[[], bool]) -> Iterator[Problem]:
    for name, value in proxies(environment).items():
        scheme = value.partition("://")[0].lower() if "://" in value else "http"
        if scheme in ("socks5", "socks5h") and not socks():
            yield Problem(
                found="a SOCKS proxy, for which the hub's client needs the package socksio, "
                "and no such package",
                expected=_PROXY,
                where=name,
                action=f"unset {name} or set it to an http:// proxy; m43 installs nothing: whoever "
                "wants SOCKS puts httpx2[socks] beside the pytest that runs m43",
            )
        elif not _is_usable(value if "://" in value else f"http://{value}"):
            yield Problem(
                found=f"an address of the kind {scheme!r} that the hub's client cannot use",
                expected=_PROXY,
                where=name,
                action=f"correct {name}, or unset it",
            )


def _is_usable(address: str) -> bool:
    # Here and not above: without a proxy nothing of the client's is loaded.
    import httpx2

    try:
        proxy = httpx2.Proxy(address)
    except (ValueError, httpx2.InvalidURL):
        return False
    # With these the client is made, and then asks nobody.
    port = proxy.url.port
    return bool(proxy.url.host) and " " not in address and (port is None or 0 < port < 1 << 16)


def _certificate_problems(environment: Mapping[str, str]) -> Iterator[Problem]:
    """Look at the certificates as the client does.

    Source: httpcore2 2.16, _ssl.py: the file, else the folder; an empty variable counts as unset.
    """
    if file := environment.get("SSL_CERT_FILE"):
        try:
            ssl.create_default_context(cafile=file)
        except (OSError, ValueError) as error:
            # An SSLError is an OSError as well: a file that is none of certificates.
            missing = isinstance(error, FileNotFoundError)
            found = "no such file" if missing else "a file without certificates that can be read"
            yield _uncertified("SSL_CERT_FILE", file, found)
        return
    folders = environment.get("SSL_CERT_DIR", "")
    if folders and not any(_holds_certificates(Path(folder)) for folder in folders.split(":")):
        found = "no folder with certificates under their hashes (openssl rehash)"
        yield _uncertified("SSL_CERT_DIR", folders, found)


def _holds_certificates(folder: Path) -> bool:
    try:
        return any(_HASHED.fullmatch(path.name) for path in folder.iterdir())
    except (OSError, ValueError):
        return False


def _uncertified(name: str, place: str, found: str) -> Problem:
    return Problem(
        found=f"{found}: {place}",
        expected=_CERTIFICATES,
        where=name,
        action=f"correct {name}, or unset it: the system's own certificates are used then",
    )
