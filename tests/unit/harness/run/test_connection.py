"""Proxies and certificates: what is said of them is what the hub's client does with them."""

import os
import ssl
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest

from m43.harness.run.connection import connection_problems, has_socks, proxies

LOGIN = "user:pass"


def made(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> bool:
    """Tell whether the hub's client can be made in this environment."""
    for name in list(os.environ):
        if name.lower().endswith("_proxy") or name.startswith("SSL_CERT"):
            monkeypatch.delenv(name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    try:
        httpx2.Client().close()
    except (ImportError, ValueError, httpx2.InvalidURL, OSError):
        return False
    return True


@pytest.mark.parametrize(
    ("environment", "named"),
    [
        ({}, ()),
        ({"HTTPS_PROXY": "http://proxy:3128"}, ()),
        ({"https_proxy": f"http://{LOGIN}@proxy:3128"}, ()),
        ({"HTTPS_PROXY": "proxy:3128"}, ()),
        ({"HTTPS_PROXY": "127.0.0.1:3128"}, ()),
        ({"FTP_PROXY": "ftp://proxy", "TRAVIS_APT_PROXY": "x://y"}, ()),
        ({"ALL_PROXY": f"socks5://{LOGIN}@127.0.0.1:1"}, ("ALL_PROXY",)),
        ({"all_proxy": "socks5h://127.0.0.1:1"}, ("all_proxy",)),
        ({"HTTP_PROXY": "socks5://127.0.0.1:1"}, ("HTTP_PROXY",)),
        ({"HTTPS_PROXY": "socks4://127.0.0.1:1"}, ("HTTPS_PROXY",)),
        ({"HTTPS_PROXY": "socks://127.0.0.1:1"}, ("HTTPS_PROXY",)),
        ({"HTTPS_PROXY": "ftp://proxy"}, ("HTTPS_PROXY",)),
        ({"HTTPS_PROXY": "http://proxy:port"}, ("HTTPS_PROXY",)),
        ({"HTTPS_PROXY": "http://proxy:3128\n"}, ("HTTPS_PROXY",)),
        ({"HTTPS_PROXY": '"http://proxy:3128"'}, ("HTTPS_PROXY",)),
        ({"HTTP_PROXY": "ftp://a", "HTTPS_PROXY": "ftp://b"}, ("HTTP_PROXY", "HTTPS_PROXY")),
        # A name in NO_PROXY changes nothing: the client is made with all of them.
        ({"ALL_PROXY": "socks5://a:1", "NO_PROXY": "huggingface.co"}, ("ALL_PROXY",)),
        ({"ALL_PROXY": "socks5://a:1", "NO_PROXY": "localhost, *"}, ()),
        ({"ALL_PROXY": "socks5://a:1", "NO_PROXY": "*", "no_proxy": "b"}, ("ALL_PROXY",)),
        ({"ALL_PROXY": "socks5://a:1", "all_proxy": ""}, ()),
        ({"all_proxy": "", "ALL_PROXY": "socks5://a:1"}, ()),
        ({"all_proxy": "http://a:1", "ALL_PROXY": "socks5://a:1"}, ()),
        ({"All_Proxy": "socks5://a:1"}, ("All_Proxy",)),
        ({"all_PROXY": "http://a:1", "ALL_proxy": "socks5://a:1"}, ("ALL_proxy",)),
    ],
)
def test_a_proxy_that_the_client_cannot_be_made_with_is_named(
    environment: dict[str, str], named: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the client itself does in the same environment; the address is not quoted."""
    problems = connection_problems(environment, lambda: False)
    assert tuple(problem.where for problem in problems) == named
    assert made(environment, monkeypatch) is not bool(named)
    assert all(LOGIN not in str(problem) for problem in problems)


@pytest.mark.parametrize(
    "address", ["http://:3128", "http://proxy:65536", "http://proxy:0", "http://pro xy:3128"]
)
def test_a_proxy_that_nobody_can_reach_is_named(address: str) -> None:
    """The client is made with it, and then asks nobody."""
    (problem,) = connection_problems({"HTTPS_PROXY": address})
    assert problem.where == "HTTPS_PROXY"
    assert connection_problems({"HTTPS_PROXY": "http://proxy:65535"}) == ()


def test_socks_is_told_with_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The package of the client that asks, not of another; and with it there is nothing to say."""
    environment = {"ALL_PROXY": "socks5://127.0.0.1:1"}
    (problem,) = connection_problems(environment, lambda: False)
    assert "socksio" in problem.found
    assert "unset ALL_PROXY" in problem.action
    assert "httpx2[socks]" in problem.action
    assert connection_problems(environment, lambda: True) == ()
    assert has_socks() is False
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name: name if name == "socksio" else None
    )
    assert has_socks() is True


def test_the_proxies_are_those_that_the_client_takes() -> None:
    """By the name of the variable, in whichever letters."""
    environment = {"https_proxy": "a", "HTTPS_PROXY": "b", "ALL_PROXY": "c", "FTP_PROXY": "d"}
    assert proxies(environment) == {"https_proxy": "a", "ALL_PROXY": "c"}


@pytest.fixture
def certificates(tmp_path: Path) -> Path:
    """Make a file with a certificate, and a folder where it is found by its hash."""
    (tmp_path / "folder").mkdir()
    paths = ssl.get_default_verify_paths()
    source = next(Path(path) for path in (paths.cafile, paths.openssl_cafile) if path)
    text = source.read_text()
    end = "-----END CERTIFICATE-----\n"
    (tmp_path / "ca.pem").write_text(text[: text.index(end) + len(end)])
    (tmp_path / "text.pem").write_text("no certificate")
    return tmp_path


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        ({}, ""),
        ({"SSL_CERT_FILE": ""}, ""),
        ({"SSL_CERT_FILE": "ca.pem"}, ""),
        ({"SSL_CERT_FILE": "nothing.pem"}, "SSL_CERT_FILE: found no such file"),
        ({"SSL_CERT_FILE": "text.pem"}, "SSL_CERT_FILE: found a file without certificates"),
        ({"SSL_CERT_FILE": "folder"}, "SSL_CERT_FILE: found a file without certificates"),
        ({"SSL_CERT_FILE": "ca.pem", "SSL_CERT_DIR": "nothing"}, ""),
        ({"SSL_CERT_DIR": "nothing"}, "SSL_CERT_DIR: found no folder with certificates"),
        ({"SSL_CERT_DIR": "folder"}, "SSL_CERT_DIR: found no folder with certificates"),
        ({"SSL_CERT_DIR": "hashed"}, ""),
        ({"SSL_CERT_DIR": "nothing:hashed"}, ""),
        ({"REQUESTS_CA_BUNDLE": "nothing.pem"}, ""),  # which this client does not read
    ],
)
def test_certificates_that_are_not_there_are_named(
    certificates: Path, variables: dict[str, str], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file first, as the client has it; what cannot be read breaks it where it is made."""
    monkeypatch.chdir(certificates)
    Path("hashed").mkdir()
    Path("hashed/0123abcd.0").write_text("")
    problems = connection_problems(variables)
    assert str(problems[0]).startswith(told) if told else problems == ()
    if "SSL_CERT_FILE" in variables:
        assert made(variables, monkeypatch) is not bool(told)


def test_without_a_proxy_nothing_of_the_client_is_loaded() -> None:
    """A run that ends for want of a token is quick."""
    code = (
        "import sys; from m43.harness.run.connection import connection_problems\n"
        "assert connection_problems({}) == () and 'httpx2' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
