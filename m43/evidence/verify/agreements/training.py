"""The audit of training: whether steps, lengths, rates and speed can be those of one honest run."""

import hashlib
import math
import struct
from collections.abc import Iterator
from functools import partial

from m43.errors import Problem, differences, problem
from m43.evidence.run import LoadedRun, TrainFacts
from m43.evidence.verify.agreements.model import describe
from m43.files import file_sha256
from m43.records import Profile, RunDir, StepMetrics, read_lines, steps_sha256

# Dense bfloat16 products with float32 sums, FLOP/s, by the device kind that JAX reports.
# Source: the makers' data sheets. GeForce: NVIDIA RTX Blackwell GPU architecture 1.1 and NVIDIA Ada
# GPU architecture 2.1, appendix A (FP16 and BF16 tensor with FP32 accumulate, without sparsity);
# A100, H100, H200, L4 and B200: the products' data sheets, half of the figure with sparsity.
PEAK_FLOPS_PER_S: dict[str, float] = {
    "NVIDIA GeForce RTX 5090": 209.5e12,
    "NVIDIA GeForce RTX 4090": 165.2e12,
    "NVIDIA A100-SXM4-40GB": 312e12,
    "NVIDIA A100-SXM4-80GB": 312e12,
    "NVIDIA H100 80GB HBM3": 989.4e12,
    "NVIDIA H200": 989.4e12,
    "NVIDIA L4": 121e12,
    "NVIDIA B200": 2250e12,
}

FASTEST_FLOPS_PER_S = 2500e12
"""No single device computes faster today: the bound for one that the table does not know.

It is far above any CPU, so that of a rehearsal only an absurd claim is refused by it.
"""

# A card that boosts above its nominal clock is faster than its data sheet: 3.1 GHz were reported
# where it names 2.4.
CLOCK_MARGIN = 1.3


def most_flops_per_s(device: str) -> float:
    """Return the FLOP/s that a device, named as platform:kind, cannot exceed."""
    kind = device.partition(":")[2]
    return CLOCK_MARGIN * PEAK_FLOPS_PER_S.get(kind, FASTEST_FLOPS_PER_S)


_FILE = RunDir.metrics.name
_problem = partial(problem, action="")


def audit_metrics(loaded_run: LoadedRun) -> Iterator[Problem]:
    """Count the steps, tokens and rows again, and hold them against each other."""
    for number, step in enumerate(loaded_run.metrics, start=1):
        yield from _step_problems(step, number)
    train, profile = loaded_run.train, loaded_run.profile
    if train is None or profile is None:
        return
    most = train.optimizer_steps * profile.training.batch_rows
    if profile.training.packing:
        # Of a packed batch only the file limits the examples.
        most = train.rows_in_file * math.ceil(profile.contract.epochs_at_most)
    if not 0 < train.rows_used <= most:
        expected = f"1 to {most}: what the steps can read"
        yield _problem(f"{train.rows_used} rows used", expected, RunDir.train.name)
    epochs = train.rows_used / train.rows_in_file if train.rows_in_file else 0.0
    if not math.isclose(train.epochs, epochs, rel_tol=1e-9):
        expected = f"{epochs:.6g}: rows used by rows in the file"
        yield _problem(f"{train.epochs:.6g} epochs", expected, RunDir.train.name)
    if not 0 <= train.parameters_moved <= train.parameters:
        found = f"{train.parameters_moved} parameters moved"
        yield _problem(found, f"at most {train.parameters}", RunDir.train.name)
    least = train.parameters // _LEAST_MOVED_PART
    if profile.training.learning_rate >= _NOTICEABLE_RATE and 0 < train.parameters_moved < least:
        found = f"{train.parameters_moved} parameters moved in {train.optimizer_steps} steps"
        yield _problem(found, f"{least} at least, at the profile's rate", RunDir.train.name)
    yield from _method_problems(train, profile)
    spent = sum(step.duration_s for step in train.metrics)
    if spent > train.process.duration_s:
        found = f"steps of {spent:.1f} s in a process of {train.process.duration_s:.1f} s"
        yield _problem(found, "steps that fit into their process", _FILE)


def mesh(loaded_run: LoadedRun) -> Iterator[Problem]:
    """Hold the devices that shared the weights against the profile's mesh and the cards seen."""
    train, profile, venv = loaded_run.train, loaded_run.profile, loaded_run.venv
    if train is None or profile is None:
        return
    if train.mesh != profile.mesh:
        yield _problem(f"weights on a mesh of {train.mesh}", str(profile.mesh), RunDir.train.name)
    if train.devices != train.mesh.devices:
        found = f"{train.devices} devices on a mesh of {train.mesh}"
        yield _problem(found, f"{train.mesh.devices}", RunDir.train.name)
    answering = loaded_run.evaluation
    if answering is not None and answering.devices != profile.mesh.devices:
        found = f"{answering.devices} devices that answered"
        yield _problem(found, f"{profile.mesh.devices}", RunDir.evaluation.name)
    # A CPU is as many devices for JAX as a process asks for.
    seen = [each for each in venv.probe.devices if each.platform != "cpu"] if venv else []
    if seen and train.devices > len(seen) * profile.contract.processes:
        found = f"{train.devices} devices"
        yield _problem(found, f"at most the {len(seen)} of venv.json", RunDir.train.name)


def handed_sha256(run: RunDir) -> str:
    """Digest what every process was handed: m43's own modules, in the order of their paths."""
    text = run.code.read_text(encoding="utf-8") if run.code.is_file() else ""
    listed = sorted((line.partition("  ")[2], line) for line in text.split("\n"))
    own = (f"{line}\n" for path, line in listed if path.startswith("m43/") and path.endswith(".py"))
    return hashlib.sha256("".join(own).encode()).hexdigest()


def processes(run: RunDir, loaded_run: LoadedRun) -> Iterator[Problem]:
    """Hold what each process said of itself against what it left, and the first against all."""
    train, where = loaded_run.train, f"{RunDir.train.name}, processes"
    if train is None:
        return
    said, devices = train.processes, [each for one in train.processes for each in one.devices]
    pairs: dict[str, tuple[object, object]] = {
        "process": ([each.process for each in said], [*range(len(said))]),
        "devices": (len(set(devices)), train.devices),
        "kind of device": ({each.partition(" ")[2] for each in devices}, {train.device}),
    }
    if said:
        first = said[0]
        pairs |= {
            "profile_sha256": (first.profile_sha256, file_sha256(run.profile)),
            "code_sha256": (first.code_sha256, handed_sha256(run)),
            "train_rows_sha256": (first.train_rows_sha256, train.train_rows_sha256),
            "base_weights_sha256": (first.base_weights_sha256, train.base_weights_sha256),
            "reloaded_sha256": (first.reloaded_sha256, train.reloaded_sha256),
            "optimizer_steps": (first.optimizer_steps, train.optimizer_steps),
            "peak_host_bytes": (first.peak_host_bytes, train.peak_host_bytes),
        }
    for each in said:
        metrics = run.of_process(each.process).metrics
        left = steps_sha256(read_lines(metrics, StepMetrics)) if metrics.is_file() else "nothing"
        pairs[f"steps_sha256 of process {each.process}"] = (each.steps_sha256, left)
    yield from differences(pairs, where, "")


def schedule(loaded_run: LoadedRun) -> Iterator[Problem]:
    """Work out the learning rate of every step again.

    Source: m43/core/optimizer.py, make_schedule, which a test holds against this.
    """
    profile = loaded_run.profile
    if profile is None:
        return
    for step in loaded_run.metrics:
        expected = learning_rate(profile, step.step)
        # The child computes it in float32.
        if not math.isclose(step.learning_rate, expected, rel_tol=1e-4, abs_tol=1e-12):
            found = f"a learning rate of {step.learning_rate:g}"
            yield _problem(found, f"{expected:g}, as the profile gives", f"{_FILE}:{step.step}")


def learning_rate(profile: Profile, step: int) -> float:
    """Return the learning rate of a step, counted from 1, as the profile's schedule gives it."""
    table, total = profile.training, profile.contract.optimizer_steps
    peak, warmup, done = table.learning_rate, table.warmup_steps, step - 1
    if done < warmup:
        return peak * step / max(1, warmup)
    end = peak * table.end_learning_rate_ratio
    progress = min(1.0, (done - warmup) / max(1, total - warmup))
    return end + (peak - end) * 0.5 * (1.0 + math.cos(math.pi * progress))


def float32(loaded_run: LoadedRun) -> Iterator[Problem]:
    """Require numbers that a step can have returned: it computes in float32.

    The loss is a sum in float32, divided by its count of tokens in Python.
    """
    for step in loaded_run.metrics:
        returned = {
            "the sum of losses": step.loss_nats * step.supervised_tokens,
            "the gradient norm": step.gradient_norm,
            "the learning rate": step.learning_rate,
        }
        for name, value in returned.items():
            if not _is_float32(value):
                found = f"{value!r} as {name}"
                yield _problem(found, "a number of float32", f"{_FILE}:{step.step}")


def _is_float32(value: float) -> bool:
    try:
        (nearest,) = struct.unpack("<f", struct.pack("<f", value))
    except OverflowError:
        return False
    return math.isclose(value, nearest, rel_tol=1e-13, abs_tol=1e-300)


def step_lengths(loaded_run: LoadedRun) -> Iterator[Problem]:
    """Require batches of a length that was compiled, and that the profile allows."""
    profile, train, lint = loaded_run.profile, loaded_run.train, loaded_run.lint
    if profile is None:
        return
    table = profile.training
    phases = train.phases if train is not None else ()
    compiled = {
        table.batch_rows * int(words[1])
        for words in (phase.name.split() for phase in phases)
        if words[0] == "compile" and words[1:2] and words[1].isdigit()
    }
    most = table.batch_rows * table.sequence_tokens
    for step in loaded_run.metrics:
        where = f"{_FILE}:{step.step}"
        if not 0 < step.padded_tokens <= most:
            expected = f"{most} at most: {table.batch_rows} rows of {table.sequence_tokens}"
            yield _problem(f"{step.padded_tokens} computed tokens", expected, where)
        elif train is not None and step.padded_tokens not in compiled:
            expected = f"one of {sorted(compiled)}, as the phases of train.json have it"
            yield _problem(f"{step.padded_tokens} computed tokens", expected, where)
    taken = {step.padded_tokens for step in loaded_run.metrics}
    if train is not None and compiled != taken:
        found = f"steps of {sorted(taken)} computed tokens"
        yield _problem(found, f"{sorted(compiled)}, which were compiled", RunDir.train.name)
    if lint is not None:
        yield from _longest(loaded_run, profile)


def _longest(loaded_run: LoadedRun, profile: Profile) -> Iterator[Problem]:
    lint, where = loaded_run.lint, RunDir.lint.name
    if lint is None:
        return
    bounds = {
        "longest_row_tokens": (lint.longest_row_tokens, profile.training.sequence_tokens),
        "longest_prompt_tokens": (lint.longest_prompt_tokens, profile.evaluation.prompt_tokens),
    }
    for name, (found, most) in bounds.items():
        if not 0 < found <= most:
            yield _problem(f"{found}", f"{most} at most, as the profile allows", f"{where}, {name}")
    if not 0 <= lint.unread_rows <= lint.rows_in_file:
        yield _problem(f"{lint.unread_rows} unread rows", f"0 to {lint.rows_in_file}", where)
    train, rows = loaded_run.train, profile.training.batch_rows
    longest_step = max((step.padded_tokens for step in loaded_run.metrics), default=0)
    all_read = train is not None and train.rows_used >= lint.rows_in_file
    if all_read and longest_step < rows * lint.longest_row_tokens:
        row = f"a row of {lint.longest_row_tokens} tokens in batches of {longest_step} at most"
        yield _problem(row, "batches that hold it", f"{where}, longest_row_tokens")


# Every weight that has a gradient moves by about the rate in every step; below such a rate the
# dtype that is saved may round most of it away.
_LEAST_MOVED_PART, _NOTICEABLE_RATE = 1000, 1e-6


def _method_problems(train: TrainFacts, profile: Profile) -> Iterator[Problem]:
    if train.method != profile.training.method:
        yield _problem(f"method {train.method}", profile.training.method, RunDir.train.name)
    full, trained = train.method == "full", train.trained_parameters
    if trained != train.parameters if full else not 0 < trained < train.parameters:
        expected = f"{'all' if full else 'fewer than the'} {train.parameters}"
        yield _problem(f"{trained} parameters trained", expected, RunDir.train.name)


def _step_problems(step: StepMetrics, number: int) -> Iterator[Problem]:
    where = f"{_FILE}:{number}"
    if step.step != number:
        yield _problem(f"step {step.step}", f"step {number}", where)
    if not 0 <= step.supervised_tokens <= step.real_tokens <= step.padded_tokens:
        found = (
            f"{step.supervised_tokens} supervised, {step.real_tokens} real, "
            f"{step.padded_tokens} computed tokens"
        )
        yield _problem(found, "supervised at most real, real at most computed", where)
    if min(step.loss_nats, step.duration_s, step.gradient_norm) < 0:
        found = f"loss {step.loss_nats}, gradient norm {step.gradient_norm}, {step.duration_s} s"
        yield _problem(found, "none below 0", where)


# A product forward, and backward the gradients of both operands; of a frozen weight only one.
_PASSES = {"full": 3, "lora": 2}


def audit_speed(run: RunDir, loaded_run: LoadedRun) -> Iterator[Problem]:
    """Bound the time of the steps from below: their FLOPs, from config.json, at the peak FLOP/s."""
    train = loaded_run.train
    if train is None or not train.metrics:
        return
    flops = least_flops(run, train)
    if isinstance(flops, Problem):
        # Told where the model is held against it.
        return
    tokens = sum(step.padded_tokens for step in train.metrics)
    spent = min(sum(step.duration_s for step in train.metrics), train.process.duration_s)
    least_s = flops / (most_flops_per_s(train.device) * max(1, train.devices))
    if spent < least_s:
        yield problem(
            f"{len(train.metrics)} steps over {tokens:,} tokens in {spent:.3g} s",
            f"{least_s:.3g} s at least: {flops:.3g} FLOPs on {train.device}",
            RunDir.metrics.name,
            "do not rely on this folder: the device cannot compute so fast",
        )


def least_flops(run: RunDir, train: TrainFacts) -> int | Problem:
    """Count the FLOPs of the steps from config.json, without the head and attention's scores."""
    described = describe(run)
    if isinstance(described, Problem):
        return described
    tokens = sum(step.padded_tokens for step in train.metrics)
    return 2 * _PASSES[train.method] * described.layer_weights * tokens
