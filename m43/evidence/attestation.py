"""The attestations: what a run's journal tells, in the formats that other tools read.

Both are in-toto statements, made from sealed files alone, so that `verify` makes them again. They
are not signed; `python -m m43 seal` signs.

Source: in-toto attestation specification v1, predicates test-result v0.1 and SLSA provenance v1.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence

from m43.errors import Problem
from m43.evidence.journal import ledger, manifest, redact
from m43.evidence.run import LoadedRun
from m43.files import file_sha256
from m43.records import PinnedFile, RunDir, write_atomically
from m43.typed_json import to_plain

STATEMENT = "https://in-toto.io/Statement/v1"
TEST_RESULT = "https://in-toto.io/attestation/test-result/v0.1"
PROVENANCE = "https://slsa.dev/provenance/v1"
# Names that nobody else gives: m43 has no address of its own.
BUILD_TYPE = "m43:training-run/v1"
BUILDER = "m43:harness"

_MODEL = (f"{RunDir.model.name}/", f"{RunDir.adapter.name}/")

Digests = Mapping[str, str]


def test_result(loaded_run: LoadedRun, sealed: Digests, manifest_sha256: str) -> str:
    """Write the result of the run as that of a test suite whose tests are the promises.

    A promise that was not run is in neither list; a run that has one has not passed.

    Args:
        loaded_run: The run.
        sealed: The files of the manifest, by name, with their SHA-256.
        manifest_sha256: The digest of the manifest itself.
    """
    subjects = [resource(RunDir.manifest.name, manifest_sha256), *_model_files(sealed)]
    return statement(subjects, TEST_RESULT, test_predicate(loaded_run, sealed))


def test_predicate(loaded_run: LoadedRun, sealed: Digests) -> dict[str, object]:
    """Give the predicate of the test result: the verdict, its configuration, and the promises.

    The contract is annotated with its name, and with what in it is not the M43 contract.
    """
    names = (RunDir.contract_text.name, RunDir.profile.name, RunDir.code.name)
    files = [resource(name, sealed[name]) for name in names if name in sealed]
    for file in files:
        if file["name"] == RunDir.contract_text.name:
            differences = [*loaded_run.contract_differences]
            file["annotations"] = {"contract": loaded_run.contract_name, "differences": differences}
    return {
        "result": "PASSED" if loaded_run.verdict.accepted else "FAILED",
        "configuration": [*_ledger(loaded_run), *files],
        "passedTests": _promises(loaded_run, "promise_kept"),
        "warnedTests": [],
        "failedTests": _promises(loaded_run, "promise_broken"),
    }


def _ledger(loaded_run: LoadedRun) -> list[dict[str, object]]:
    """Name the seal of the ledger's last line: who keeps the statement keeps every attempt."""
    opening = loaded_run.opening
    return [] if opening is None else [resource(f"{ledger.FILE}: last line", opening.ledger_sha256)]


def provenance(loaded_run: LoadedRun, sealed: Digests) -> str | None:
    """Write how the trained model came to be; None when the run left no model."""
    subjects = _model_files(sealed)
    opening, profile = loaded_run.opening, loaded_run.profile
    if not subjects or opening is None or profile is None:
        return None
    ended = next(entry.time_utc for entry in loaded_run.entries if entry.event == "sealed")
    predicate = {
        "buildDefinition": {
            "buildType": BUILD_TYPE,
            "externalParameters": {"profile": to_plain(profile), "command": [*opening.command]},
            "internalParameters": {"seed": profile.training.seed},
            "resolvedDependencies": _dependencies(loaded_run, sealed),
        },
        "runDetails": {
            "builder": {"id": BUILDER, "version": {"m43": opening.m43_version}},
            "metadata": {
                "invocationId": opening.run,
                "startedOn": opening.started_utc,
                "finishedOn": ended,
            },
            "byproducts": [
                resource(name, sealed[name])
                for name in (RunDir.metrics.name, RunDir.predictions.name)
                if name in sealed
            ],
        },
    }
    return statement(subjects, PROVENANCE, predicate)


def statement(
    subjects: Sequence[Mapping[str, object]], predicate_type: str, predicate: Mapping[str, object]
) -> str:
    """Write an in-toto statement, the same bytes for the same facts."""
    table = {
        "_type": STATEMENT,
        "subject": subjects,
        "predicateType": predicate_type,
        "predicate": predicate,
    }
    return json.dumps(table, indent=2, ensure_ascii=True, allow_nan=False) + "\n"


def resources(digests: Digests) -> list[dict[str, object]]:
    """Describe files as in-toto does, in order of their names."""
    return [resource(name, digests[name]) for name in sorted(digests)]


def resource(name: str, sha256: str) -> dict[str, object]:
    """Describe a file as in-toto does."""
    return {"name": name, "digest": {"sha256": sha256}}


def _model_files(sealed: Digests) -> list[dict[str, object]]:
    # Without the card: no training made it, and who publishes the model adds to it.
    names = {name for name in sealed if name.startswith(_MODEL)} - {RunDir.model_card.name}
    return resources({name: sealed[name] for name in names})


def _promises(loaded_run: LoadedRun, event: str) -> list[str]:
    return [entry.name for entry in loaded_run.entries if entry.event == event]


def _dependencies(loaded_run: LoadedRun, sealed: Digests) -> list[dict[str, object]]:
    """List what training read: the code, the model's files, the rows, the environment."""
    found: list[dict[str, object]] = []
    opening, download = loaded_run.opening, loaded_run.download
    if opening is not None:
        commit = opening.commit.partition("+")[0]
        if len(commit) == 40:
            found.append({"name": "m43", "digest": {"gitCommit": commit}})
        tree = opening.tree_commit.partition("+")[0]
        if len(tree) == 40:
            found.append({"name": "tree", "digest": {"gitCommit": tree}})
        found.append(resource("data: training rows", opening.train_rows_sha256))
        found.append(resource("data: evaluation rows", opening.eval_rows_sha256))
    if download is not None and loaded_run.auth is not None:
        repo = f"{loaded_run.auth.repo}@{download.revision}"
        found += _pinned(repo, download.files)
    names = (RunDir.code.name, RunDir.env_snapshot.name)
    return [*found, *(resource(name, sealed[name]) for name in names if name in sealed)]


def _pinned(repo: str, files: Iterable[PinnedFile]) -> list[dict[str, object]]:
    kinds = {"sha256": "sha256", "git-sha1": "gitBlob"}
    return [
        {"name": f"{repo}/{file.name}", "digest": {kinds[file.digest_kind]: file.digest}}
        for file in files
    ]


def write_attestations(run: RunDir, loaded_run: LoadedRun) -> None:
    """Write the attestations of a sealed run; one that was never sealed attests nothing."""
    for name, text in _expected(run, loaded_run).items():
        write_atomically(run.path / name, text.encode())


def audit_attestations(run: RunDir, loaded_run: LoadedRun) -> Iterator[Problem]:
    """Make both attestations again and compare them with those that lie there."""
    expected = _expected(run, loaded_run)
    for path in (run.attestation, run.provenance):
        text = expected.get(path.name)
        found = path.read_bytes() if path.is_file() else None
        if found != (text.encode() if text is not None else None):
            yield Problem(
                found="no file" if found is None else "another statement",
                expected="none" if text is None else "the statement that follows from the records",
                where=path.name,
                action="do not rely on it; where the run was made, "
                "`python -m m43 render RUN_DIR` writes it again",
            )


def _expected(run: RunDir, loaded_run: LoadedRun) -> Mapping[str, str]:
    sealed_now = any(entry.event == "sealed" for entry in loaded_run.entries)
    if not sealed_now or not run.manifest.is_file():
        return {}
    sealed = manifest.read(run)
    result = test_result(loaded_run, sealed, file_sha256(run.manifest))
    texts = {run.attestation.name: result}
    origin = provenance(loaded_run, sealed)
    if origin is not None:
        texts[run.provenance.name] = origin
    return {name: redact(text, ()) for name, text in texts.items()}
