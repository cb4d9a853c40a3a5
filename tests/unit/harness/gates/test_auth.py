"""The auth gate against a real server, with the hub's own client."""

import hashlib
import ssl
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from m43 import typed_json
from m43.errors import FailureClass
from m43.evidence.contract.check import failing
from m43.evidence.contract.checks import auth_checks
from m43.harness.gates import auth, hub_questions
from m43.harness.gates.hub_exchange import failure_words
from m43.harness.gates.hub_process import hub_request
from m43.harness.run.hub_access import HubAccess
from m43.records.profile import Profile
from tests.unit.harness.conftest import FILES, REPOSITORY, REVISION, TOKEN, StartWorld
from tests.unit.harness.hub_here import asked_here
from tests.world.certificates import write_certificates
from tools.faulty_hub import Fault, FaultKind


def test_a_granted_token_takes_four_requests_and_no_weights(
    start_world: StartWorld, profile: Profile
) -> None:
    """Three yeses and the weights' address, the pinned commit, every file with size and digest."""
    hub_access, hub = start_world()
    record = auth.measure(hub_access, profile)
    assert record.statuses == (200, 200, 200, 302)
    assert [response.step for response in record.responses] == [
        "whoami", "auth_check", "revision", "weights_head",
    ]  # fmt: skip
    assert record.revision == REVISION
    assert record.account == "rehearsal"
    assert tuple(file.name for file in record.files) == FILES
    assert [file.digest_kind for file in record.files] == ["git-sha1", "git-sha1", "sha256"]
    assert record.missing_files == ()
    assert record.weight_bytes == 0
    assert len(hub.requests) == 4
    assert failing(auth_checks(record, profile)) == ()


@pytest.mark.parametrize(
    ("fault", "statuses", "failure_class"),
    [
        (FaultKind.TOKEN_REFUSED, (401,), FailureClass.TOKEN_REFUSED),
        (
            FaultKind.LICENCE_NOT_ACCEPTED,
            (200, 403, 200, 403),
            FailureClass.LICENCE_NOT_ACCEPTED,
        ),
        (
            FaultKind.TOKEN_WITHOUT_GATED_ACCESS,
            (200, 403, 200, 403),
            FailureClass.TOKEN_WITHOUT_GATED_ACCESS,
        ),
        (FaultKind.UNKNOWN_REVISION, (200, 200, 404, 404), FailureClass.WRONG_REVISION),
        (FaultKind.RATE_LIMITED, (429,), FailureClass.RATE_LIMITED),
        (FaultKind.SERVER_ERROR, (500, 500, 500, 500), FailureClass.HUB_ERROR),
    ],
)
def test_each_refusal_is_recorded_and_nothing_is_asked_twice(
    start_world: StartWorld,
    profile: Profile,
    fault: FaultKind,
    statuses: tuple[int, ...],
    failure_class: FailureClass,
) -> None:
    """The record holds every answer; the hub saw exactly as many requests."""
    hub_access, hub = start_world(Fault(kind=fault))
    record = auth.measure(hub_access, profile)
    assert record.statuses == statuses
    assert len(hub.requests) == len(statuses)
    assert failing(auth_checks(record, profile))[0].failure_class == failure_class
    assert TOKEN not in repr(record)


def test_a_missing_file_is_named(start_world: StartWorld, profile: Profile) -> None:
    """A pinned file that the revision does not have is told by its name."""
    hub_access, _ = start_world(Fault(kind=FaultKind.MISSING_FILE, where="tokenizer.json"))
    record = auth.measure(hub_access, profile)
    assert record.missing_files == ("tokenizer.json",)
    assert record.statuses == (200, 200, 200, 302)


def test_a_hub_that_is_not_there_has_status_zero(start_world: StartWorld, profile: Profile) -> None:
    """No answer is recorded as that, and the other questions are not asked."""
    hub_access, hub = start_world()
    hub.__exit__(None, None, None)
    record = auth.measure(replace(hub_access, endpoint="http://127.0.0.1:9"), profile)
    assert record.statuses == (0,)
    assert record.responses[0].error.startswith("ConnectError: ")
    hub_record = failing(auth_checks(record, profile))[0]
    assert hub_record.failure_class == FailureClass.HUB_UNREACHABLE


def test_the_way_to_the_hub_is_recorded(
    start_world: StartWorld, profile: Profile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whose certificate, on whose word and at which address: a server of one's own shows there."""
    hub_access, hub = start_world()
    plain = asked_here(hub_access, profile).way
    assert (plain.address, plain.certificates) == (hub.endpoint.removeprefix("http://"), ())

    made = write_certificates(tmp_path / "tls", ("localhost",), "good")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made.chain)
    hub._server.socket = context.wrap_socket(hub._server.socket, server_side=True)
    monkeypatch.setenv("SSL_CERT_FILE", str(made.authority))
    port = hub.endpoint.rpartition(":")[2]
    way = asked_here(replace(hub_access, endpoint=f"https://localhost:{port}"), profile).way

    assert way.address == f"127.0.0.1:{port}"
    own, root = way.certificates
    der = ssl.PEM_cert_to_DER_cert(made.authority.read_text())
    assert (own.subject, own.issuer) == ("localhost", root.subject)
    assert root.sha256 == hashlib.sha256(der).hexdigest() != own.sha256


def test_what_leads_to_the_hub_is_recorded_without_passwords(profile: Profile) -> None:
    """A proxy and an authority of one's own are how another hub answers under the hub's name."""
    hub_access = HubAccess(
        environment={
            "https_proxy": "http://me:Winter26-night@proxy:3128",
            "ALL_PROXY": "socks5://other:1",
            "SSL_CERT_FILE": "/mine.pem",
            "REQUESTS_CA_BUNDLE": "/theirs.pem",
            "PATH": "/bin",
        },
        endpoint="",
        cache_dir=None,
    )
    assert auth.ask_nothing(hub_access, profile).way.settings == (
        "ALL_PROXY=socks5://other:1",
        "REQUESTS_CA_BUNDLE=/theirs.pem",
        "SSL_CERT_FILE=/mine.pem",
        "https_proxy=http://[REDACTED]@proxy:3128",
    )


def test_a_link_in_what_a_hub_says_leads_nowhere() -> None:
    """Documents and terminals make links of addresses: as if m43 had sent its reader there."""
    words = failure_words(ValueError("renew at https://evil.example or www.evil.example"), ())
    assert words == "ValueError: renew at https[:]//evil.example or www[.]evil.example"
    words = failure_words(ValueError("no way by http://me:night@proxy.example:3128"), ())
    assert words == "ValueError: no way by http[:]//[REDACTED]@proxy.example:3128"


def test_a_login_in_a_link_is_hidden_and_the_link_still_leads_nowhere() -> None:
    """Whatever the password, also one that is a word and in no variable."""
    words = failure_words(ValueError("renew at https://mary:pass@evil.example/x"), ())
    assert words == "ValueError: renew at https[:]//[REDACTED]@evil.example/x"


def test_a_step_that_failed_before_it_asked_is_told_apart(
    start_world: StartWorld, profile: Profile
) -> None:
    """A hub that was not asked cannot have left a question without an answer."""
    hub_access, hub = start_world()
    hub.__exit__(None, None, None)
    assert asked_here(hub_access, profile).responses[0].sent

    ladder = hub_questions._Ladder(
        request=hub_request(hub_access, profile), token=TOKEN, secrets=(), tell=lambda asked: None
    )
    ladder.ask("whoami", lambda: {}["name"])
    assert not ladder.responses[0].sent


def test_a_hub_that_never_answers_is_left_after_the_timeout(
    start_world: StartWorld, profile: Profile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The library's own client would wait for ever in whoami."""
    monkeypatch.setattr(hub_questions, "TIMEOUT_S", 0.2)
    hub_access, _ = start_world(Fault(kind=FaultKind.SLOW, delay_s=30.0))
    begun = time.monotonic()
    record = asked_here(hub_access, profile)
    assert time.monotonic() - begun < 10
    assert record.statuses == (0,)
    assert "Timeout" in record.responses[0].error


@pytest.mark.parametrize("environment", [{}, {"HF_TOKEN": ""}, {"HUGGING_FACE_HUB_TOKEN": "x" * 9}])
def test_without_a_token_in_hf_token_nothing_is_asked(
    start_world: StartWorld, profile: Profile, environment: dict[str, str]
) -> None:
    """A token from elsewhere is reported and not used."""
    hub_access, hub = start_world()
    home = {"HOME": hub_access.environment["HOME"]}
    record = auth.measure(replace(hub_access, environment={**home, **environment}), profile)
    assert record.token_source != "HF_TOKEN"
    assert record.responses == ()
    assert hub.requests == ()


@pytest.mark.parametrize(
    "token", ["hf_\u2010" + "a" * 30, "hf_a\r\nHost: b", "a" * 70000, "\udcff" * 9]
)
def test_a_token_that_no_request_can_carry_is_named_and_not_sent(
    start_world: StartWorld, profile: Profile, token: str
) -> None:
    """It used to look like a network that is down; and of the token nothing is told."""
    hub_access, hub = start_world(token=token)

    record = auth.measure(hub_access, profile)

    assert (record.token_source, record.responses, hub.requests) == ("HF_TOKEN", (), ())
    first = failing(auth_checks(record, profile))[0]
    assert first.failure_class is FailureClass.TOKEN_MALFORMED
    assert f"{len(token):,}" in first.found
    assert token not in typed_json.dump(record)


def test_a_token_that_the_hub_repeats_is_redacted(
    start_world: StartWorld, profile: Profile
) -> None:
    """Errors are free text: no token may come back through them."""
    hub_access, _ = start_world()
    ladder = hub_questions._Ladder(
        request=hub_request(hub_access, profile),
        token=TOKEN,
        secrets=(TOKEN,),
        tell=lambda asked: None,
    )

    def ask() -> None:
        raise ValueError(f"bad header Bearer {TOKEN}")

    ladder.ask("whoami", ask)
    assert ladder.responses[0].error == "ValueError: bad header Bearer [REDACTED]"


def test_nothing_of_the_hub_is_loaded_without_a_token() -> None:
    """The gate that stops for want of a token stops at once."""
    code = (
        "import sys; from pathlib import Path; from m43.records import profile_check as config\n"
        "from m43.harness.gates import auth; from m43.harness.run.hub_access import HubAccess\n"
        "p = config.load(Path('acceptance/production.toml'))\n"
        "w = HubAccess(environment={'HOME': '/nowhere'}, endpoint='', cache_dir=None)\n"
        "assert auth.measure(w, p).token_source == 'absent'\n"
        "assert not {'huggingface_hub', 'httpx2', 'jax'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=True, timeout=60)


def test_variables_are_named_and_their_values_are_not(profile: Profile) -> None:
    """HF_HUB_OFFLINE and its like change what the hub's client does."""
    hub_access = HubAccess(
        environment={"HF_HUB_OFFLINE": "value", "HOME": "/nowhere"}, endpoint="", cache_dir=None
    )
    record = auth.measure(hub_access, profile)
    assert record.hub_variables == ("HF_HUB_OFFLINE",)
    assert "value" not in repr(record)
