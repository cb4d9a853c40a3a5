"""The audit of training: whether steps, speed, model and weights can be those of one honest run."""

import json
import math
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

from m43.errors import Problem, problem
from m43.evidence.contract import model_words
from m43.evidence.run import LoadedRun, TrainFacts
from m43.files import file_sha256, weights_digest, weights_sha256
from m43.gemma_families import ARCHITECTURES, count_parameters
from m43.records import Profile, RunDir, StepMetrics
from m43.text import is_weight_file

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
_metrics_problem = partial(
    problem, action="do not rely on this folder: these numbers cannot all be true"
)


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
        most = train.rows_in_file
    if not 0 < train.rows_used <= most:
        expected = f"1 to {most}: what the steps can read"
        yield _metrics_problem(f"{train.rows_used} rows used", expected, RunDir.train.name)
    epochs = train.rows_used / train.rows_in_file if train.rows_in_file else 0.0
    if not math.isclose(train.epochs, epochs, rel_tol=1e-9):
        expected = f"{epochs:.6g}: rows used by rows in the file"
        yield _metrics_problem(f"{train.epochs:.6g} epochs", expected, RunDir.train.name)
    if not 0 <= train.parameters_moved <= train.parameters:
        found = f"{train.parameters_moved} parameters moved"
        yield _metrics_problem(found, f"at most {train.parameters}", RunDir.train.name)
    yield from _method_problems(train, profile)
    spent = sum(step.duration_s for step in train.metrics)
    if spent > train.process.duration_s:
        found = f"steps of {spent:.1f} s in a process of {train.process.duration_s:.1f} s"
        yield _metrics_problem(found, "steps that fit into their process", _FILE)


def _method_problems(train: TrainFacts, profile: Profile) -> Iterator[Problem]:
    if train.method != profile.training.method:
        yield _metrics_problem(f"method {train.method}", profile.training.method, RunDir.train.name)
    full, trained = train.method == "full", train.trained_parameters
    if trained != train.parameters if full else not 0 < trained < train.parameters:
        expected = f"{'all' if full else 'fewer than the'} {train.parameters}"
        yield _metrics_problem(f"{trained} parameters trained", expected, RunDir.train.name)


def _step_problems(step: StepMetrics, number: int) -> Iterator[Problem]:
    where = f"{_FILE}:{number}"
    if step.step != number:
        yield _metrics_problem(f"step {step.step}", f"step {number}", where)
    if not 0 <= step.supervised_tokens <= step.real_tokens <= step.padded_tokens:
        found = (
            f"{step.supervised_tokens} supervised, {step.real_tokens} real, "
            f"{step.padded_tokens} computed tokens"
        )
        yield _metrics_problem(found, "supervised at most real, real at most computed", where)
    if step.loss_nats < 0 or step.duration_s < 0:
        found = f"loss {step.loss_nats}, {step.duration_s} s"
        yield _metrics_problem(found, "neither below 0", where)


_NEEDED = (
    "num_hidden_layers",
    "hidden_size",
    "intermediate_size",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
)
# A product forward, and backward the gradients of both operands; of a frozen weight only one.
_PASSES = {"full": 3, "lora": 2}


def audit_speed(run: RunDir, loaded_run: LoadedRun) -> Iterator[Problem]:
    """Bound the time of the steps from below: their FLOPs, from config.json, at the peak FLOP/s."""
    train = loaded_run.train
    if train is None or not train.metrics:
        return
    flops = least_flops(run, train)
    if isinstance(flops, Problem):
        yield flops
        return
    tokens = sum(step.padded_tokens for step in train.metrics)
    spent = min(sum(step.duration_s for step in train.metrics), train.process.duration_s)
    least_s = flops / most_flops_per_s(train.device)
    if spent < least_s:
        yield problem(
            f"{len(train.metrics)} steps over {tokens:,} tokens in {spent:.3g} s",
            f"{least_s:.3g} s at least: {flops:.3g} FLOPs on {train.device}",
            RunDir.metrics.name,
            "do not rely on this folder: the device cannot compute so fast",
        )


def least_flops(run: RunDir, train: TrainFacts) -> int | Problem:
    """Count the FLOPs of the steps from config.json, without the head and attention's scores."""
    config = read_dimensions(run.model / "config.json")
    if isinstance(config, Problem):
        return config
    tokens = sum(step.padded_tokens for step in train.metrics)
    return 2 * _PASSES[train.method] * layer_weights(config) * tokens


def layer_weights(config: Mapping[str, int]) -> int:
    """Count the weights that every token is multiplied by, but for the head and the embedding.

    Source: Kaplan et al. 2020, section 2.1: 2 FLOPs per weight and token forward, 4 backward.

    Example:
        Gemma 1 2B: 1,981,808,640 (18 layers of 110,100,480).
    """
    d_model, heads = config["hidden_size"], config["head_dim"]
    queries = config["num_attention_heads"] * heads
    keys = config["num_key_value_heads"] * heads
    layer = 2 * d_model * (queries + keys) + 3 * d_model * config["intermediate_size"]
    return config["num_hidden_layers"] * layer


def read_dimensions(path: Path) -> Mapping[str, int] | Problem:
    """Read the dimensions of a model out of its config.json."""
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
        return {name: int(table[name]) for name in _NEEDED}
    except (OSError, ValueError, TypeError, LookupError) as error:
        return problem(
            f"{type(error).__name__}: {error}",
            "the dimensions of the model that was trained",
            f"model/{path.name}",
            "do not rely on this folder: how much was computed cannot be told",
        )


def audit_weights(run: RunDir, loaded_run: LoadedRun) -> Iterator[Problem]:
    """Digest the saved model again, and take the base model's digest from the pinned files."""
    train = loaded_run.train
    if train is None:
        return
    found = weights_sha256(run.model)
    # Weights that are not there are the manifest's concern.
    if found and found != train.model_sha256:
        expected = f"{train.model_sha256}, as in train.json"
        action = "do not rely on this folder: the model was swapped after training"
        yield problem(f"weights with SHA-256 {found}", expected, "model", action)
    config = run.model / "config.json"
    if config.is_file() and file_sha256(config) != train.repo_config_sha256:
        expected = f"{train.repo_config_sha256}, which training read (train.json)"
        action = "do not rely on this folder: the model's description was changed"
        yield problem(f"SHA-256 {file_sha256(config)}", expected, "model/config.json", action)
    pinned = {
        file.name: file.digest
        for file in train.download.files
        if is_weight_file(file.name) and file.digest_kind == "sha256"
    }
    # Small weights are pinned by their git blob, from which no SHA-256 follows.
    if pinned and len(pinned) == sum(is_weight_file(f.name) for f in train.download.files):
        expected = weights_digest(pinned)
        if train.base_weights_sha256 != expected:
            action = "do not rely on this folder: training began from other weights than it says"
            yield problem(
                f"base weights with SHA-256 {train.base_weights_sha256}",
                f"{expected}, which follows from download.json",
                "train.json, base_weights_sha256",
                action,
            )


# Source: the safetensors format: no dtype of weights that m43 reads takes less than bfloat16.
_LEAST_BYTES = 2


def audit_model(run: RunDir, loaded_run: LoadedRun) -> Iterator[Problem]:
    """Count the model's weights again from model/config.json, without JAX and without weights."""
    train = loaded_run.train
    if train is None:
        return
    path = run.model / "config.json"
    described = _described(path)
    if isinstance(described, Problem):
        yield described
        return
    claims = {RunDir.train.name: model_words(train.architecture, train.parameters)}
    if loaded_run.plan is not None and loaded_run.plan.training is not None:
        claims[RunDir.plan.name] = model_words(
            loaded_run.plan.architecture, loaded_run.plan.parameters
        )
    for where, claimed in claims.items():
        if claimed != described:
            action = "do not rely on this folder: it was another model"
            expected = f"{described}, as model/config.json gives"
            yield problem(claimed, expected, where, action)
    stored = sum(f.size_bytes for f in train.download.files if is_weight_file(f.name))
    least = _LEAST_BYTES * train.parameters
    if stored < least:
        yield problem(
            f"{stored:,} bytes of weights",
            f"{least:,} at least, for {train.parameters:,} parameters",
            RunDir.download.name,
            "do not rely on this folder: so many parameters do not fit these files",
        )


def _described(path: Path) -> str | Problem:
    """Describe the model of a config.json."""
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
        family = str(table["model_type"])
        return model_words(
            ARCHITECTURES[family],
            count_parameters(
                layers=int(table["num_hidden_layers"]),
                d_model=int(table["hidden_size"]),
                d_ff=int(table["intermediate_size"]),
                q_heads=int(table["num_attention_heads"]),
                kv_heads=int(table["num_key_value_heads"]),
                head_dim=int(table["head_dim"]),
                vocab_size=int(table["vocab_size"]),
                family=family,
            ),
        )
    except (OSError, ValueError, TypeError, LookupError, OverflowError, RecursionError) as error:
        return problem(
            f"{type(error).__name__}: {error}",
            "the description of the model that was trained",
            f"model/{path.name}",
            "do not rely on this folder: which model it was cannot be told",
        )
