"""The signature: a person's key under a finished run folder, as a DSSE envelope.

It covers every file: those of the manifest through the manifest, the others by name. It excludes
that anything was changed after it was given, by anybody who does not hold the key; that the run
happened is the word of the person who signed.

Source: DSSE v1.0, with the payload type of in-toto's attestations. A key of OpenSSH, which many
people publish already, signs the same bytes through ssh-keygen (PROTOCOL.sshsig).
"""

import base64
import binascii
import json
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from m43.errors import M43Error, Problem, problem
from m43.evidence import attestation
from m43.evidence.journal import manifest
from m43.evidence.run import LoadedRun
from m43.evidence.verify.code import helper_environment
from m43.files import file_sha256, read_whole
from m43.records import RunDir, write_atomically

PAYLOAD_TYPE = "application/vnd.in-toto+json"
_MOST_BYTES = 1 << 24

_ALTERED = "do not rely on this folder: it is not as it was when it was signed"


class MissingExtraError(M43Error):
    """The library that signs and checks signatures is not installed here."""


class KeyFileError(M43Error):
    """A file that holds no key that can be used."""


class SignedAlreadyError(M43Error):
    """A folder under which there is a signature."""


def sign(run: RunDir, loaded_run: LoadedRun, key: Path, read_password: Callable[[str], str]) -> str:
    """Sign a finished folder with a private key, and return the id of the key.

    Args:
        run: The run folder; the caller has found every claim of it supported.
        loaded_run: What it holds.
        key: A private key in PEM, Ed25519, ECDSA or RSA; or one of OpenSSH, which may also be named
            by its public half where an agent holds it.
        read_password: Called with a prompt, for the password of a key that has one.

    Raises: MissingExtraError, KeyFileError, SignedAlreadyError.
    """
    return write_signature(run.signature, _statement(run, loaded_run), key, read_password)


def write_signature(path: Path, text: str, key: Path, read_password: Callable[[str], str]) -> str:
    """Write a statement into an envelope that a private key signs, and return the id of the key.

    Raises: MissingExtraError, KeyFileError, SignedAlreadyError.
    """
    if path.exists():
        raise SignedAlreadyError(
            found="a signature",
            expected="none: a folder is signed once, and so is a bundle",
            where=str(path),
            action="check it with verify --public-key; remove it yourself to sign anew",
        )
    payload = text.encode()
    if _bytes(key).startswith(_OF_SSH):
        table = _signed_by_ssh(payload, key)
        write_atomically(path, (json.dumps(table, indent=2) + "\n").encode())
        return str(table["signatures"][0]["keyid"])
    dsse, signer = _library("securesystemslib.dsse"), _signer(key, read_password)
    envelope = dsse.Envelope(payload=payload, payload_type=PAYLOAD_TYPE, signatures={})
    signature = envelope.sign(signer)
    write_atomically(path, (json.dumps(envelope.to_dict(), indent=2) + "\n").encode())
    return str(signature.keyid)


def audit_signature(
    run: RunDir, loaded_run: LoadedRun, public_key: Path | None
) -> Iterator[Problem]:
    """Check a folder against its signature, and that against a public key if one is given.

    Raises: MissingExtraError, KeyFileError.
    """
    name = run.signature.name
    if not run.signature.is_file():
        if public_key is not None:
            yield problem("no signature", f"one that {public_key} verifies", name, _ALTERED)
        return
    try:
        payload = signed_payload(run.signature)
        signed = _subjects(payload)
    except (OSError, ValueError, TypeError, LookupError) as error:
        found = f"{type(error).__name__}: {error}"
        yield problem(found, "a DSSE envelope around a statement", name, _ALTERED)
        return
    yield from _changed(run, signed)
    if payload != _statement(run, loaded_run).encode():
        expected = "the statement that follows from the records, of type " + PAYLOAD_TYPE
        yield problem("another statement", expected, name, _ALTERED)
    if public_key is not None:
        yield from audit_key(run.signature, public_key)


def signed_payload(path: Path) -> bytes:
    """Return what is signed in an envelope, whoever signed it.

    Raises: OSError, ValueError, TypeError, LookupError.
    """
    return base64.b64decode(_envelope(path)["payload"], validate=True)


def audit_key(path: Path, public_key: Path) -> Iterator[Problem]:
    """Check an envelope against a public key, or the allowed signers of OpenSSH.

    Raises: MissingExtraError, KeyFileError, and what `signed_payload` does.
    """
    table, where = _envelope(path), path.name
    if not _bytes(public_key).startswith(b"-----BEGIN "):
        yield from _ssh_verified(table, public_key, where)
        return
    dsse, errors = _library("securesystemslib.dsse"), _library("securesystemslib.exceptions")
    key = _public(public_key)
    try:
        envelope = dsse.Envelope.from_dict(json.loads(json.dumps(table)))
        if envelope.payload_type == PAYLOAD_TYPE:
            envelope.verify([key], 1)
            return
        found = f"the payload type {envelope.payload_type!r}"
    except (errors.Error, ValueError, TypeError, LookupError, AttributeError) as error:
        found = f"{type(error).__name__}: {error}"
    action = "do not rely on it: whoever holds this key did not sign it so"
    yield problem(found, f"a signature by the key of {public_key}", where, action)


def _envelope(path: Path) -> Any:
    return json.loads(read_whole(path, _MOST_BYTES))


def _statement(run: RunDir, loaded_run: LoadedRun) -> str:
    """Write the verdict of the run as a statement about every file that the manifest leaves out."""
    sealed = manifest.read(run)
    predicate = attestation.test_predicate(loaded_run, sealed)
    subjects = attestation.resources(_unsealed(run, sealed))
    return attestation.statement(subjects, attestation.TEST_RESULT, predicate)


def _unsealed(run: RunDir, sealed: Mapping[str, str]) -> Mapping[str, str]:
    paths = (path for path in run.path.rglob("*") if path.is_file() and path != run.signature)
    named = {path.relative_to(run.path).as_posix(): path for path in paths}
    return {name: file_sha256(path) for name, path in named.items() if name not in sealed}


def _subjects(payload: bytes) -> Mapping[str, str]:
    table = json.loads(payload)
    return {str(each["name"]): str(each["digest"]["sha256"]) for each in table["subject"]}


def _changed(run: RunDir, signed: Mapping[str, str]) -> Iterator[Problem]:
    """Yield each file that is not as it was signed; the manifest's files are its own concern."""
    now = _unsealed(run, manifest.read(run))
    for name in sorted(signed.keys() | now.keys()):
        found, expected = now.get(name, "no file"), signed.get(name, "none")
        if found != expected:
            yield problem(f"SHA-256 {found}", f"{expected}, as signed", name, _ALTERED)


_NAMESPACE = "m43"
# A private key, or the public half of one.
_OF_SSH = (b"-----BEGIN OPENSSH PRIVATE KEY", b"ssh-", b"ecdsa-sha2-", b"sk-")
_LONGEST_KEY = 1 << 20
_PATIENCE_S = 300.0  # a person may have to type a password, or touch a key
# By which it finds a person's agent, and what asks for a password where there is no terminal.
# Source: ssh-keygen(1) and ssh(1) of OpenSSH 9.2, ENVIRONMENT.
_OF_AGENT = ("SSH_AUTH_SOCK", "SSH_ASKPASS", "DISPLAY")


def _encoded(payload: bytes) -> bytes:
    """Give the bytes that are signed. Source: DSSE v1.0, PAE."""
    kind = PAYLOAD_TYPE.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


def _signed_by_ssh(payload: bytes, key: Path) -> dict[str, Any]:
    done = _ssh_keygen("-Y", "sign", "-n", _NAMESPACE, "-f", str(key), given=_encoded(payload))
    named = _ssh_keygen("-l", "-f", str(key))
    if done.returncode != 0 or named.returncode != 0:
        said = (done.stderr or named.stderr).decode(errors="replace").strip()
        raise KeyFileError(
            found=said or "ssh-keygen that does not sign",
            expected="a private key in PEM or of OpenSSH, or the public half of one that an agent "
            "holds",
            where=str(key),
            action="try `ssh-keygen -Y sign -n m43 -f KEY FILE` by hand",
        )
    keyid = named.stdout.split()[1].decode()
    signature = {"keyid": keyid, "sig": base64.b64encode(done.stdout).decode()}
    encoded = base64.b64encode(payload).decode()
    return {"payload": encoded, "payloadType": PAYLOAD_TYPE, "signatures": [signature]}


def _ssh_verified(table: Mapping[str, Any], signers: Path, where: str) -> Iterator[Problem]:
    """Check a signature of OpenSSH against a file of allowed signers, as ssh-keygen reads it."""
    try:
        (signature,) = table["signatures"]
        armour = base64.b64decode(signature["sig"], validate=True)
        payload = base64.b64decode(table["payload"], validate=True)
    except (ValueError, TypeError, LookupError, binascii.Error) as error:
        found = f"{type(error).__name__}: {error}"
        yield problem(found, "one signature by ssh-keygen", where, _ALTERED)
        return
    with tempfile.TemporaryDirectory(prefix="m43-seal-") as folder:
        path = Path(folder) / "signature"
        path.write_bytes(armour)
        of = ("-s", str(path), "-f", str(signers))
        named = _ssh_keygen("-Y", "find-principals", *of)
        signer = named.stdout.decode(errors="replace").partition("\n")[0]
        words = ("-Y", "verify", "-n", _NAMESPACE, "-I", signer, *of)
        done = _ssh_keygen(*words, given=_encoded(payload)) if signer else named
    if not signer or done.returncode != 0:
        said = done.stderr or done.stdout
        found = said.decode(errors="replace").strip() or "a signature that does not fit"
        action = "do not rely on it: none of these signers signed it so"
        yield problem(found, f"a signature by one of {signers}", where, action)


def _ssh_keygen(*words: str, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(
            ("ssh-keygen", *words),
            input=given,
            capture_output=True,
            timeout=_PATIENCE_S,
            check=False,
            env=helper_environment(os.environ, *_OF_AGENT),
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise MissingExtraError(
            found=f"no ssh-keygen that answers ({error})",
            expected="OpenSSH, 8.1 or newer, which signs and checks with the keys of SSH",
            where="the PATH of this command",
            action="install it (package openssh-client), or use a key in PEM",
        ) from None


def _signer(path: Path, read_password: Callable[[str], str]) -> Any:
    serialization = _library("cryptography.hazmat.primitives.serialization")
    signer = _library("securesystemslib.signer")
    data = _bytes(path)
    try:
        try:
            key = serialization.load_pem_private_key(data, password=None)
        except TypeError:
            # The library's way to say that the key is encrypted.
            password = read_password(f"Password of {path}: ").encode()
            key = serialization.load_pem_private_key(data, password=password)
        return signer.CryptoSigner(key)
    except (ValueError, TypeError, _unsupported()) as error:
        raise _no_key(path, "private", error) from None


def _public(path: Path) -> Any:
    serialization = _library("cryptography.hazmat.primitives.serialization")
    signer = _library("securesystemslib.signer")
    try:
        return signer.SSlibKey.from_crypto(serialization.load_pem_public_key(_bytes(path)))
    except (ValueError, TypeError, _unsupported()) as error:
        raise _no_key(path, "public", error) from None


def _unsupported() -> type[Exception]:
    found: type[Exception] = _library("cryptography.exceptions").UnsupportedAlgorithm
    return found


def _bytes(path: Path) -> bytes:
    try:
        return read_whole(path, _LONGEST_KEY)
    except OSError as error:
        raise _no_key(path, "usable", error) from None


def _no_key(path: Path, kind: str, error: Exception) -> KeyFileError:
    return KeyFileError(
        found=f"{type(error).__name__}: {error}",
        expected=f"a {kind} key in PEM",
        where=str(path),
        action="make a pair with `openssl genpkey -algorithm ed25519 -out KEY.pem` and "
        "`openssl pkey -in KEY.pem -pubout -out KEY.pub.pem`, and keep KEY.pem to yourself",
    )


def _library(name: str) -> Any:
    """Import what signs only when something is to be signed or checked: verify needs none of it."""
    import importlib

    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingExtraError(
            found=f"no {name} ({error})",
            expected="the extra `seal`, which signs and checks signatures",
            where="the environment of this command",
            action="install m43[seal] there (never into .venv-gpu)",
        ) from None
