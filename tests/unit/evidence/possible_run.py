"""Whether a run's records could be those of one run: what verify cannot know of one that failed.

Verify makes the claims of a folder again. A failed run claims little, and its records are not held
against each other; a fixture of one is, so that nobody reads a document of a run that cannot be.
"""

import re
from collections.abc import Iterator
from itertools import takewhile

from m43.evidence import sections
from m43.evidence.child_diagnosis import process_class
from m43.evidence.dossier import Child, Dossier, read_dossier
from m43.evidence.promise import CLOSING
from m43.evidence.stop import find_stop
from m43.run_dir import RunDir
from m43.training.divergence import DivergedError, DivergenceWatch

_STEPS = ("whoami", "auth_check", "revision", "weights_head")
_BY_M43 = (-15, -9)  # SIGTERM, and SIGKILL for what does not end by it
_FORESEEN, _CRASHED = 3, 1


def impossible(run: RunDir) -> Iterator[str]:
    """Name what cannot be true at once in a closed run's folder."""
    dossier = read_dossier(run)
    yield from (str(problem) for problem in dossier.problems)
    yield from _journal(dossier)
    yield from _auth(dossier)
    yield from _venv(dossier)
    children = {
        "download": dossier.download_child,
        "train": dossier.train_child,
        "eval": dossier.eval_child,
    }
    for name, child in children.items():
        yield from (f"{name}: {words}" for words in _child(dossier, name, child))
    yield from _training(dossier)


def _journal(dossier: Dossier) -> Iterator[str]:
    stop = find_stop(dossier.entries)
    cut_off = dossier.recovery is not None
    if dossier.closing is None and not cut_off:
        yield "a run that wrote its own end, and no closing.json"
    for entry in dossier.entries:
        words = f"gate {entry.gate} stopped: "
        if entry.event == "promise_broken" and entry.gate in _stopped(dossier):
            if not entry.detail.startswith(words):
                yield f"{entry.name} was judged in a gate that stopped"
        elif entry.event == "promise_broken" and not re.match(r"assert .*\n \+  ", entry.detail):
            yield f"{entry.name} broke without the words of an assert: {entry.detail!r}"
        if entry.event == "promise_not_run" and not entry.detail:
            yield f"{entry.name} was passed over for no reason"
    child = {"train-300": dossier.train_child, "eval": dossier.eval_child}.get(stop.gate)
    if stop.how == "stopped" and child and child.process:
        named = process_class(child.process, child.error)
        if named is not stop.failure_class:
            yield f"a child that ended as {named}, and a gate that stopped as {stop.failure_class}"
    yield from _times(dossier)


def _stopped(dossier: Dossier) -> set[str]:
    return {entry.gate for entry in dossier.entries if entry.event == "gate_stopped"}


def _times(dossier: Dossier) -> Iterator[str]:
    ended = {
        name: child.process.duration_s
        for name, child in (
            ("download", dossier.download_child),
            ("train", dossier.train_child),
            ("eval", dossier.eval_child),
        )
        if child.process
    }
    took = {
        "auth": dossier.auth.duration_s if dossier.auth else 0.0,
        "venv": (dossier.venv.duration_s if dossier.venv else 0.0)
        + (dossier.plan.duration_s if dossier.plan else 0.0),
        "train-300": ended.get("download", 0.0) + ended.get("train", 0.0),
        "eval": ended.get("eval", 0.0),
        CLOSING: 0.0,
    }
    for gate, least_s in took.items():
        whole_s = sections.gate_seconds(dossier, gate)
        if whole_s is not None and whole_s < least_s:
            yield f"gate {gate} took {whole_s} s, and what it did {least_s} s"


def _auth(dossier: Dossier) -> Iterator[str]:
    auth, profile = dossier.auth, dossier.profile
    if auth is None or profile is None:
        return
    asked = tuple(response.step for response in auth.responses)
    granted = {each.step for each in auth.responses if each.status in (200, 302) and not each.error}
    silent = auth.token_source == "absent" or bool(auth.token_flaw)
    if silent and (asked or auth.account or auth.duration_s):
        yield "a hub that was asked without a token"
    if asked != _STEPS[: len(asked)]:
        yield f"questions in another order: {asked}"
    # Of a token that is refused, a hub that is silent or has enough, nothing more is asked.
    more = takewhile(lambda each: each.status not in (0, 429), auth.responses)
    if not silent and len(asked) < len(_STEPS) and len(tuple(more)) == len(asked):
        refused = auth.responses[:1] and auth.responses[0].status in (401, 403)
        if not (refused and len(asked) == 1):
            yield f"only {len(asked)} questions, with nothing that ended them"
    if bool(auth.account) != ("whoami" in granted):
        yield f"the account {auth.account!r} of answers to {sorted(granted)}"
    if bool(auth.revision) != ("revision" in granted):
        yield f"the revision {auth.revision!r} of answers to {sorted(granted)}"
    known = {file.name for file in auth.files} | set(auth.missing_files)
    if known != (set(profile.hub.files) if auth.revision else set()):
        yield f"files {sorted(known)}, which are not those that the profile names"
    if any(each.status == 0 and not each.causes for each in auth.responses):
        yield "no answer, and no exception that says why"


def _venv(dossier: Dossier) -> Iterator[str]:
    venv, plan = dossier.venv, dossier.plan
    if venv is None or plan is None:
        return
    probe = venv.probe
    ran = bool(probe.default_device)
    errors = (probe.product_relative_error, probe.softmax_relative_error)
    kinds = {f"{device.platform}:{device.kind}" for device in probe.devices}
    if ran == bool(probe.import_error) or ran != bool(kinds) or ran != (min(errors) >= 0):
        yield "a computation that ran where JAX cannot be imported, or none where it can"
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


def _child(dossier: Dossier, name: str, child: Child) -> Iterator[str]:
    process, error, beat = child.process, child.error, child.heartbeat
    if process is None:
        if error or beat or child.stacks or child.log_tail:
            yield "traces of a child that no process record tells of"
        return
    by_m43 = process.ended_by_parent != "no"
    if by_m43 and process.exit_status not in _BY_M43:
        yield f"ended by m43, with status {process.exit_status}"
    if error is not None:
        crashed = error.failure_class == "harness error"
        if by_m43 or process.exit_status != (_CRASHED if crashed else _FORESEEN):
            yield f"'{error.failure_class}' and status {process.exit_status}"
    if bool(child.stacks) != (by_m43 and beat is not None):
        yield "stacks of a child that m43 did not end, or none of one that it did"
    phase = beat.phase if beat else ""
    if process.last_phase != phase:
        yield f"last in phase {process.last_phase!r}, and its heartbeat in {phase!r}"
    if process.steps_seen != (beat.done if beat else 0):
        yield f"{process.steps_seen} seen, and {beat.done if beat else 0} by its heartbeat"
    deadlines = dossier.profile.deadlines if dossier.profile else None
    if deadlines and process.ended_by_parent == "silence":
        if process.duration_s < deadlines.silence_s:
            yield f"silent for {deadlines.silence_s} s of {process.duration_s} s"
    if deadlines and process.ended_by_parent == "deadline" and name == "train":
        if process.duration_s < deadlines.train_s:
            yield f"a deadline of {deadlines.train_s} s after {process.duration_s} s"


def _training(dossier: Dossier) -> Iterator[str]:
    process, error = dossier.train_child.process, dossier.train_child.error
    steps = len(dossier.metrics)
    if process is None:
        if steps or dossier.lint:
            yield "steps or rows of a training that no process record tells of"
        return
    if dossier.download is None:
        yield "a training without a download"
    if process.steps_seen != steps:
        yield f"{process.steps_seen} steps seen, and {steps} recorded"
    if steps and dossier.lint is None:
        yield "steps without rows that were read"
    spent_s = sum(step.duration_s for step in dossier.metrics)
    if spent_s > process.duration_s:
        yield f"steps of {spent_s} s in a process of {process.duration_s} s"
    if error is None or dossier.profile is None:
        return
    # A loss that is no number has no line; a loss that grew too far has one.
    if error.step != steps + (error.failure_class == "non-finite loss"):
        yield f"'{error.failure_class}' at step {error.step}, after {steps} recorded ones"
    if error.failure_class == "diverged":
        watch = DivergenceWatch(dossier.profile.divergence)
        try:
            for step in dossier.metrics:
                watch.see(step.step, step.loss_nats)
        except DivergedError as found:
            steps = 0 if found.step != steps else -1
        if steps != -1:
            yield "losses that do not diverge at their last step"
