"""Each exception of the hub's client has a class of its own, and each class its own sentence."""

import errno
import json
import os
import socket
import ssl
from collections.abc import Callable

import httpx2
import pytest
from huggingface_hub import errors

from m43.errors import FailureClass as F
from m43.evidence.contract.hub_failure import cause_names, class_of_causes, hub_answer_class
from m43.harness.gates.hub_client import AnswerTooLargeError, CompressedAnswerError
from m43.harness.gates.hub_questions import NotATableError, RedirectedError

REQUEST = httpx2.Request("GET", "https://hub.example")


def chained(outer: Exception, inner: Exception) -> Exception:
    """Give an exception that was raised from another, as the transport raises them."""
    try:
        raise outer from inner
    except Exception as error:  # noqa: BLE001 (it is what was asked for)
        return error


def parsed() -> Exception:
    """Read as JSON what is none."""
    try:
        json.loads("<!doctype html>")
    except ValueError as error:
        return error
    raise AssertionError("it is JSON")


def homeless() -> Exception:
    """Give what pathlib raises for a user without a home."""
    return RuntimeError("Could not determine home directory.")


def connect(inner: Exception) -> Exception:
    """Give a connection that could not be made for that reason."""
    return chained(httpx2.ConnectError(str(inner), request=REQUEST), inner)


RAISED: list[tuple[Callable[[], Exception], F]] = [
    (lambda: connect(ConnectionRefusedError(errno.ECONNREFUSED, "refused")), F.HUB_UNREACHABLE),
    (lambda: connect(OSError(errno.ENETUNREACH, "no network")), F.HUB_UNREACHABLE),
    # A firewall may say it so; it is none of the cache's rights.
    (lambda: connect(PermissionError(errno.EPERM, "not permitted")), F.HUB_UNREACHABLE),
    (lambda: connect(socket.gaierror(-2, "no such name")), F.NAME_NOT_RESOLVED),
    (lambda: connect(socket.gaierror(-3, "try again")), F.NAME_NOT_RESOLVED),
    (lambda: connect(ssl.SSLCertVerificationError(1, "expired")), F.CERTIFICATE_NOT_TRUSTED),
    (lambda: connect(ssl.SSLError(1, "wrong version")), F.CERTIFICATE_NOT_TRUSTED),
    (lambda: httpx2.ConnectTimeout("late", request=REQUEST), F.HUB_UNREACHABLE),
    (lambda: httpx2.ReadTimeout("late", request=REQUEST), F.HUB_UNREACHABLE),
    (lambda: httpx2.ReadError("cut", request=REQUEST), F.CONNECTION_LOST),
    (lambda: httpx2.RemoteProtocolError("cut", request=REQUEST), F.CONNECTION_LOST),
    (lambda: httpx2.ProxyError("407", request=REQUEST), F.PROXY_FAILED),
    (lambda: httpx2.UnsupportedProtocol("ftp", request=REQUEST), F.PROXY_FAILED),
    (lambda: ImportError("socksio is not installed"), F.PROXY_FAILED),
    (lambda: errors.OfflineModeIsEnabled("set"), F.OFFLINE_MODE),
    (lambda: errors.FileMetadataError("no X-Repo-Commit"), F.NOT_THE_HUB),
    (parsed, F.NOT_THE_HUB),
    (lambda: NotATableError("a list"), F.NOT_THE_HUB),
    (lambda: RedirectedError("elsewhere"), F.NOT_THE_HUB),
    (lambda: AnswerTooLargeError("on and on"), F.NOT_THE_HUB),
    (lambda: CompressedAnswerError("gzip"), F.NOT_THE_HUB),
    (lambda: OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), F.DISK_FULL),
    (lambda: OSError(errno.EDQUOT, os.strerror(errno.EDQUOT)), F.DISK_FULL),
    (lambda: PermissionError(errno.EACCES, "tokenizer.json"), F.CACHE_UNUSABLE),
    (lambda: OSError(errno.EROFS, "read-only"), F.CACHE_UNUSABLE),
    (lambda: OSError(errno.ENOLCK, "No locks available"), F.CACHE_UNUSABLE),
    (homeless, F.CACHE_UNUSABLE),
    (lambda: KeyError("what nobody foresaw"), F.HUB_CLIENT_FAILED),
]


@pytest.mark.parametrize(("make", "expected"), RAISED)
def test_what_is_raised_has_its_class(make: Callable[[], Exception], expected: F) -> None:
    """By what lies behind it, not by where it was caught."""
    assert hub_answer_class("whoami", 0, cause_names(make())) is expected


def test_the_hub_s_own_word_comes_before_its_status() -> None:
    """A gated repository may answer 401, and is no token refused."""
    assert hub_answer_class("auth_check", 401, ("GatedRepoError",)) is F.LICENCE_NOT_ACCEPTED
    assert hub_answer_class("auth_check", 401, ("HfHubHTTPError",)) is F.TOKEN_REFUSED
    assert hub_answer_class("auth_check", 418, ("HfHubHTTPError",)) is F.HUB_ERROR


def test_a_chain_of_nothing_known_has_no_class() -> None:
    """Who asks then says so; nothing is guessed."""
    assert class_of_causes(("KeyError", "ValueError")) is None
    assert class_of_causes(()) is None


def test_a_circle_of_causes_comes_to_its_end() -> None:
    """Exceptions can be chained in a ring."""
    one, other = ValueError("one"), KeyError("other")
    one.__cause__, other.__cause__ = other, one
    assert cause_names(one) == ("ValueError", "KeyError")
