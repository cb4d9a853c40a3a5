"""What a gate leaves behind that did not end well: records as a real run has them at that point."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from m43.errors import FailureClass as F
from m43.evidence.run.snapshots import devices_snapshot, env_snapshot
from m43.records.hub_record import HubResponse, HubStep, HubWay
from m43.records.numerics_record import NOT_MEASURED
from m43.records.plan_record import PlanRecord
from m43.records.run_dir import RunDir, read_record, write_record
from m43.records.run_records import ChildError, StepMetrics, TrainRecord
from m43.records.venv_record import ProbeRecord, VenvRecord
from m43.training.progress import DivergedError, DivergenceWatch
from tests.unit.evidence.good_plan import plan_record, unplanned
from tests.unit.evidence.good_records import (
    FILES,
    STEPS,
    auth_record,
    child_ended,
    float32,
    heartbeat,
    hub_response,
    pinned_files,
    probe_record,
    step_metrics,
    venv_record,
)
from tests.unit.evidence.good_run import write_download, write_gate_files, write_lint, write_steps

Write = Callable[[RunDir], None]

STOPPED_AT = 137
GONE = {"exit_status": -9}
# Phases of a training that has read its rows, and has taken no step.
AFTER_THE_ROWS = ("read weights", "compile 192 tokens")
# How m43 ends a child: SIGTERM first, which Python leaves to the system.
ENDED = {"exit_status": -15}
STACKS = """Thread 0x00007f3a1c1ff6c0 (most recent call first):
  File "/usr/lib/python3.11/threading.py", line 331 in wait
Current thread 0x00007f3a9d2b4740 (most recent call first):
  File "/srv/m43/m43/training/{file}", line {line} in {function}
  File "/srv/m43/m43/training/__main__.py", line 34 in main
"""

# --- auth ----------------------------------------------------------------------------------------


def auth(step: HubStep, status: int, error: str, *later: HubResponse) -> Write:
    """Leave an auth record in which one answer was no; `later` are the answers after it."""

    def write(run: RunDir) -> None:
        steps: tuple[HubStep, ...] = ("whoami", "auth_check", "revision", "weights_head")
        before = tuple(
            HubResponse(step=each, status=200, error="") for each in steps[: steps.index(step)]
        )
        asked(run, (*before, hub_response(step, status, error), *later))

    return write


def asked(run: RunDir, responses: Sequence[HubResponse], **changes: object) -> None:
    """Write the auth record that follows from answers."""
    profile = run.read_profile()
    granted = {each.step for each in responses if each.status == 200 and not each.error}
    known = "revision" in granted
    values: dict[str, object] = {
        "responses": tuple(responses),
        "account": "engineer" if "whoami" in granted else "",
        "revision": profile.contract.revision if known else "",
        "files": pinned_files(profile) if known else (),
    }
    if not any(each.status for each in responses):
        values["way"] = HubWay()
    write_record(run.auth, auth_record(profile, **{**values, **changes}))


def no_token(run: RunDir) -> None:
    """Leave the auth record of a shell without a token: nothing was asked."""
    asked(run, (), token_source="absent", hub_variables=(), duration_s=0.0)


def malformed_token(run: RunDir) -> None:
    """Leave the auth record of a token with a hyphen that is none."""
    asked(run, (), token_flaw="characters outside visible ASCII: 1 of 37", duration_s=0.0)


def proxy_failed(run: RunDir) -> None:
    """Leave the auth record of a proxy that wants to know who asks."""
    answer = hub_response("whoami", 0, "ProxyError: 407 Proxy Authentication Required")
    settings = (
        "HTTPS_PROXY=http://[REDACTED]@proxy.example:3128", "SSL_CERT_FILE=/etc/ssl/own_ca.pem"
    )  # fmt: skip
    asked(run, (answer,), way=HubWay(settings=settings))


def offline(run: RunDir) -> None:
    """Leave the auth record of a client that was told to stay offline: nothing was sent."""
    words = "OfflineModeIsEnabled: Cannot reach the hub: offline mode is on"
    answer = replace(hub_response("whoami", 0, words), sent=False)
    asked(run, (answer,), hub_variables=("HF_HUB_OFFLINE", "HF_TOKEN"))


def files_missing(run: RunDir) -> None:
    """Leave the auth record of a revision that lacks the first file of the weights."""
    files = pinned_files(run.read_profile())
    lost = next(file for file in files if file.name.endswith(".safetensors"))
    left = tuple(file for file in files if file != lost)
    responses = [
        HubResponse(step=step, status=200, error="")
        for step in ("whoami", "auth_check", "revision")
    ]
    responses.append(
        hub_response("weights_head", 404, "RemoteEntryNotFoundError: 404 Client Error.")
    )
    asked(run, responses, files=left, missing_files=(lost.name,))


def another_model_at_the_hub(run: RunDir) -> None:
    """Leave the auth record of a hub that serves weights of other sizes under that name."""
    responses = [
        HubResponse(step=step, status=302 if step == "weights_head" else 200, error="")
        for step in ("whoami", "auth_check", "revision", "weights_head")
    ]
    files = tuple(
        replace(file, size_bytes=4_988_025_760) if file.size_bytes > 10**9 else file
        for file in pinned_files(run.read_profile())
    )
    asked(run, responses, files=files)


# --- venv ----------------------------------------------------------------------------------------


def environment(run: RunDir, record: VenvRecord, plan: PlanRecord | None = None) -> None:
    """Write the records of the venv gate; what could not compute could not plan."""
    write_record(run.venv, record)
    able = not record.probe.import_error
    able_plan = plan or plan_record()
    write_record(run.plan, able_plan if able else unplanned(run.read_profile()))
    run.env_snapshot.write_text(env_snapshot(record))
    run.gpu_snapshot.write_text(devices_snapshot(record))


def cannot_compute(error: str, **changes: object) -> ProbeRecord:
    """Return the probe of an environment in which JAX cannot be imported or started."""
    values: dict[str, object] = {
        "import_error": error,
        "devices": (),
        "default_device": "",
        "numerics": NOT_MEASURED,
    }
    return probe_record(**{**values, **changes})


def venv(**changes: object) -> Write:
    """Leave a venv record in which the probe saw something else."""

    def write(run: RunDir) -> None:
        error = str(changes.pop("import_error", ""))
        probe = cannot_compute(error, **changes) if error else probe_record(**changes)
        environment(run, venv_record(probe))

    return write


# --- train-300 -----------------------------------------------------------------------------------


def cut_download(run: RunDir) -> None:
    """Leave what a download leaves whose connection was cut."""
    left_download(run, exit_status=3)


def stalled_download(run: RunDir) -> None:
    """Leave what a download leaves that m43 had to end: nothing came for 180 s."""
    silent = run.read_profile().deadlines.silence_s
    left_download(run, **ENDED, ended_by_parent="silence", duration_s=silent + 4.5)
    stacks = STACKS.replace("training/", "harness/").replace("__main__.py", "hub_child.py")
    run.stacks("download").write_text(stacks.format(file="hub_files.py", line=63, function="read"))


def left_download(run: RunDir, **process: object) -> None:
    """Leave the traces of a download that stopped in the middle of the weights."""
    phase, whole = f"download {FILES[-1].name}", FILES[-1].size_bytes
    done = whole // 3
    write_record(run.heartbeat("download"), heartbeat(phase, done, whole))
    write_record(run.process("download"), child_ended("download", phase, done, **process))
    run.log("download").write_text("")


def corrupt_download(run: RunDir) -> None:
    """Leave what a download leaves that brought other bytes than the pinned ones."""
    write_download(run)
    run.download.unlink()


def refused_cache(run: RunDir) -> None:
    """Leave what a download leaves that may not write into the cache: no file began to come."""
    ended = child_ended("download", "", 0, exit_status=3, duration_s=1.2)
    write_record(run.process("download"), ended)
    run.log("download").write_text("")


def trained(
    steps: Sequence[StepMetrics] | None,
    phase: str,
    error: ChildError | None = None,
    **process: object,
) -> Write:
    """Leave what a training leaves that ended badly, in a phase and after steps.

    Args:
        steps: That it recorded; None before its first step.
        phase: That it was in.
        error: That it wrote itself; one that was ended from outside writes none.
        process: How its process ended, where that does not follow from the error.
    """

    def write(run: RunDir) -> None:
        write_download(run)
        done = len(steps or ())
        if steps is not None:
            write_steps(run, steps)
        elif phase in AFTER_THE_ROWS:
            write_lint(run)
        if steps:
            pace = steps[-1].real_tokens / steps[-1].duration_s
            line = (
                f"train: {done} of {STEPS}, loss {steps[-1].loss_nats:.4f}, {pace:.0f} tokens/s\n"
            )
            loss = {"loss_nats": steps[-1].loss_nats, "tokens_per_s": pace}
        else:
            line, loss = "device: 0.4 s\ncheck base model: 0.1 s\n", {}
        beat = heartbeat(phase, done, STEPS if steps is not None else 0, **loss)
        write_record(run.heartbeat("train"), beat)
        ended_badly(run, "train", phase, done, error, line, process)

    return write


def evaluated(done: int, phase: str, error: ChildError | None = None, **process: object) -> Write:
    """Leave what an evaluation leaves that ended badly, in a phase and after rows."""

    def write(run: RunDir) -> None:
        write_record(run.heartbeat("eval"), heartbeat(phase, done, 100))
        line = f"decode tuned model: {done} of 100\n"
        ended_badly(run, "eval", phase, done, error, line, process)

    return write


def ended_badly(
    run: RunDir,
    name: str,
    phase: str,
    done: int,
    error: ChildError | None,
    log: str,
    process: dict[str, object],
) -> None:
    """Write the end of a child: its process, its log, and its error or its stacks."""
    if error is not None:
        write_record(run.error(name), error)
        log += f"{error.failure_class}: " + "\n".join(error.problems) + "\n"
        process = {"exit_status": 1 if error.failure_class is F.HARNESS_ERROR else 3, **process}
    if process.get("ended_by_parent", "no") != "no":
        frame = {"file": "step_log.py", "line": 71, "function": "finish"}
        run.stacks(name).write_text(STACKS.format(**frame))
        log += STACKS.format(**frame)
    write_record(run.process(name), child_ended(name, phase, done, **process))
    run.log(name).write_text(log)


def steps_to(last: int, seconds: float = 0.1) -> tuple[StepMetrics, ...]:
    """Return the first steps of a training that learns."""
    return tuple(replace(step_metrics(step), duration_s=seconds) for step in range(1, last + 1))


def error(failure_class: F, step: int, *problems: str) -> ChildError:
    """Return the error that a child writes down."""
    return ChildError(failure_class=failure_class, problems=problems, step=step)


def not_finite(run: RunDir) -> None:
    """Leave a training whose loss is no number at step 8; the seven before it grew."""
    grown = [
        replace(
            step,
            loss_nats=float32(60 * step.loss_nats * 1.3**step.step) / 60,
            gradient_norm=1.5 * 3**step.step,
        )
        for step in steps_to(7)
    ]
    words = (
        "training step 8: found loss nan, gradient norm nan at step 8, expected finite numbers; "
        "lower training.learning_rate or look at the rows of this step; nothing was saved"
    )
    trained(grown, "train", error(F.NON_FINITE_LOSS, 8, words))(run)


def diverged(run: RunDir) -> None:
    """Leave a training whose losses grew until the watch ended it; that step is recorded, too."""
    watch, steps = DivergenceWatch(run.read_profile().divergence), list[StepMetrics]()
    for step in steps_to(STEPS):
        steps.append(replace(step, loss_nats=3.4 + 0.1 * step.step, gradient_norm=40.0))
        try:
            watch.update(step.step, steps[-1].loss_nats)
        except DivergedError as found:
            words = str(found.problems[0])
            trained(steps, "train", error(F.DIVERGED, step.step, words))(run)
            return
    raise AssertionError("these losses do not diverge")


def child(name: str, failure_class: F | None = None, **process: object) -> Write:
    """Leave what a child leaves that ended badly in the middle of its steps or rows."""
    done = STOPPED_AT if name == "train" else 50
    found = error(failure_class, done, "train.jsonl:7: found a hole") if failure_class else None
    if name == "train":
        return trained(steps_to(done), "train", found, **process)
    return evaluated(done, "decode base model", found, **process)


def unmoved(run: RunDir) -> None:
    """Leave a training that moved no weight: each update was lost to rounding."""
    write_gate_files(run, "train-300")
    write_record(run.train, replace(read_record(run.train, TrainRecord), parameters_moved=0))


def nothing(run: RunDir) -> None:
    """Leave no record."""
