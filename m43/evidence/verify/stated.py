"""What lies beside a bundle: a statement of its digest, and a person's signature under that.

The seals of a run were made before there was a bundle, so neither can be in it. Both follow from
the zip: `verify` writes the statement again, and holds what lies there against it.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from m43.errors import Problem, problem
from m43.evidence.attestation import resource, statement
from m43.evidence.run import load_run
from m43.evidence.verify.signature import audit_key, signed_payload, write_signature
from m43.files import file_sha256, read_whole
from m43.records import RunDir, write_atomically

BUNDLE = "m43:bundle/v1"
_STATEMENT, _SIGNATURE = ".intoto.json", ".dsse.json"
_LONGEST = 1 << 20
_ALTERED = "do not rely on it: the zip was changed after it was made, or what lies beside it"


@dataclass(frozen=True, kw_only=True)
class Stated:
    """A bundle, and what there is to state of it.

    Attributes:
        path: of the zip.
        run: its run folder, unpacked or not yet packed.
        files: how many of that are in it.
        weights: whether those of the model are.
    """

    path: Path
    run: RunDir
    files: int
    weights: bool

    @property
    def statement(self) -> Path:
        """Where the statement lies."""
        return self.path.with_name(self.path.name + _STATEMENT)

    @property
    def signature(self) -> Path:
        """Where its signature lies, where it is signed."""
        return self.path.with_name(self.path.name + _SIGNATURE)

    @cached_property
    def sha256(self) -> str:
        """Return the digest of the zip."""
        return file_sha256(self.path)

    def write(self) -> None:
        """Write the statement."""
        write_atomically(self.statement, self._text(self.path.name).encode())

    def sign(self, key: Path, read_password: Callable[[str], str]) -> str:
        """Sign the statement, and return the id of the key; the caller has verified the bundle.

        Raises: as `sign` of a folder does.
        """
        return write_signature(self.signature, self._text(self.path.name), key, read_password)

    def audit(self, public_key: Path | None = None) -> Iterator[Problem]:
        """Hold statement and signature against the zip, as far as they lie beside it.

        Args:
            public_key: of the person who signed it, where it is signed.
        """
        told, signature = self.statement, self.signature
        if told.is_file():
            yield from self._audit_text(told, lambda: read_whole(told, _LONGEST))
        if signature.is_file():
            problems = tuple(self._audit_text(signature, lambda: signed_payload(signature)))
            yield from problems
            if not problems and public_key is not None:
                yield from audit_key(signature, public_key)

    def _audit_text(self, path: Path, read: Callable[[], bytes]) -> Iterator[Problem]:
        try:
            found = read()
            (subject,) = json.loads(found)["subject"]
            # Whoever hands a file on may give it another name.
            name, stated = str(subject["name"]), str(subject["digest"]["sha256"])
        except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
            name, stated, found = "", f"none that can be read ({type(error).__name__})", b""
        if stated != self.sha256:
            expected = f"{stated}, as in {path.name}"
            yield problem(f"SHA-256 {self.sha256}", expected, self.path.name, _ALTERED)
        elif found != self._text(name).encode():
            yield problem("another statement", "that of this zip", path.name, _ALTERED)

    def _text(self, name: str) -> str:
        loaded_run, manifest = load_run(self.run), self.run.manifest
        sealed = file_sha256(manifest) if manifest.is_file() else "no file"
        predicate = {
            "run": self.run.path.absolute().name,
            "verdict": loaded_run.verdict_words(loaded_run.verdict.accepted),
            "sizeBytes": self.path.stat().st_size,
            "files": self.files,
            "weights": self.weights,
            "manifest": resource(manifest.name, sealed),
        }
        return statement([resource(name, self.sha256)], BUNDLE, predicate)
