"""Whether a run's records could be those of one run: what verify cannot know of one that failed.

Verify makes the claims of a folder again. A failed run claims little, and its records are not held
against each other; a fixture of one is, so that nobody reads a document of a run that cannot be.
"""

import re
from collections.abc import Iterator

from m43.evidence.diagnosis.by_child import process_class
from m43.evidence.run import history
from m43.evidence.run.loaded_run import Child, LoadedRun, load_run
from m43.evidence.run.run_end import find_stop
from m43.records.gates import CLOSING
from m43.records.hub_record import AuthRecord
from m43.records.profile import Profile
from m43.records.run_dir import RunDir
from m43.records.run_records import ChildError, ProcessRecord, StepMetrics
from m43.training.progress import DivergedError, DivergenceWatch

_STEPS = ("whoami", "auth_check", "revision", "weights_head")
_ENDS = {0, 429}
_BY_M43 = (-15, -9)  # SIGTERM, and SIGKILL for what does not end by it
_FORESEEN, _CRASHED = 3, 1


def impossible(run: RunDir) -> Iterator[str]:
    """Name what cannot be true at once in a closed run's folder."""
    loaded_run = load_run(run)
    yield from (str(problem) for problem in loaded_run.problems)
    yield from _journal(loaded_run)
    yield from _auth(loaded_run)
    yield from _venv(loaded_run)
    children = {
        "download": loaded_run.download_child,
        "train": loaded_run.train_child,
        "eval": loaded_run.eval_child,
    }
    for name, child in children.items():
        yield from (f"{name}: {words}" for words in _child(loaded_run, name, child))
    yield from _training(loaded_run)
    yield from _card(loaded_run)


def _journal(loaded_run: LoadedRun) -> Iterator[str]:
    stop = find_stop(loaded_run.entries)
    if loaded_run.closing is None and loaded_run.recovery is None:
        yield "a run that wrote its own end, and no closing.json"
    yield from _promises(loaded_run)
    child = {"train-300": loaded_run.train_child, "eval": loaded_run.eval_child}.get(stop.gate)
    if stop.how == "stopped" and child and child.process:
        named = process_class(child.process, child.error, child.log_tail)
        if named is not stop.failure_class:
            yield f"a child that ended as {named}, and a gate that stopped as {stop.failure_class}"
    yield from _times(loaded_run)


def _promises(loaded_run: LoadedRun) -> Iterator[str]:
    stopped = {entry.gate for entry in loaded_run.entries if entry.event == "gate_stopped"}
    for entry in loaded_run.entries:
        if entry.event == "promise_not_run" and not entry.detail:
            yield f"{entry.name} was passed over for no reason"
        if entry.event != "promise_broken":
            continue
        if entry.gate in stopped:
            yield f"{entry.name} was judged in a gate that stopped"
        elif not re.match(r"assert .*\n \+  ", entry.detail):
            yield f"{entry.name} broke without the words of an assert: {entry.detail!r}"


def _times(loaded_run: LoadedRun) -> Iterator[str]:
    ended = {
        name: child.process.duration_s
        for name, child in (
            ("download", loaded_run.download_child),
            ("train", loaded_run.train_child),
            ("eval", loaded_run.eval_child),
        )
        if child.process
    }
    took = {
        "auth": loaded_run.auth.duration_s if loaded_run.auth else 0.0,
        "venv": (loaded_run.venv.duration_s if loaded_run.venv else 0.0)
        + (loaded_run.plan.duration_s if loaded_run.plan else 0.0),
        "train-300": ended.get("download", 0.0) + ended.get("train", 0.0),
        "eval": ended.get("eval", 0.0),
        CLOSING: 0.0,
    }
    for gate, least_s in took.items():
        whole_s = history.gate_seconds(loaded_run, gate)
        if whole_s is not None and whole_s < least_s:
            yield f"gate {gate} took {whole_s} s, and what it did {least_s} s"


def _auth(loaded_run: LoadedRun) -> Iterator[str]:
    auth, profile = loaded_run.auth, loaded_run.profile
    if auth is None or profile is None:
        return
    yield from _questions(auth)
    granted = {each.step for each in auth.responses if each.status in (200, 302) and not each.error}
    if bool(auth.account) != ("whoami" in granted):
        yield f"the account {auth.account!r} of answers to {sorted(granted)}"
    if bool(auth.revision) != ("revision" in granted):
        yield f"the revision {auth.revision!r} of answers to {sorted(granted)}"
    known = {file.name for file in auth.files} | set(auth.missing_files)
    if known != (set(profile.hub.files) if auth.revision else set()):
        yield f"files {sorted(known)}, which are not those that the profile names"


def _questions(auth: AuthRecord) -> Iterator[str]:
    asked = tuple(response.step for response in auth.responses)
    if auth.way.address and not any(each.status for each in auth.responses):
        yield "the address of who answered, and no answer"
    if auth.token_source == "absent" or auth.token_flaw:
        if asked or auth.account or auth.duration_s:
            yield "a hub that was asked without a token"
        return
    if asked != _STEPS[: len(asked)]:
        yield f"questions in another order: {asked}"
    # Nothing more is asked of a hub that is silent or has enough, or that refuses the token.
    ends = _ENDS | ({401, 403} if len(asked) == 1 else set())
    ended = bool(asked) and auth.responses[-1].status in ends
    if len(asked) < len(_STEPS) and not ended:
        yield f"only {len(asked)} questions, with nothing that ended them"
    if any(each.status == 0 and not each.causes for each in auth.responses):
        yield "no answer, and no exception that says why"


def _venv(loaded_run: LoadedRun) -> Iterator[str]:
    venv, plan = loaded_run.venv, loaded_run.plan
    if venv is None or plan is None:
        return
    probe = venv.probe
    ran = bool(probe.default_device)
    measured = probe.numerics
    numbers = (measured.product_relative_error, measured.softmax_relative_error)
    kinds = {f"{device.platform}:{device.kind}" for device in probe.devices}
    if ran == bool(probe.import_error) or ran != bool(kinds) or ran != (min(numbers) >= 0):
        yield "a computation that ran where JAX cannot be imported, or none where it can"
    if ran != bool(measured.steps) or measured.duration_s > venv.duration_s:
        yield "small steps where nothing ran, or ones that took longer than the gate"
    if ran and probe.default_device not in kinds:
        yield f"{probe.default_device}, which is none of {sorted(kinds)}"
    installed = {package.name: package.version for package in probe.packages}
    for item in venv.requirements:
        name = re.split("[<>=~!]", item.requirement, maxsplit=1)[0]
        if item.installed != installed.get(name, "absent"):
            yield f"{name} {item.installed}, installed {installed.get(name, 'absent')}"
    if (plan.training is None) != bool(plan.reason) or (ran != (plan.training is not None)):
        yield "a plan of an environment that cannot compute, or none of one that can"
    if plan.training and plan.training.limits.device != probe.default_device:
        yield f"a plan for {plan.training.limits.device} beside {probe.default_device}"


def _child(loaded_run: LoadedRun, name: str, child: Child) -> Iterator[str]:
    process, beat = child.process, child.heartbeat
    if process is None:
        if child.error or beat or child.stacks or child.log_tail:
            yield "traces of a child that no process record tells of"
        return
    yield from _end(loaded_run, name, child, process)
    phase, done = (beat.phase, beat.done) if beat else ("", 0)
    if process.last_phase != phase:
        yield f"last in phase {process.last_phase!r}, and its heartbeat in {phase!r}"
    if process.steps_seen != done:
        yield f"{process.steps_seen} seen, and {done} by its heartbeat"


def _end(loaded_run: LoadedRun, name: str, child: Child, process: ProcessRecord) -> Iterator[str]:
    error, by_m43 = child.error, process.ended_by_parent != "no"
    if by_m43 and process.exit_status not in _BY_M43:
        yield f"ended by m43, with status {process.exit_status}"
    if error is not None:
        status = _CRASHED if error.failure_class == "harness error" else _FORESEEN
        # A launcher tells of a process that a signal ended, in a status of its own.
        lost = error.failure_class == "a process was lost" and process.exit_status == 128 + 9
        if by_m43 or (process.exit_status != status and not lost):
            yield f"'{error.failure_class}' and status {process.exit_status}"
    if bool(child.stacks) != (by_m43 and child.heartbeat is not None):
        yield "stacks of a child that m43 did not end, or none of one that it did"
    if loaded_run.profile is None:
        return
    table = loaded_run.profile.deadlines
    deadlines = {"download": table.download_s, "train": table.train_s, "eval": table.evaluate_s}
    least_s = {"silence": table.silence_s, "deadline": deadlines[name]}
    if process.duration_s < least_s.get(process.ended_by_parent, 0.0):
        limit = least_s[process.ended_by_parent]
        yield f"ended for its {process.ended_by_parent}, {limit} s, after {process.duration_s} s"


def _training(loaded_run: LoadedRun) -> Iterator[str]:
    process, steps = loaded_run.train_child.process, len(loaded_run.metrics)
    if process is None:
        if steps or loaded_run.lint:
            yield "steps or rows of a training that no process record tells of"
        return
    if loaded_run.download is None:
        yield "a training without a download"
    if process.steps_seen != steps:
        yield f"{process.steps_seen} steps seen, and {steps} recorded"
    if steps and loaded_run.lint is None:
        yield "steps without rows that were read"
    spent_s = sum(step.duration_s for step in loaded_run.metrics)
    if spent_s > process.duration_s:
        yield f"steps of {spent_s} s in a process of {process.duration_s} s"
    if loaded_run.train_child.error is not None and loaded_run.profile is not None:
        yield from _failed_step(
            loaded_run.metrics, loaded_run.train_child.error, loaded_run.profile
        )


def _card(loaded_run: LoadedRun) -> Iterator[str]:
    on_card = loaded_run.profile is not None and loaded_run.profile.contract.platform == "gpu"
    if bool(loaded_run.card) != (on_card and loaded_run.train_child.process is not None):
        yield "looks at a card beside no training on one, or none beside one"


def _failed_step(
    metrics: tuple[StepMetrics, ...], error: ChildError, profile: Profile
) -> Iterator[str]:
    # A loss that is no number has no line; a loss that grew too far has one.
    if error.step != len(metrics) + (error.failure_class == "non-finite loss"):
        yield f"'{error.failure_class}' at step {error.step}, after {len(metrics)} recorded ones"
    if error.failure_class == "diverged" and error.step != _diverges_at(metrics, profile):
        yield "losses that do not diverge at their last step"


def _diverges_at(metrics: tuple[StepMetrics, ...], profile: Profile) -> int:
    watch = DivergenceWatch(profile.divergence)
    for step in metrics:
        try:
            watch.update(step.step, step.loss_nats)
        except DivergedError as found:
            return found.step
    return 0
