"""A signature under a finished folder: what it excludes, and what it says without a key."""

import base64
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import x25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from google.protobuf.json_format import ParseDict
from in_toto_attestation.v1.statement import Statement
from in_toto_attestation.v1.statement_pb2 import Statement as StatementMessage

from m43 import __main__ as command
from m43.evidence.journal import witness_lines
from m43.evidence.run.loaded_run import load_run
from m43.evidence.verify import signature
from m43.evidence.verify.claims import verify
from m43.files import file_sha256
from m43.records.run_dir import RunDir
from tests.unit.evidence.good_records import REPOSITORY
from tests.unit.evidence.good_run import write_good_run
from tests.unit.evidence.tampering import edit, found, reseal

PASSWORD = "between us"


def openssl(*words: str | Path) -> None:
    """Make keys as the documents tell a person to."""
    subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True)


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two pairs of keys, and one of them once more behind a password."""
    folder = tmp_path_factory.mktemp("keys")
    for name in ("mine", "theirs"):
        openssl("genpkey", "-algorithm", "ed25519", "-out", folder / name)
        openssl("pkey", "-in", folder / name, "-pubout", "-out", folder / f"{name}.pub")
    openssl(
        "pkey", "-in", folder / "mine", "-aes256", "-passout", f"pass:{PASSWORD}", "-out",
        folder / "locked",
    )  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def sealed(keys: Path, tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    """A run that was signed, and that nobody changes."""
    run = write_good_run(tmp_path_factory.mktemp("signature"))
    assert command.main(["seal", "--key", str(keys / "mine"), str(run.path)]) == 0
    return run


@pytest.fixture
def run(sealed: RunDir, tmp_path: Path) -> RunDir:
    """A copy of it, to be changed."""
    return RunDir(Path(shutil.copytree(sealed.path, tmp_path / sealed.path.name)))


def told(run: RunDir, key: Path) -> str:
    """Verify with a public key and give all problems as text."""
    return "\n".join(map(str, verify(run.path, REPOSITORY, public_key=key)))


def test_a_signed_folder_verifies_with_the_key_of_its_signer(
    sealed: RunDir, keys: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And says so; without a key it says that nobody looked at the signature."""
    arguments = ["verify", str(sealed.path)]
    assert command.main([*arguments, "--public-key", str(keys / "mine.pub")]) == 0
    assert "signed by the key of" in capsys.readouterr().out
    assert command.main(arguments) == 0
    assert "its signature was not checked" in capsys.readouterr().out


def test_the_envelope_is_dsse_around_an_in_toto_statement(sealed: RunDir) -> None:
    """So that any tool of the field can check it; it names every file that no manifest does."""
    table = json.loads(sealed.signature.read_text())
    statement = json.loads(base64.b64decode(table["payload"]))
    assert table["payloadType"] == "application/vnd.in-toto+json"
    assert len(table["signatures"]) == 1
    Statement.copy_from_pb(ParseDict(statement, StatementMessage())).validate()
    assert {each["name"] for each in statement["subject"]} == {
        "MANIFEST.sha256", "attestation.intoto.json", "journal.jsonl", "junit.xml",
        "loss_curve.svg", "m43_summary.md", "provenance.intoto.json", "report.html",
        "reports.sha256",
    }  # fmt: skip


def test_the_key_of_somebody_else_does_not_verify_it(sealed: RunDir, keys: Path) -> None:
    """Whoever made the folder again by hand can sign it with a key of their own only."""
    text = told(sealed, keys / "theirs.pub")
    assert "seal.dsse.json: found VerificationError" in text
    assert "whoever holds this key did not sign it so" in text


def forge(run: RunDir) -> None:
    """Change a record and seal everything again, as somebody would who has no key."""
    edit("train.json", "600000", "600001")(run)
    reseal(run)


def resign(run: RunDir) -> None:
    """Change the signed statement itself, to what now lies there."""
    forge(run)
    table = json.loads(run.signature.read_text())
    text = signature._statement(run, load_run(run))
    payload = base64.b64encode(text.encode()).decode()
    run.signature.write_text(json.dumps({**table, "payload": payload}))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        pytest.param(forge, "MANIFEST.sha256: found SHA-256", id="forged"),
        pytest.param(resign, "seal.dsse.json: found VerificationError", id="forged statement"),
        pytest.param(
            lambda run: (run.path / "note.txt").write_text("x"),
            "note.txt: found SHA-256",
            id="extra",
        ),
        pytest.param(
            lambda run: run.report.unlink(), "report.html: found SHA-256 no file", id="missing"
        ),
        pytest.param(
            lambda run: run.signature.unlink(), "seal.dsse.json: found no signature", id="unsigned"
        ),
        pytest.param(
            lambda run: run.signature.write_text("{"), "found JSONDecodeError", id="no envelope"
        ),
        pytest.param(
            lambda run: run.signature.write_text('{"payload": "e30="}'),
            "found KeyError",
            id="empty",
        ),
        pytest.param(
            edit("seal.dsse.json", "vnd.in-toto", "vnd.other"), "the payload type", id="other type"
        ),
    ],
)
def test_every_change_after_the_signature_is_named(
    run: RunDir, keys: Path, change: Callable[[RunDir], None], named: str
) -> None:
    """Also one that was sealed again in every place that needs no key."""
    change(run)

    assert named in told(run, keys / "mine.pub")


def test_what_was_signed_is_compared_without_any_key(run: RunDir) -> None:
    """A reader who has none still sees that the folder is another than the one signed."""
    forge(run)

    assert "MANIFEST.sha256: found SHA-256" in found(run)


def test_a_folder_that_does_not_hold_is_not_signed(
    keys: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A signature would lend it a word that it does not deserve."""
    run = write_good_run(tmp_path)
    edit("train.json", "600000", "600001")(run)

    assert command.main(["seal", "--key", str(keys / "mine"), str(run.path)]) == 1

    assert "train.json" in capsys.readouterr().out
    assert not run.signature.exists()


def test_a_folder_is_signed_once(
    run: RunDir, keys: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A second signature would hide the first."""
    before = run.signature.read_bytes()

    assert command.main(["seal", "--key", str(keys / "theirs"), str(run.path)]) == 1

    assert "a folder is signed once" in capsys.readouterr().err
    assert run.signature.read_bytes() == before


def test_a_key_behind_a_password_asks_for_it(
    run: RunDir, keys: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The password is asked for, never an argument that others could read."""
    run.signature.unlink()
    monkeypatch.setattr("getpass.getpass", lambda prompt: PASSWORD)

    assert command.main(["seal", "--key", str(keys / "locked"), str(run.path)]) == 0

    assert told(run, keys / "mine.pub") == ""


def test_what_is_no_key_is_a_named_error(
    run: RunDir, keys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """No file, a pipe, no PEM, the wrong password, no key that signs: each says how to make one."""
    run.signature.unlink()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "text").write_text("no key")
    pem = x25519.X25519PrivateKey.generate().private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )
    (tmp_path / "exchange").write_bytes(pem)
    monkeypatch.setattr("getpass.getpass", lambda prompt: "wrong")
    names = ("none", "pipe", "text", "exchange")
    for path in (keys / "locked", *(tmp_path / name for name in names)):
        assert command.main(["seal", "--key", str(path), str(run.path)]) == 1
        assert "openssl genpkey -algorithm ed25519" in capsys.readouterr().err
        assert not run.signature.exists()


def test_what_is_no_public_key_is_a_named_error(
    sealed: RunDir, keys: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The private one, say, or a pipe that nobody writes to."""
    os.mkfifo(keys / "pipe")
    for name, kind in (("mine", "public"), ("pipe", "usable")):
        assert command.main(["verify", str(sealed.path), "--public-key", str(keys / name)]) == 1
        assert f"expected a {kind} key in PEM" in capsys.readouterr().err


def test_without_the_extra_a_signature_is_not_passed_over(sealed: RunDir, keys: Path) -> None:
    """The standard library alone cannot check it, and says which extra can."""
    script = (
        "import sys; sys.path.insert(0, sys.argv.pop(1))\n"
        "from m43.__main__ import main\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    command = [sys.executable, "-I", "-S", "-c", script, str(REPOSITORY), "verify"]
    words = [str(sealed.path), "--public-key", str(keys / "mine.pub")]

    plain = subprocess.run([*command, words[0]], capture_output=True, text=True, check=False)
    asked = subprocess.run([*command, *words], capture_output=True, text=True, check=False)

    assert plain.returncode == 0, plain.stdout + plain.stderr
    assert asked.returncode == 1
    assert "install m43[seal]" in asked.stderr


@pytest.fixture(scope="module")
def ssh_keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two keys as people have them for SSH, and a file of allowed signers for each."""
    folder = tmp_path_factory.mktemp("ssh")
    for name in ("mine", "theirs"):
        make = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", folder / name]
        subprocess.run(list(map(str, make)), check=True, capture_output=True)
        public = (folder / f"{name}.pub").read_text()
        (folder / f"{name}.signers").write_text(f'{name}@example namespaces="m43" {public}')
    return folder


@pytest.fixture
def ssh_sealed(ssh_keys: Path, tmp_path: Path) -> RunDir:
    """A run that was signed with a key of OpenSSH."""
    run = write_good_run(tmp_path)
    assert command.main(["seal", "--key", str(ssh_keys / "mine"), str(run.path)]) == 0
    return run


def test_a_key_that_people_publish_already_signs_as_well(
    ssh_sealed: RunDir, ssh_keys: Path
) -> None:
    """Verified against the signers that the reader allows, and against no others."""
    assert told(ssh_sealed, ssh_keys / "mine.signers") == ""
    assert "a signature by one of" in told(ssh_sealed, ssh_keys / "theirs.signers")
    forge(ssh_sealed)
    assert "as signed" in told(ssh_sealed, ssh_keys / "mine.signers")


@pytest.mark.parametrize("broken", ["payload", "sig", "two signatures"])
def test_a_signature_of_openssh_is_over_the_very_bytes(
    ssh_sealed: RunDir, ssh_keys: Path, broken: str
) -> None:
    """A word changed in what was signed, or in the signature: it does not verify."""
    table = json.loads(ssh_sealed.signature.read_text())
    if broken == "payload":
        changed = base64.b64decode(table["payload"]).replace(b"PASSED", b"passed")
        table["payload"] = base64.b64encode(changed).decode()
    elif broken == "sig":
        armour = base64.b64decode(table["signatures"][0]["sig"]).decode().splitlines()
        armour[3] = armour[3][::-1]
        table["signatures"][0]["sig"] = base64.b64encode("\n".join(armour).encode()).decode()
    else:
        table["signatures"] *= 2
    ssh_sealed.signature.write_text(json.dumps(table))
    expected = "one signature" if broken == "two signatures" else "a signature by one of"
    assert expected in told(ssh_sealed, ssh_keys / "mine.signers")


def test_ssh_keygen_is_started_with_what_it_needs_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No token and no library of others; a person's agent is found."""
    program, seen = tmp_path / "ssh-keygen", tmp_path / "seen"
    program.write_text(f"#!/bin/sh\n/usr/bin/env > {seen}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HTTPS_PROXY", "LD_AUDIT", "SSH_AUTH_SOCK"):
        monkeypatch.setenv(name, "of the engineer's")
    signature._ssh_keygen("-l")

    names = {line.partition("=")[0] for line in seen.read_text().splitlines()}
    # What the shell of this program adds by itself is not m43's.
    assert names - {"PWD", "SHLVL", "_"} <= {
        *("PATH", "HOME", "LD_LIBRARY_PATH", "LC_ALL", "SSH_AUTH_SOCK", "SSH_ASKPASS", "DISPLAY")
    }
    assert "SSH_AUTH_SOCK" in names


def test_without_openssh_one_error_says_what_is_missing(
    ssh_keys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is signed, and nothing is passed over."""
    run = write_good_run(tmp_path)
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(signature.MissingExtraError, match="no ssh-keygen that answers"):
        signature.sign(run, load_run(run), ssh_keys / "mine", lambda prompt: "")
    assert not run.signature.exists()


def test_seal_gives_both_lines_that_others_may_date(
    keys: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """After the signature: from before training, and from the end."""
    run = write_good_run(tmp_path)
    assert command.main(["seal", "--key", str(keys / "mine"), str(run.path)]) == 0
    signed, *lines = capsys.readouterr().out.splitlines()
    assert signed.startswith(f"{run.signature}: signed by the key ")
    expected = witness_lines(run, load_run(run).entries)
    assert lines == [f"witness  {line}" for line in expected]
    assert [", before training: " in line for line in expected] == [True, False]
    assert ", at its end: " in expected[1]


def test_two_lines_are_fit_to_be_dated_by_others(
    sealed: RunDir, run: RunDir, capsys: pytest.CaptureFixture[str]
) -> None:
    """From before training and from the end; what was changed since is another line."""
    assert command.main(["verify", str(sealed.path)]) == 0
    before, end = (line for line in capsys.readouterr().out.splitlines() if "witness  " in line)
    entries = load_run(sealed).entries
    place = next(n for n, each in enumerate(entries) if each.gate == "train-300")
    opening = file_sha256(sealed.opening)
    assert before == (
        f"witness  m43 rehearsal-1, before training: journal {entries[place - 1].sha256}, "
        f"opening {opening}"
    )
    (seal,) = (each for each in entries if each.event == "sealed")
    assert end == f"witness  m43 rehearsal-1, at its end: journal {seal.sha256}, opening {opening}"
    forge(run)
    earlier, later = witness_lines(run, load_run(run).entries)
    # What was changed is a record of the training.
    assert before == f"witness  {earlier}"
    assert end != f"witness  {later}"
