"""The attestations on disk: written with the documents, and held against what follows again."""

from collections.abc import Iterator, Mapping

from m43.errors import Problem
from m43.evidence import attestation, manifest
from m43.evidence.digests import file_sha256
from m43.evidence.dossier import Dossier
from m43.evidence.redaction import redact
from m43.run_dir import RunDir, write_atomically


def write_attestations(run: RunDir, dossier: Dossier, *, accepted: bool) -> None:
    """Write the attestations of a sealed run; one that was never sealed attests nothing."""
    for name, text in _expected(run, dossier, accepted=accepted).items():
        write_atomically(run.path / name, text.encode())


def audit_attestations(run: RunDir, dossier: Dossier, *, accepted: bool) -> Iterator[Problem]:
    """Make both attestations again and compare them with those that lie there."""
    expected = _expected(run, dossier, accepted=accepted)
    for path in (run.attestation, run.provenance):
        text = expected.get(path.name)
        found = path.read_bytes() if path.is_file() else None
        if found != (text.encode() if text is not None else None):
            yield Problem(
                found="no file" if found is None else "another statement",
                expected="none" if text is None else "the statement that follows from the records",
                where=path.name,
                action="do not rely on it; `python -m m43 render RUN_DIR` writes it again",
            )


def _expected(run: RunDir, dossier: Dossier, *, accepted: bool) -> Mapping[str, str]:
    sealed_now = any(entry.event == "sealed" for entry in dossier.entries)
    if not sealed_now or not run.manifest.is_file():
        return {}
    sealed = manifest.read(run)
    result = attestation.test_result(dossier, sealed, file_sha256(run.manifest), accepted=accepted)
    texts = {run.attestation.name: result}
    origin = attestation.provenance(dossier, sealed)
    if origin is not None:
        texts[run.provenance.name] = origin
    return {name: redact(text, ()) for name, text in texts.items()}
