"""Every failure class is told from the records and in words; one table of them, so it is long."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from m43.errors import FailureClass as F
from m43.evidence.diagnosis.by_child import process_class
from m43.evidence.diagnosis.by_gate import venv_findings
from m43.evidence.diagnosis.diagnosis import diagnose
from m43.evidence.documents import write
from m43.records.hub_record import HubResponse
from m43.records.run_dir import RunDir, write_record
from m43.records.run_records import ChildError
from m43.records.venv_record import Device, Package
from m43.text import size_words
from tests.unit.evidence import on_a_card
from tests.unit.evidence.failed_runs import another_model
from tests.unit.evidence.good_plan import plan_record, training_plan
from tests.unit.evidence.good_records import (
    FILES,
    auth_record,
    closing_record,
    numerics_record,
    probe_record,
    process_record,
    profile_of,
    venv_record,
)
from tests.unit.evidence.good_run import (
    break_gate,
    fail_gate,
    stop_at,
    write_gate_files,
    write_opening,
)
from tests.unit.evidence.left_behind import (
    GONE,
    Write,
    auth,
    child,
    diverged,
    error,
    not_finite,
    refused_cache,
    trained,
    venv,
)

WRONG_PRODUCT = numerics_record(product_relative_error=0.5)


def smaller(run: RunDir) -> None:
    """Leave the auth record of a hub whose weights are of another size."""
    files = (*FILES[:-1], replace(FILES[-1], size_bytes=1))
    write_record(run.auth, auth_record(run.read_profile(), files=files))


def spoilt_at_once(run: RunDir) -> None:
    """Leave a training whose first loss is no number."""
    trained((), "train", error(F.NON_FINITE_LOSS, 1, "loss nan at step 1"))(run)


def diverged_unseen(run: RunDir) -> None:
    """Leave a training that diverged, and whose steps are gone."""
    diverged(run)
    run.metrics.unlink()


# gate, what it left, the class that the records must give, and a word of its claims.
RECORDED: list[tuple[str, Write, F, str]] = [
    ("auth", auth("whoami", 401, "HfHubHTTPError: x"), F.TOKEN_REFUSED, "expired or revoked"),
    ("auth", auth("auth_check", 403, "GatedRepoError: x"), F.LICENCE_NOT_ACCEPTED, "licence"),
    (
        "auth",
        auth("auth_check", 403, "HfHubHTTPError: x"),
        F.TOKEN_WITHOUT_GATED_ACCESS,
        "fine-grained",
    ),
    ("auth", auth("revision", 404, "RevisionNotFoundError: x"), F.WRONG_REVISION, "commit"),
    ("auth", auth("weights_head", 404, ""), F.FILES_MISSING, "list of files"),
    ("auth", auth("whoami", 0, "ConnectError: x"), F.HUB_UNREACHABLE, "no network"),
    ("auth", auth("whoami", 0, "gaierror: x"), F.NAME_NOT_RESOLVED, "misspelt"),
    (
        "auth",
        auth("whoami", 0, "SSLCertVerificationError: x"),
        F.CERTIFICATE_NOT_TRUSTED,
        "clock is wrong",
    ),
    ("auth", auth("whoami", 0, "ProxyError: x"), F.PROXY_FAILED, "name a proxy"),
    ("auth", auth("whoami", 0, "OfflineModeIsEnabled: x"), F.OFFLINE_MODE, "forbids"),
    ("auth", auth("whoami", 200, "JSONDecodeError: x"), F.NOT_THE_HUB, "hub's place"),
    ("auth", auth("whoami", 0, "ReadError: x"), F.CONNECTION_LOST, "not recorded"),
    ("auth", auth("whoami", 0, "DeadlineError: x"), F.TRANSFER_STALLED, "not recorded"),
    ("auth", auth("whoami", 0, "KeyError: x"), F.HUB_CLIENT_FAILED, "not recorded"),
    ("auth", auth("whoami", 429, ""), F.RATE_LIMITED, "too often"),
    ("auth", auth("whoami", 503, ""), F.HUB_ERROR, "known to the hub"),
    ("auth", smaller, F.WRONG_MODEL, "found model.safetensors: 1 bytes, expected model"),
    ("auth", smaller, F.WRONG_MODEL, "another model under that name"),
    ("venv", another_model, F.WRONG_MODEL, "another model under that name"),
    ("venv", venv(import_error="ImportError: x"), F.BROKEN_VENV, "do not fit together"),
    ("venv", venv(default_device="gpu:x"), F.WRONG_DEVICE, "found gpu:x"),
    ("venv", venv(system="Windows"), F.NATIVE_WINDOWS, "expected Linux"),
    (
        "venv",
        venv(numerics=WRONG_PRODUCT),
        F.NUMERIC_CANARY,
        "computes wrongly",
    ),
    ("train-300", child("train", **GONE, oom_kills=1), F.OUT_OF_HOST_MEMORY, "out-of-memory kills"),
    ("train-300", child("train", **GONE), F.KILLED, "not recorded"),
    ("train-300", child("train", exit_status=1), F.HARNESS_ERROR, "exit status 1"),
    ("train-300", child("train", ended_by_parent="deadline"), F.TIMED_OUT, "slower than the plan"),
    ("train-300", child("train", ended_by_parent="silence"), F.HUNG, "waited for"),
    ("train-300", child("train", ended_by_parent="interrupt"), F.INTERRUPTED, "interrupted"),
    ("train-300", child("train", F.DATA_INVALID), F.DATA_INVALID, "train.jsonl:7"),
    ("train-300", child("train", F.MODEL_INVALID), F.MODEL_INVALID, "at step 137"),
    (
        "train-300",
        child("train", F.OUT_OF_DEVICE_MEMORY),
        F.OUT_OF_DEVICE_MEMORY,
        "another program took memory",
    ),
    ("train-300", not_finite, F.NON_FINITE_LOSS, "last recorded step is 7"),
    ("train-300", not_finite, F.NON_FINITE_LOSS, "gradient grew before it"),
    ("train-300", spoilt_at_once, F.NON_FINITE_LOSS, "first step"),
    ("train-300", diverged, F.DIVERGED, "last recorded step is 50"),
    ("train-300", diverged_unseen, F.DIVERGED, "cannot be read"),
    ("train-300", refused_cache, F.HARNESS_ERROR, "before its first phase"),
    ("train-300", child("train", F.DISK_FULL), F.DISK_FULL, "disk full"),
    ("train-300", child("train", F.PLAN_DOES_NOT_FIT), F.PLAN_DOES_NOT_FIT, "does not fit"),
    ("eval", child("eval", F.EVALUATION_INCOMPLETE), F.EVALUATION_INCOMPLETE, "incomplete"),
]


@pytest.mark.parametrize(
    ("gate", "write", "expected", "word"), RECORDED, ids=[f"{r[0]}-{r[2].name}" for r in RECORDED]
)
def test_the_records_of_a_gate_tell_the_class(
    tmp_path: Path, gate: str, write: Write, expected: F, word: str
) -> None:
    """Where the journal says only that a gate ended badly, its records name the failure."""
    run = stop_at(tmp_path, gate, write)

    diagnosis = diagnose(run)

    assert diagnosis.failure_class is expected
    assert diagnosis.gate == gate
    assert any(word in finding.text for finding in diagnosis.findings), diagnosis.findings
    assert all(
        claim.evidence or claim.confidence in ("unknown", "hypothesis")
        for claim in diagnosis.findings
    )


@pytest.mark.parametrize("failure_class", list(F))
def test_every_class_that_a_gate_stops_with_has_words_and_actions(
    tmp_path: Path, failure_class: F
) -> None:
    """No class leaves a person without a sentence and without something to do."""
    detail = json.dumps(
        [{"found": "a hole", "expected": "none", "where": "here", "action": "mend it"}]
    )
    run = stop_at(tmp_path, "venv", lambda run: None, failure_class=failure_class, detail=detail)

    diagnosis = diagnose(run)
    text = run.failure_analysis.read_text(encoding="utf-8")

    assert diagnosis.failure_class is failure_class
    assert f"at gate 2 of 4 (venv): **{failure_class}**" in text
    assert "here: found a hole, expected none." in diagnosis.findings[0].text
    assert "1. " in text.split("## Next actions for a person")[1]
    assert "{" not in text.split("## Timeline")[0].split("## What happened")[1]


@pytest.mark.parametrize("altered", [(), ("jax/__init__.py",)])
def test_a_device_that_is_called_as_promised_is_not_called_another(
    tmp_path: Path, altered: tuple[str, ...]
) -> None:
    """Neither the class nor the sentence says of two equal names that they differ."""
    probe = on_a_card.card_probe(driver_version="none")

    def write(run: RunDir) -> None:
        on_a_card.unknown_card(run)
        environment = replace(on_a_card.card_venv(probe), altered=altered)
        write_record(run.venv, environment)

    run = fail_gate(tmp_path, "venv", write, on_a_card.production())
    assert diagnose(run).failure_class is (F.OTHER_CODE if altered else F.CARD_UNKNOWN)


@pytest.mark.parametrize("gate", ["venv", "train-300", "eval"])
def test_no_sentence_promises_what_it_says_was_found(tmp_path: Path, gate: str) -> None:
    """A later gate is not answered with the device that an earlier one saw."""
    run = stop_at(tmp_path, gate, lambda run: None, failure_class=F.WRONG_DEVICE)
    sentence = diagnose(run).sentence
    contract = run.read_profile().contract
    assert sentence.count(f"{contract.platform}:{contract.device_kind}") == 1
    assert "what computes here is another device" in sentence


@pytest.mark.parametrize(
    ("status", "oddity", "told"),
    [
        (401, "it has 36 characters and not 37", True),
        (401, "", False),
        (429, "it has 36 characters and not 37", False),
    ],
)
def test_the_form_of_a_token_that_was_refused_is_a_hypothesis(
    tmp_path: Path, status: int, oddity: str, told: bool
) -> None:
    """A token of which a character was not copied; no more than a hint, and only where refused."""

    def write(run: RunDir) -> None:
        responses = (HubResponse(step="whoami", status=status, error="HfHubHTTPError: x"),)
        changes = {"responses": responses, "revision": "", "files": (), "token_oddity": oddity}
        write_record(run.auth, auth_record(run.read_profile(), **changes))

    claims = diagnose(stop_at(tmp_path, "auth", write)).findings

    hints = [claim.confidence for claim in claims if "it has 36 characters" in claim.text]
    assert hints == (["hypothesis"] if told else [])


def test_an_environment_that_cannot_be_asked_is_named_by_its_folder(tmp_path: Path) -> None:
    """What the profile calls "self" is a place as well, which a person can type."""
    where = "/home/m43/.venv/bin/python"
    fault = {"found": "no rights", "expected": "an interpreter", "where": where, "action": "look"}
    stopped = {"failure_class": F.BROKEN_VENV, "detail": json.dumps([fault])}
    run = stop_at(tmp_path, "venv", lambda run: None, **stopped)
    text = run.failure_analysis.read_text(encoding="utf-8")
    assert f"`{where} -c 'import jax" in text
    assert "environment at /home/m43/.venv does not work" in text


@pytest.mark.parametrize(
    ("gate", "name", "expected"),
    [
        ("closing", "test_closing_finds_the_environment_unchanged", F.ENVIRONMENT_CHANGED),
        ("closing", "test_closing_finds_the_working_tree_unchanged", F.TREE_CHANGED),
        ("eval", "test_eval_answers_every_row_once", F.EVALUATION_INCOMPLETE),
        ("train-300", "test_train_moves_the_weights", F.PROMISE_BROKEN),
        ("train-300", "test_train_stays_within_its_time", F.TIMED_OUT),
        ("train-300", "test_train_trains_the_promised_model", F.WRONG_MODEL),
    ],
)
def test_a_broken_promise_has_a_class(tmp_path: Path, gate: str, name: str, expected: F) -> None:
    """A gate that ended and did not keep its word is named after the promise."""
    run = break_gate(tmp_path, gate, name)

    diagnosis = diagnose(run)

    assert diagnosis.failure_class is expected
    assert diagnosis.findings[-1].text == f"The promise {name} is broken."


def test_no_token_is_told_with_what_to_do(tmp_path: Path) -> None:
    """The likeliest failure names the variable, the page of the model and the next command."""

    def write(run: RunDir) -> None:
        changes = {"token_source": "absent", "responses": (), "files": (), "revision": ""}
        write_record(run.auth, auth_record(run.read_profile(), **changes))

    run = break_gate(tmp_path, "auth", "test_auth_finds_the_token_in_hf_token", write)

    assert diagnose(run).failure_class is F.NO_TOKEN
    text = run.failure_analysis.read_text(encoding="utf-8")
    assert "export HF_TOKEN" in text
    assert run.read_profile().contract.repo in text
    assert "test_auth_finds_the_token_in_hf_token" in text


def test_changed_files_are_named(tmp_path: Path) -> None:
    """What changed beside the run is established; who did it is not."""

    def write(run: RunDir) -> None:
        changes = {"changed_paths": ("README.md",), "tree_sha256": "00" * 32}
        write_record(run.closing, closing_record(**changes))

    run = break_gate(tmp_path, "closing", "test_closing_finds_the_working_tree_unchanged", write)

    claims = {claim.text: claim.confidence for claim in diagnose(run).findings}
    assert claims["The file README.md changed during the run."] == "established"
    assert "unknown" in claims.values()
    text = run.failure_analysis.read_text(encoding="utf-8")
    assert "must be looked at before it is submitted" in text


def test_what_ended_a_run_silently_is_called_unknown(tmp_path: Path) -> None:
    """After SIGKILL of m43 itself nothing is invented."""
    run = RunDir.create(tmp_path / "rehearsal-1")
    journal = write_opening(run)
    journal.append("gate_opened", gate="auth")
    write_gate_files(run, "auth")
    write.write_opening_analysis(run)

    diagnosis = diagnose(run)

    assert diagnosis.failure_class is F.INTERRUPTED
    assert "no closing record" in diagnosis.sentence
    assert [claim.confidence for claim in diagnosis.findings] == ["established", "unknown"]


def test_the_parents_act_explains_what_the_child_wrote_while_it_was_ended() -> None:
    """A child that is ended at its deadline may still write an error; it is not the cause."""
    error = ChildError(failure_class=F.HARNESS_ERROR, problems=("KeyboardInterrupt",), step=5)

    assert process_class(process_record(ended_by_parent="deadline"), error) is F.TIMED_OUT
    assert process_class(process_record(), None) is None
    assert process_class(None, None) is None
    assert process_class(None, error) is F.HARNESS_ERROR


LOST = "NVRM: Xid (PCI:0000:01:00): 79, GPU has fallen off the bus."
FAULT = "NVRM: Xid (PCI:0000:01:00): 31, pid=4711, name=python, MMU Fault"
NO_MEMORY = "JaxRuntimeError: RESOURCE_EXHAUSTED: Out of memory allocating 1234 bytes."


@pytest.mark.parametrize(
    ("process", "error", "log", "expected"),
    [
        # What nobody foresaw gets the name by which it is known, from the child's own words,
        ({"exit_status": 1}, (F.HARNESS_ERROR, "CUDA_ERROR_LAUNCH_FAILED"), "", F.CARD_FAULT),
        ({"exit_status": 1}, (F.HARNESS_ERROR, "KeyError: 'a'"), "", F.HARNESS_ERROR),
        # from the end of its log where it crashed, or from the kernel's.
        ({"exit_status": -6}, None, "cuda: CUDA_ERROR_ILLEGAL_ADDRESS", F.CARD_FAULT),
        ({"exit_status": -11}, None, "Segmentation fault", F.KILLED),
        ({"exit_status": 1}, None, "Autotuning failed for HLO: %a", F.AUTOTUNER_FAILED),
        ({"exit_status": -6, "card_lines": (FAULT,)}, None, "", F.CARD_FAULT),
        # Who was ended from outside was not ended by what it wrote before.
        ({"exit_status": -9}, None, "CUDA_ERROR_ILLEGAL_ADDRESS", F.KILLED),
        ({"exit_status": -15}, None, "CUDA_ERROR_ILLEGAL_ADDRESS", F.KILLED),
        # What the child foresaw it knows better than a text does.
        ({"exit_status": 3}, (F.DISK_FULL, "CUDA_ERROR_LAUNCH_FAILED"), "", F.DISK_FULL),
        # A card that is gone explains why its child stood still; a fault does not, nor a deadline.
        (
            {"exit_status": -15, "ended_by_parent": "silence", "card_lines": (FAULT, LOST)},
            None,
            "",
            F.CARD_LOST,
        ),
        (
            {"exit_status": -15, "ended_by_parent": "silence", "card_lines": (FAULT,)},
            None,
            LOST,
            F.HUNG,
        ),
        (
            {"exit_status": -15, "ended_by_parent": "deadline", "card_lines": (LOST,)},
            None,
            "",
            F.TIMED_OUT,
        ),
        # A lack of memory is that of the phase in which it was.
        (
            {"exit_status": 3, "last_phase": "compile 512 tokens"},
            (F.OUT_OF_DEVICE_MEMORY, NO_MEMORY),
            "",
            F.OUT_OF_MEMORY_COMPILING,
        ),
        (
            {"exit_status": 3, "last_phase": "train"},
            (F.OUT_OF_DEVICE_MEMORY, NO_MEMORY),
            "",
            F.OUT_OF_DEVICE_MEMORY,
        ),
        (
            {"exit_status": 3, "last_phase": "train"},
            (F.OUT_OF_DEVICE_MEMORY, f"{NO_MEMORY} CUDA_ERROR_LAUNCH_FAILED"),
            "",
            F.OUT_OF_DEVICE_MEMORY,
        ),
    ],
)
def test_known_trouble_is_called_by_its_name(
    process: dict[str, object], error: tuple[F, str] | None, log: str, expected: F
) -> None:
    """By what was said of it, and never against what is known better."""
    said = ChildError(failure_class=error[0], problems=(error[1],), step=0) if error else None
    assert process_class(process_record(**process), said, (log,)) is expected


@pytest.mark.parametrize(
    ("record", "told"),
    [
        (
            {"card_lines": (FAULT,), "kernel_log": ""},
            f"The kernel's log says of the card: {FAULT}.",
        ),
        ({"kernel_log": ""}, "The kernel's log says nothing of the card since the child began."),
        (
            {"kernel_log": "Operation not permitted (/dev/kmsg)"},
            "What the kernel's log says of the card is not known: Operation not permitted "
            "(/dev/kmsg).",
        ),
        ({}, None),
    ],
)
def test_what_the_kernel_says_of_the_card_is_a_finding(
    tmp_path: Path, record: dict[str, object], told: str | None
) -> None:
    """Or that it could not be asked; of a child without a card not a word."""
    run = stop_at(
        tmp_path, "train-300", child("train", exit_status=-6, **record), failure_class=F.KILLED
    )
    claims = {claim.text: claim.confidence for claim in diagnose(run).findings}
    kernel = [text for text in claims if "kernel's log" in text]
    assert kernel == ([told] if told else [])
    assert not told or claims[told] == ("unknown" if "not known" in told else "established")


STACKS = """Thread 0x00007f01 (most recent call first):
  File "/usr/lib/python3.11/threading.py", line 12 in wait
Current thread 0x00007f02 (most recent call first):
  File "/somewhere/m43/training/trainer.py", line 80 in step
  File "/somewhere/m43/training/train.py", line 99 in run
"""


def test_where_a_hung_child_stood_is_established(tmp_path: Path) -> None:
    """The thread that works, and its innermost frame; all of the stacks are shown."""

    def hang(run: RunDir) -> None:
        child("train", exit_status=-15, ended_by_parent="silence")(run)
        run.stacks("train").write_text(STACKS)

    run = stop_at(tmp_path, "train-300", hang, failure_class=F.HUNG)
    text = run.failure_analysis.read_text()
    assert "stood in step (trainer.py, line 80). | train.stacks.txt" in text
    assert "line 99 in run" in text


def test_stacks_that_cannot_be_read_claim_nothing(tmp_path: Path) -> None:
    """A child that was ended before it could say where it stood."""

    def hang(run: RunDir) -> None:
        child("train", exit_status=-15, ended_by_parent="silence")(run)
        run.stacks("train").write_text("Current thread 0x1\nnonsense\n")

    run = stop_at(tmp_path, "train-300", hang, failure_class=F.HUNG)
    assert "stood in" not in run.failure_analysis.read_text()


@pytest.mark.parametrize(
    ("memory_bytes", "words"),
    [
        (10**12, "| hypothesis | By the plan it would have fitted"),
        (1, "| supported | By the plan it does not fit."),
    ],
)
def test_a_lack_of_memory_is_held_against_the_plan(
    tmp_path: Path, memory_bytes: int, words: str
) -> None:
    """What was asked for, what was planned, what filled the memory, and what follows from that."""
    planned = training_plan()
    planned = replace(planned, limits=replace(planned.limits, memory_bytes=memory_bytes))
    error = ChildError(
        failure_class=F.OUT_OF_DEVICE_MEMORY,
        problems=("RESOURCE_EXHAUSTED: Out of memory allocating 281474976 bytes.",),
        step=8,
    )

    def starve(run: RunDir) -> None:
        child("train")(run)
        write_record(run.plan, plan_record(training=planned))
        write_record(run.error("train"), error)

    run = stop_at(tmp_path, "train-300", starve, failure_class=F.OUT_OF_DEVICE_MEMORY)
    text = run.failure_analysis.read_text()
    assert "| established | The request that failed was for 281474976 bytes. | train.error" in text
    assert f"a peak of {size_words(planned.peak_bytes)} of {size_words(memory_bytes)}" in text
    assert planned.step.buffers[0].name.split()[-1] in text
    assert words in text


def test_without_a_plan_what_filled_the_memory_is_unknown(tmp_path: Path) -> None:
    """The evaluation has none; nothing is said that was not planned or measured."""
    run = stop_at(
        tmp_path,
        "eval",
        child("eval", F.OUT_OF_DEVICE_MEMORY),
        failure_class=F.OUT_OF_DEVICE_MEMORY,
    )
    text = run.failure_analysis.read_text()
    assert "| unknown | What was planned for it and what filled the memory" in text


def test_too_few_cards_are_counted() -> None:
    """They are the promised ones: that there is another kind of card would be untrue."""
    profile = profile_of()
    contract = replace(profile.contract, platform="gpu", device_kind="a card", devices=4)
    card = Device(platform="gpu", kind="a card", memory_bytes=1)
    plugin = Package(name="jax-cuda13-plugin", version="0.10.2")
    probe = probe_record(devices=(card, card), packages=(plugin,), driver_version="580.1")
    found = venv_findings(
        venv_record(probe), None, replace(profile, contract=contract), F.WRONG_DEVICE
    )
    assert "There are 2 such cards, where the contract promises 4." in [
        finding.text for finding in found
    ]
