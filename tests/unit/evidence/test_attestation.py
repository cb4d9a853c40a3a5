"""The attestations are in-toto's and SLSA's by their published schemas, and say what happened."""

import json
import shutil
from pathlib import Path

import pytest
from google.protobuf.json_format import ParseDict
from in_toto_attestation.predicates.provenance.v1.provenance_pb2 import Provenance
from in_toto_attestation.predicates.test_result.v0.test_result_pb2 import TestResult as Result
from in_toto_attestation.v1.statement import Statement
from in_toto_attestation.v1.statement_pb2 import Statement as StatementMessage

from m43.evidence.documents import write
from m43.files import file_sha256
from m43.records.run_dir import RunDir
from tests.unit.evidence.good_records import FILES, MODEL_SHA256, PROMISED
from tests.unit.evidence.good_run import (
    PROMISES,
    break_gate,
    stop_at,
    write_good_run,
    write_opening,
)
from tests.unit.evidence.tampering import found


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    """A run folder that nobody changes."""
    return write_good_run(tmp_path_factory.mktemp("attestation"))


def statement(path: Path) -> dict[str, object]:
    """Read a statement, and hold it against in-toto's own schema: no field is unknown to it."""
    table = json.loads(path.read_text(encoding="utf-8"))
    message = ParseDict(table, StatementMessage())
    Statement.copy_from_pb(message).validate()
    return table


def test_the_result_is_a_valid_statement_about_the_manifest(good: RunDir) -> None:
    """Passed, with every promise by name, over the digest of the manifest and of the model."""
    table = statement(good.attestation)
    predicate = ParseDict(table["predicate"], Result())
    assert table["predicateType"] == "https://in-toto.io/attestation/test-result/v0.1"
    assert predicate.result == "PASSED"
    assert len(predicate.passed_tests) == len(PROMISES)
    assert list(predicate.failed_tests) == []
    assert [each.name for each in predicate.configuration] == [
        "attempts.jsonl: last line", "contract.txt", "contract.lock.json", "code.sha256"
    ]  # fmt: skip
    subjects = {each["name"]: each["digest"]["sha256"] for each in table["subject"]}
    assert subjects["MANIFEST.sha256"] == file_sha256(good.manifest)
    assert subjects["model/model.safetensors"] == file_sha256(good.model / "model.safetensors")


def test_the_provenance_is_a_valid_statement_about_the_model(good: RunDir) -> None:
    """What was built, from which bytes, by which settings, when."""
    table = statement(good.provenance)
    predicate = ParseDict(table["predicate"], Provenance())
    build, run = predicate.build_definition, predicate.run_details
    assert table["predicateType"] == "https://slsa.dev/provenance/v1"
    assert {each["name"] for each in table["subject"]} == {
        "model/model.safetensors", "model/config.json"
    }  # fmt: skip
    assert build.external_parameters["profile"]["contract"]["optimizer_steps"] == 300
    assert run.metadata.invocation_id == "rehearsal-1"
    assert run.metadata.started_on.seconds < run.metadata.finished_on.seconds
    read = {each.name: dict(each.digest) for each in build.resolved_dependencies}
    assert read["m43"] == {"gitCommit": "c0ffee" * 6 + "c0ff"}
    (name,) = (each for each in read if each.endswith("/model.safetensors"))
    assert (
        read[name]
        == {"sha256": FILES[-1].digest}
        == {"sha256": PROMISED.file_sha256["model.safetensors"]}
    )
    assert MODEL_SHA256 not in json.dumps(table)  # each file has its own digest, as sha256sum says


def test_a_run_that_failed_attests_that(tmp_path: Path) -> None:
    """A promise that was broken failed; one that was not run is in no list."""
    broken = break_gate(tmp_path / "a", "train-300", "test_train_moves_the_weights")
    predicate = ParseDict(statement(broken.attestation)["predicate"], Result())
    assert predicate.result == "FAILED"
    assert list(predicate.failed_tests) == ["test_train_moves_the_weights"]
    assert not any(name.startswith("test_eval_") for name in predicate.passed_tests)
    assert broken.provenance.exists()

    stopped = stop_at(tmp_path / "b", "venv", lambda run: None, failure_class="no venv")
    assert statement(stopped.attestation)["predicate"]["result"] == "FAILED"
    assert not stopped.provenance.exists()


def test_a_run_that_was_never_sealed_attests_nothing(tmp_path: Path) -> None:
    """There is no manifest that a statement could be about."""
    run = RunDir.create(tmp_path / "rehearsal-1")
    write_opening(run)
    write.write_documents(run)
    assert not run.attestation.exists()
    assert not run.provenance.exists()


@pytest.mark.parametrize("name", ["attestation.intoto.json", "provenance.intoto.json"])
def test_a_statement_that_was_changed_or_taken_away_is_named(
    good: RunDir, tmp_path: Path, name: str
) -> None:
    """Both follow from the records, so both are made again."""
    run = RunDir(Path(shutil.copytree(good.path, tmp_path / good.path.name)))
    path = run.path / name
    path.write_text(path.read_text().replace("sha256", "sha512", 1))
    assert f"{name}: found another statement" in found(run)

    path.unlink()
    assert f"{name}: found no file" in found(run)
    assert path in write.render(run)
    assert found(run) == ""


def test_a_provenance_without_a_model_is_named(tmp_path: Path) -> None:
    """A run that trained nothing cannot say how its model came to be."""
    run = stop_at(tmp_path, "venv", lambda run: None, failure_class="no venv")
    run.provenance.write_text("{}")
    assert "provenance.intoto.json: found another statement, expected none" in found(run)
