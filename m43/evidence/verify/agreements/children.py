"""What the child processes left, held against each other: records, logs, heartbeats.

A child says the same thing in several places: in its record, in its log, in its last heartbeat, and
to the parent that watched it. Two of them that differ cannot both be what happened.
"""

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from m43.errors import Problem, differences, problem
from m43.evidence.run import Child, LoadedRun
from m43.records import Phase, RunDir, child_file, gate_of_child
from m43.typed_json import NotJsonError, read_json

_problem = partial(problem, action="")

CHILDREN = ("download", "train", "eval")


def child_of(loaded_run: LoadedRun, name: str) -> Child:
    """Return what a child left behind."""
    child: Child = getattr(loaded_run, f"{name}_child")
    return child


def phases_of(loaded_run: LoadedRun, name: str) -> tuple[Phase, ...]:
    """Return the phases that a child recorded; none where it left no record."""
    record = {"train": loaded_run.train, "eval": loaded_run.evaluation}.get(name)
    return record.phases if record is not None else ()


# --- heartbeats, processes and their commands ---------------------------------------------------


def heartbeats(loaded_run: LoadedRun) -> Iterator[Problem]:
    """Hold the last heartbeat of a child against its record and what its parent saw."""
    for name in CHILDREN:
        child = child_of(loaded_run, name)
        process, beat = child.process, child.heartbeat
        if process is None or beat is None or process.exit_status != 0:
            continue
        phases = phases_of(loaded_run, name)
        pairs: dict[str, tuple[object, object]] = {
            "phase": (beat.phase, process.last_phase),
            "done": (beat.done, process.steps_seen),
            "total": (beat.total, _total(loaded_run, name, beat.total)),
        }
        if phases:
            pairs["last phase"] = (beat.phase, phases[-1].name)
        yield from differences(pairs, child_file(name, "heartbeat").name, "")
        if beat.beat <= 0 or not 0 <= beat.done <= max(beat.total, 0):
            found = f"beat {beat.beat}, {beat.done} of {beat.total}"
            where = child_file(name, "heartbeat").name
            yield _problem(found, "a beat, and no more than all", where)
    yield from _last_step(loaded_run)


def _total(loaded_run: LoadedRun, name: str, otherwise: int) -> int:
    if name == "train" and loaded_run.profile is not None:
        return loaded_run.profile.contract.optimizer_steps
    if name == "eval" and loaded_run.evaluation is not None:
        return loaded_run.evaluation.rows_in_file
    return otherwise


def _last_step(loaded_run: LoadedRun) -> Iterator[Problem]:
    """Hold loss and speed of the heartbeats against the line of their step."""
    for name in CHILDREN:
        last, steps = child_of(loaded_run, name).heartbeat, loaded_run.metrics
        if last is None:
            continue
        wanted = (0.0, 0.0)
        if name == "train" and 0 < last.done <= len(steps):
            step = steps[last.done - 1]
            wanted = (step.loss_nats, step.real_tokens / step.duration_s if step.duration_s else 0)
        elif name == "train" and last.done:
            continue
        if (last.loss_nats, last.tokens_per_s) != wanted:
            found = f"loss {last.loss_nats}, {last.tokens_per_s} tokens/s"
            expected = f"loss {wanted[0]}, {wanted[1]} tokens/s, as of its step"
            yield _problem(found, expected, child_file(name, "heartbeat").name)


_JOBS = {"train": "train", "eval": "evaluate"}
_FETCH = "fetch"


def commands(loaded_run: LoadedRun) -> Iterator[Problem]:
    """Require that each child was this run's, and run by the interpreter that was looked at."""
    folder = None
    for name, job in _JOBS.items():
        process, where = child_of(loaded_run, name).process, child_file(name, "process").name
        if process is None:
            continue
        launcher = loaded_run.profile.launch.command if loaded_run.profile is not None else ()
        command = process.command[len(launcher) :]
        if process.command[: len(launcher)] != launcher:
            yield _problem(f"the command {process.command[:1]}", " ".join(launcher), where)
        if loaded_run.venv is not None and command[:1] != (loaded_run.venv.interpreter,):
            yield _problem(f"the command {command[:1]}", loaded_run.venv.interpreter, where)
        if job not in command or Path((command or ("",))[-1]).name != loaded_run.name:
            yield _problem(f"the command {' '.join(command)}", f"{job} of {loaded_run.name}", where)
        folder = folder or command[-1:]
        if command[-1:] != folder:
            yield _problem(f"a job in {command[-1:]}", f"{folder}, as of the others", where)
    fetched, process = loaded_run.download, loaded_run.download_child.process
    if process is not None and _FETCH not in process.command:
        where = child_file("download", "process").name
        yield _problem(f"the command {' '.join(process.command)}", _FETCH, where)
    if fetched is not None and folder and fetched.folder != Path(folder[0], RunDir.base_model.name):
        expected = f"{folder[0]}/{RunDir.base_model.name}, which training read"
        yield _problem(fetched.folder, expected, f"{RunDir.download.name}, folder")


# What m43 gives its children or lets through. Source: m43/harness/process/environment.py, which a
# test holds against this list.
_FAMILIES = ("LC_", "CUDA_", "NVIDIA_", "HF_", "MALLOC_", "XLA_", "JAX_", "M43_")
_VARIABLES = frozenset(
    {
        "PATH", "HOME", "USER", "LOGNAME", "LANG", "LANGUAGE", "TZ", "TMPDIR", "LD_LIBRARY_PATH",
        "XDG_CACHE_HOME", "GLIBC_TUNABLES", "TRANSFORMERS_OFFLINE", "TOKENIZERS_PARALLELISM",
        "DO_NOT_TRACK", "TF_CPP_MIN_LOG_LEVEL",
    }
)  # fmt: skip
_OF_OUTSIDE = re.compile(r"SSL_CERT_(FILE|DIR)|(HTTPS?|ALL|NO)_PROXY", re.IGNORECASE)


def is_given(name: str, child: str = "train") -> bool:
    """Tell whether m43 gives a child a variable of this name."""
    outside = child == "download" and _OF_OUTSIDE.fullmatch(name)
    family = name.startswith(_FAMILIES) and "INJECTION" not in name
    return bool(name in _VARIABLES or family or outside)


def variables(loaded_run: LoadedRun) -> Iterator[Problem]:
    """Name each variable that m43 gives no child: LD_PRELOAD and its like change what runs."""
    for name in CHILDREN:
        process = child_of(loaded_run, name).process
        others = [each for each in process.variables if not is_given(each, name)] if process else []
        for other in others:
            expected = "variables that m43 gives"
            yield _problem(f"the variable {other}", expected, child_file(name, "process").name)
    yield from _flags(loaded_run)
    train, evaluation = loaded_run.train_child.process, loaded_run.eval_child.process
    if train and evaluation and set(train.variables) != set(evaluation.variables):
        differing = sorted(set(train.variables) ^ set(evaluation.variables))
        where = f"{child_file('eval', 'process').name}, variables"
        yield _problem(f"{', '.join(differing)} for one of both", "those of training", where)


def _flags(loaded_run: LoadedRun) -> Iterator[Problem]:
    """Require the flags of the one training's XLA, and none where nothing is compiled."""
    trained = loaded_run.train_child.process
    for name in CHILDREN:
        process, where = child_of(loaded_run, name).process, child_file(name, "process").name
        if process is None:
            continue
        wanted = () if name == "download" else (trained or process).xla_flags
        has_them = "XLA_FLAGS" in process.variables
        if process.xla_flags != wanted or has_them != bool(process.xla_flags):
            found = f"XLA_FLAGS {' '.join(process.xla_flags) or 'none'}"
            yield _problem(found, f"{' '.join(wanted) or 'none'}, as it was started", where)
        if process.exit_status == 0 and (process.card_lines or process.kernel_log != "not asked"):
            found = f"the kernel's log: {process.kernel_log!r}"
            yield _problem(found, "'not asked', of a child that ended well", where)


# The peak of a process as its parent sees it begins with that of the parent itself.
_SLACK_BYTES = 1 << 28


def memory(loaded_run: LoadedRun) -> Iterator[Problem]:
    """Require that a part is no larger than the whole: a beat, a peak, the machine."""
    host = loaded_run.venv.probe.host_memory_bytes if loaded_run.venv is not None else None
    for name in CHILDREN:
        child, record = child_of(loaded_run, name), None
        if child.process is None:
            continue
        record = {"train": loaded_run.train, "eval": loaded_run.evaluation}.get(name)
        own = record.peak_host_bytes if record is not None else 0
        beat = child.heartbeat.host_bytes if child.heartbeat is not None else 0
        whole, where = child.process.peak_bytes, child_file(name, "process").name
        if loaded_run.profile is not None and loaded_run.profile.launch.command:
            # The launcher's own: what it started may be no child of it, as with srun.
            whole = max(whole, own, beat)
        if min(own, beat, whole) < 0 or max(own, beat) > whole + _SLACK_BYTES:
            found = f"peaks of {own:,} and {beat:,} bytes in a process of {whole:,}"
            yield _problem(found, "no part larger than the whole", where)
        if record is not None and beat > own + _SLACK_BYTES:
            found = f"{beat:,} bytes at a beat, {own:,} at most"
            yield _problem(found, "no beat above the peak", where)
        if host is not None and whole > host:
            yield _problem(f"{whole:,} bytes", f"{host:,} at most, as in venv.json", where)
    yield from _device_memory(loaded_run)


def _device_memory(loaded_run: LoadedRun) -> Iterator[Problem]:
    train, venv = loaded_run.train, loaded_run.venv
    if train is None or venv is None:
        return
    # JAX counts no memory of a CPU, and the download has no device.
    on_cpu = train.device.startswith("cpu:")
    # What JAX may use is a share of the card, and another child may be given another share.
    whole = 4 * max((each.memory_bytes for each in venv.probe.devices), default=0) // 3
    most = 0 if on_cpu else whole
    told = {f"{RunDir.train.name}, peak_device_bytes": (train.peak_device_bytes, most)}
    for name in CHILDREN:
        beat, where = child_of(loaded_run, name).heartbeat, child_file(name, "heartbeat").name
        if beat is not None:
            bound = 0 if name == "download" else most
            told[f"{where}, device_bytes"] = (beat.device_bytes, bound)
    for where, (found, bound) in told.items():
        if not 0 <= found <= bound:
            yield _problem(f"{found:,} bytes of {train.device}", f"{bound:,} at most", where)


# --- logs ----------------------------------------------------------------------------------------

_STEP = re.compile(r"train: (\d+) of (\d+)(?:, loss ([\d.]+))?(?:, (\d+) tokens/s)?")


def logs(run: RunDir, loaded_run: LoadedRun) -> Iterator[Problem]:
    """Hold what a child printed against what it recorded: every phase, and steps now and then."""
    for name in _JOBS:
        phases, where = phases_of(loaded_run, name), child_file(name, "log").name
        lines = _lines(run.log(name))
        if phases:
            wanted = [f"{each.name}: {each.duration_s:.1f} s" for each in phases]
            told = [line for line in lines if line in set(wanted)]
            if told != wanted:
                missing = next((line for line in wanted if line not in told), "another order")
                yield _problem(
                    "other phases", f"{missing!r}, as {gate_of_child(name).record} has", where
                )
    steps, told_steps = loaded_run.metrics, []
    for match in filter(None, map(_STEP.fullmatch, _lines(run.log("train")))):
        number = int(match[1])
        told_steps.append(number)
        step = steps[number - 1] if 0 < number <= len(steps) else None
        if step is None or step.duration_s <= 0:
            continue
        wanted_words = (f"{step.loss_nats:.4f}", f"{step.real_tokens / step.duration_s:.0f}")
        if (match[3] or "0.0000", match[4] or "0") != wanted_words:
            expected = f"loss {wanted_words[0]}, {wanted_words[1]} tokens/s, as in the metrics"
            yield _problem(repr(match[0]), expected, child_file("train", "log").name)
    if loaded_run.train is not None and len(steps) not in told_steps:
        yield _problem(
            "no line of the last step", f"step {len(steps)}", child_file("train", "log").name
        )


def _lines(path: Path) -> list[str]:
    if not path.is_file():
        return []
    # Whole ones only: on a full disk the last may be cut off.
    return path.read_text(encoding="utf-8", errors="replace").split("\n")[:-1]


def download_log(run: RunDir, loaded_run: LoadedRun) -> Iterator[Problem]:
    """Hold the download's record against the last thing that its child printed."""
    record, where = loaded_run.download, child_file("download", "log").name
    if record is None:
        return
    try:
        said = [read_json(line) for line in _lines(run.log("download")) if line.startswith("{")]
        told = next(
            each for each in reversed(said) if isinstance(each, dict) and "arrivals" in each
        )
        arrivals = told["arrivals"]
        pairs = {
            "files": (
                [each["found"]["digest"] for each in arrivals],
                [each.digest for each in record.files],
            ),
            "cache": (
                sorted({str(Path(each["path"]).parent) for each in arrivals}),
                [str(record.cache)],
            ),
            "bytes_moved": (sum(each["bytes_moved"] for each in arrivals), record.bytes_moved),
            "requests": (told["requests"], record.requests),
            "transport": (told["transport"], record.transport),
            "unasked": (len(told["unasked"]), len(record.unasked)),
        }
    except (NotJsonError, StopIteration, KeyError, TypeError, ValueError):
        yield _problem("nothing about the files", "what the child says at its end", where)
        return
    yield from differences(pairs, where, "", f", as in {RunDir.download.name}")
