"""The lies that a sealed folder can tell, by the agreement that each of them breaks."""

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

from m43 import typed_json
from m43.evidence.journal.journal import stamp
from m43.evidence.run.loaded_run import moment
from m43.records.run_dir import RunDir, write_record
from tests.unit.evidence.good_records import (
    DEVICE,
    INSTALLED,
    mesh_record,
    probe_record,
    venv_record,
)
from tests.unit.evidence.good_run import write_mesh
from tests.unit.evidence.tampering import Change, rechain
from tests.unit.evidence.watched_run import series, write_series


def put(name: str, value: object, *place: str | int) -> Change:
    """Write a value into a record, at its keys and indexes; of lines the first is the number."""

    def change(run: RunDir) -> None:
        path = run.path / name
        lines = path.suffix == ".jsonl"
        text = path.read_text(encoding="utf-8")
        data: Any = [json.loads(line) for line in text.splitlines()] if lines else json.loads(text)
        holder = data
        for part in place[:-1]:
            holder = holder[part]
        assert holder[place[-1]] != value
        holder[place[-1]] = value
        dump = typed_json.dump_line
        path.write_text("".join(map(dump, data)) if lines else typed_json.dump(data))

    return change


def all_steps(alter: Callable[[dict[str, Any]], dict[str, Any]]) -> Change:
    """Change every step of the metrics."""

    def change(run: RunDir) -> None:
        steps = [alter(json.loads(line)) for line in run.metrics.read_text().splitlines()]
        run.metrics.write_text("".join(map(typed_json.dump_line, steps)))

    return change


def replaced(name: str, old: str, new: str) -> Change:
    """Write one text for another in a file, wherever it stands."""

    def change(run: RunDir) -> None:
        text = (run.path / name).read_text(encoding="utf-8")
        assert old in text
        (run.path / name).write_text(text.replace(old, new), encoding="utf-8")

    return change


def at_times(shift_s: Callable[[int], float]) -> Change:
    """Shift the time of every entry of the journal, by its number."""

    def change(run: RunDir) -> None:
        entries = [json.loads(line) for line in run.journal.read_text().splitlines()]
        for entry in entries:
            time = moment(entry["time_utc"])
            assert time is not None
            entry["time_utc"] = stamp(time + timedelta(seconds=shift_s(entry["seq"])))
        rechain(run, entries)

    return change


def twice(path: Path) -> None:
    """List the last file a second time."""
    data = json.loads(path.read_text())
    data["files"].append(data["files"][-1])
    path.write_text(typed_json.dump(data))


def too_old(version: str) -> Change:
    """Have the first requirement met by an older package, wherever that is told."""

    def change(run: RunDir) -> None:
        venv = json.loads(run.venv.read_text())
        name = venv["requirements"][0]["requirement"].partition(">=")[0]
        for each in venv["probe"]["packages"]:
            each["version"] = version if each["name"] == name else each["version"]
        venv["requirements"][0] |= {"installed": version, "satisfied": True}
        run.venv.write_text(typed_json.dump(venv))
        if name == "jax":
            put("train.json", version, "jax_version")(run)

    return change


def stand_still(run: RunDir) -> None:
    """Write the same time into every entry."""
    entries = [json.loads(line) for line in run.journal.read_text().splitlines()]
    rechain(run, [{**entry, "time_utc": entries[0]["time_utc"]} for entry in entries])


def no_safetensors(run: RunDir) -> None:
    """Save text where weights were."""
    (run.model / "model.safetensors").write_bytes(b"the weights")


def shorter_weights(run: RunDir) -> None:
    """Leave the last bytes away."""
    path = run.model / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-2])


def other_shape(run: RunDir) -> None:
    """Write a tensor as if it lay the other way round."""
    path = run.model / "model.safetensors"
    path.write_bytes(path.read_bytes().replace(b"[512,128]", b"[128,512]", 1))


def _write(path: Path, text: str) -> None:
    """Put a text where no file was."""
    path.write_text(text, encoding="utf-8")


def another_weight(run: RunDir) -> None:
    """Change a weight, and no digest of it."""
    path = run.model / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\1")


def for_both(variable: str) -> Change:
    """Give training and evaluation a variable more."""

    def change(run: RunDir) -> None:
        for name in ("train.process.json", "eval.process.json"):
            put(name, ["HF_HUB_OFFLINE", variable], "variables")(run)

    return change


def on_a_mesh(run: RunDir) -> None:
    """Make the run one of two devices in two processes, which agree with each other."""
    data = json.loads(run.profile.read_text())
    data["contract"] |= {"devices": 2, "processes": 2}
    data |= {"mesh": {"fsdp": 2, "tensor": 1}}
    run.profile.write_text(typed_json.dump(data))
    write_record(run.venv, write_mesh(run))


def meshed(change: Change) -> Change:
    """Tell a lie over a run of two devices."""

    def changed(run: RunDir) -> None:
        on_a_mesh(run)
        change(run)

    return changed


def of_mesh(value: object, *place: str | int) -> Change:
    """Write a value into what the devices of a mesh exchanged."""
    return meshed(put("venv.json", value, "probe", "mesh", *place))


_DAY_S, _YEAR_S = 86_400.0, 31_536_000.0

LIES: dict[str, dict[str, Change]] = {
    "the call": {
        "another profile": put("opening.json", "0" * 64, "profile_sha256"),
        "a profile of one's own": put("opening.json", "mine.toml", "profile"),
        "another kind asked for": put("opening.json", "production", "command", 3),
        "another version": put("opening.json", "0.3.99", "m43_version"),
        "no commit": put("opening.json", "the newest", "commit"),
        "a tree of one's own beside a checkout": put("opening.json", "none", "tree_commit"),
    },
    "journal times": {
        "times that run backwards": at_times(lambda seq: -100.0 * seq),
        "a year between two entries": at_times(lambda seq: _YEAR_S * (seq > 20)),
        "a journal of another day": at_times(lambda seq: _DAY_S),
        "a journal before its opening": at_times(lambda seq: -_DAY_S),
    },
    "durations": {
        "times that stand still": stand_still,
        "half an hour in a gate of a minute": put("train.process.json", 1800.0, "duration_s"),
        "phases of an hour": put("train.json", 3600.0, "phases", 2, "duration_s"),
        "a phase that took less than nothing": put("train.json", -1.0, "phases", 0, "duration_s"),
        "steps that do not fill their phase": all_steps(
            lambda step: {**step, "duration_s": step["duration_s"] / 10}
        ),
        "a download that outlasts its gate": put("download.json", 900.0, "duration_s"),
    },
    "hub": {
        "another hub": put("auth.json", "https://hub.example", "endpoint"),
        "a token from nowhere": put("auth.json", ["HF_HOME"], "hub_variables"),
        "a cache of another model": put("download.json", "/cache/models--a--b/x/y", "cache"),
        "more bytes than the files have": put("download.json", 10**12, "bytes_moved"),
        "another way of transport": put("download.json", "xet", "transport"),
        "a name without an answer": put("auth.json", 401, "responses", 0, "status"),
        "a download that was killed": put("download.process.json", -9, "exit_status"),
    },
    "download log": {
        "requests that were not made": put("download.json", 1, "requests"),
        "a log that says nothing": lambda run: run.log("download").write_text("{}\n"),
    },
    "packages": {
        "a version that is not installed": put("train.json", "0.11.0", "jax_version"),
        "a package that is not there": put("venv.json", "0.9.9", "probe", "packages", 0, "version"),
        "a requirement left out": replaced("venv.json", "flax>=", "jax>="),
        "met by a package that is too old": too_old("0.9.9"),
        "met by a candidate of one that is too old": too_old("0.9.9rc1"),
        "met, though it is not": put("venv.json", False, "requirements", 0, "satisfied"),
    },
    "imported": {
        "a package that is not installed": put(
            "train.imported.json", {"torch 2.9": 9}, "distributions"
        ),
        "a file more": put("eval.imported.json", 2, "distributions", f"jax {INSTALLED['jax']}"),
        "no digest": put("train.imported.json", "jax", "files", -1),
        "a digest too short": replaced(
            "eval.imported.json", "  site-packages/flax", " site-packages/flax"
        ),
        "a file twice": lambda run: twice(run.imported("eval")),
        "other start-up files": put("eval.imported.json", [], "passed_over"),
        "an altered file that was not digested": put("train.imported.json", ["a.py"], "altered"),
    },
    "numerics": {
        "another reference": put(
            "venv.json", 7.5, "probe", "numerics", "steps", 0, "reference_losses_nats", 0
        ),
        "a weight that no Gemma has": put(
            "venv.json", "layers.mixer", "probe", "numerics", "steps", 1, "gradient_worst"
        ),
        "a family of another house": put(
            "venv.json", "llama", "probe", "numerics", "steps", 2, "family"
        ),
    },
    "exchanges": {
        "a mesh of one device": lambda run: write_record(
            run.venv, venv_record(probe_record(mesh=mesh_record()))
        ),
        "two devices that were not tried": meshed(
            lambda run: write_record(run.venv, venv_record())
        ),
        "another mesh": of_mesh(4, "mesh", "fsdp"),
        "a process of another number": of_mesh(2, "processes", 1, "process"),
        "one device twice": of_mesh([f"0 {DEVICE}"], "processes", 1, "devices"),
        "a device that computed nothing": of_mesh([], "processes", 1, "wrong_products"),
        "another kind of device": of_mesh(["2048 gpu:x"], "processes", 1, "devices"),
        "another profile": of_mesh("0" * 64, "processes", 1, "profile_sha256"),
        "other code": of_mesh("0" * 64, "processes", 1, "code_sha256"),
        "other packages": of_mesh("0" * 64, "processes", 1, "packages_sha256"),
        "another Python": of_mesh("3.12.1", "processes", 1, "python_version"),
        "another driver": of_mesh("580.1", "processes", 1, "driver_version"),
        "a collective that was left out": of_mesh("all-gather", "exchanges", 0, "operation"),
        "more wrong values than values": of_mesh(10**9, "exchanges", 0, "wrong_values"),
        "few values of many": of_mesh(9, "exchanges", 1, "values"),
        "a time longer than the gate": of_mesh(9e9, "exchanges", 1, "duration_s"),
        "a second process that left nothing": meshed(lambda run: run.of_process(1).probe.unlink()),
        "a second process of other packages": meshed(put("processes/1/probe.json", [], "packages")),
    },
    "device": {
        "a device that is none of its own": put(
            "venv.json", "gpu", "probe", "devices", 0, "platform"
        ),
        "a host of other memory": put("venv.json", 10**12, "probe", "host_memory_bytes"),
        "an interpreter elsewhere": put("venv.json", "/usr/bin/python3", "probe", "executable"),
        "numbers without an import": put("venv.json", "no jax", "probe", "import_error"),
        "another Python": put("venv.json", "3.12.1", "probe", "python_version"),
        "numbers that took longer than their gate": put(
            "venv.json", 900.0, "probe", "numerics", "duration_s"
        ),
    },
    "snapshots": {
        "another system": put("venv.json", "7.7.7", "probe", "release"),
        "a driver": put("venv.json", "580.1", "probe", "driver_version"),
        "a package in the list alone": replaced("env_snapshot.txt", "jax==", "jaxx=="),
    },
    "planned model": {
        "a plan of one byte": put("plan.json", 1, "training", "step", "arguments_bytes"),
        "a head that costs nothing": put("plan.json", 0, "training", "step", "flops", 3, "flops"),
        "another batch": put("plan.json", 1, "training", "step", "rows"),
        "another mesh": put("plan.json", 4, "training", "step", "mesh", "fsdp"),
        "other traffic": put("plan.json", 5, "training", "step", "state_bytes_moved"),
        "an array of another size": put(
            "plan.json", 1, "training", "step", "buffers", 0, "size_bytes"
        ),
        "a model of no size": put("plan.json", 1, "training", "model_bytes"),
        "more logits than positions": put("plan.json", 10**6, "training", "step", "logits_rows"),
    },
    "planned run": {
        "a plan for another device": put("plan.json", "gpu:x", "training", "limits", "device"),
        "more memory than there is": put("plan.json", 10**15, "training", "limits", "memory_bytes"),
        "a disk that needs less": put("plan.json", 5, "run", "needed_bytes"),
        "another config.json": put("plan.json", "0" * 64, "config", "digest"),
        "other rows": put("plan.json", 9, "training", "rows_in_file"),
        "a cache elsewhere": put("plan.json", "/elsewhere", "cache", "folder"),
        "a reason beside a plan": put("plan.json", "no memory", "reason"),
    },
    "commands": {
        "another interpreter": put("train.process.json", "/usr/bin/python3", "command", 0),
        "another run's folder": put("eval.process.json", "/runs/other", "command", -1),
        "another job": put("train.process.json", "serve", "command", -2),
        "another base model": put("download.json", "/elsewhere/.base_model", "folder"),
        "no download": put("download.process.json", "look", "command", -2),
    },
    "variables": {
        "a library put before all others": for_both("LD_PRELOAD"),
        "code at the start of Python": for_both("PYTHONSTARTUP"),
        "a library in every program of the card": for_both("CUDA_INJECTION64_PATH"),
        "a flag of XLA for one of both": put("eval.process.json", ["--xla_x"], "xla_flags"),
        "a log of the kernel that nobody read": put("train.process.json", "", "kernel_log"),
        "other variables for the evaluation": put(
            "eval.process.json", ["HF_HUB_OFFLINE", "PYTHONPATH", "TZ"], "variables"
        ),
    },
    "heartbeats": {
        "another loss": put("train.heartbeat.json", 0.1, "loss_nats"),
        "another pace": put("train.heartbeat.json", 9e9, "tokens_per_s"),
        "fewer steps": put("train.heartbeat.json", 200, "done"),
        "another phase": put("eval.heartbeat.json", "train", "phase"),
    },
    "logs": {
        "every loss a tenth": all_steps(lambda step: {**step, "loss_nats": step["loss_nats"] / 10}),
        "a phase of another length": put("train.json", 4.0, "phases", 1, "duration_s"),
        "no line of the last step": replaced("training_log.txt", "train: 300 of", "train 300 of"),
        "another evaluation": put("eval.json", 2.5, "phases", 0, "duration_s"),
    },
    "memory": {
        "more memory than the machine": put("train.process.json", 10**15, "peak_bytes"),
        "a peak above its process": put("eval.json", 10**12, "peak_host_bytes"),
        "a beat above the peak": put("train.heartbeat.json", 10**12, "host_bytes"),
        "memory of a card that is not there": put("train.json", 10**9, "peak_device_bytes"),
    },
    "steps": {
        "a gradient below nothing": put("training_metrics.jsonl", -1.5, 7, "gradient_norm"),
        "more answers than tokens": put("training_metrics.jsonl", 9999, 7, "supervised_tokens"),
        "a step twice": put("training_metrics.jsonl", 7, 7, "step"),
        "one weight moved": put("train.json", 1, "parameters_moved"),
        "more weights moved than there are": put("train.json", 10**9, "parameters_moved"),
    },
    "mesh": {
        "weights on another mesh": put("train.json", 2, "mesh", "fsdp"),
        "one device of two": put("train.json", 2, "devices"),
        "answers of two devices": put("eval.json", 2, "devices"),
    },
    "processes": {
        "a process of another number": put("train.json", 1, "processes", 0, "process"),
        "steps that the first process did not take": put(
            "train.json", "0" * 64, "processes", 0, "steps_sha256"
        ),
        "a device of another kind": put("train.json", ["0 gpu:x"], "processes", 0, "devices"),
        "another profile": put("train.json", "0" * 64, "processes", 0, "profile_sha256"),
        "other code": put("train.json", "0" * 64, "processes", 0, "code_sha256"),
        "other rows": put("train.json", "0" * 64, "processes", 0, "train_rows_sha256"),
        "another base": put("train.json", "0" * 64, "processes", 0, "base_weights_sha256"),
        "another model": put("train.json", "0" * 64, "processes", 0, "reloaded_sha256"),
        "a step less": put("train.json", 299, "processes", 0, "optimizer_steps"),
        "more memory": put("train.json", 2 * 10**9, "processes", 0, "peak_host_bytes"),
    },
    "learning rate": {
        "a rate of nothing": all_steps(lambda step: {**step, "learning_rate": 0.0}),
        "a rate of its own in one step": put("training_metrics.jsonl", 0.25, 99, "learning_rate"),
    },
    "float32": {
        "a loss that no step returns": put("training_metrics.jsonl", 0.7123456789, 99, "loss_nats"),
        "a norm that no step returns": put(
            "training_metrics.jsonl", 1.123456789, 9, "gradient_norm"
        ),
    },
    "lengths": {
        "rows longer than the profile allows": all_steps(
            lambda step: {**step, "padded_tokens": 8 * 512}
        ),
        "a length that was not compiled": put("training_metrics.jsonl", 512, 9, "padded_tokens"),
        "a row longer than its batches": put("lint.json", 193, "longest_row_tokens"),
        "a prompt longer than the profile allows": put("lint.json", 999, "longest_prompt_tokens"),
    },
    "speed": {
        "faster than any device": all_steps(lambda step: {**step, "duration_s": 1e-8}),
    },
    "card": {
        "a card beside a training on the CPU": lambda run: write_series(run, series()),
    },
    "weights": {
        "a weight changed": another_weight,
        "a base of another digest": put("train.json", "0" * 64, "base_weights_sha256"),
        "another config.json": replaced("model/config.json", "{", "{ "),
        "parts left out of no base": put("train.json", 7, "left_out_parameters"),
        "a base beside its model": lambda run: _write(run.model / "base_config.json", "{}"),
        "another tokenizer": lambda run: _write(run.model / "tokenizer.json", "{}"),
    },
    "weight files": {
        "weights that are text": no_safetensors,
        "weights cut short": shorter_weights,
        "a tensor of another shape": other_shape,
        "another dtype": put("train.json", ["F16"], "weights_dtypes"),
        "another number of weights": put("train.json", 639_617, "parameters"),
    },
    "dimensions": {
        "2.5 billion parameters": put("train.json", 2_506_172_416, "parameters"),
        "another family": put("train.json", "Gemma2ForCausalLM", "architecture"),
        "a plan of another model": put("plan.json", 639_617, "training", "parameters"),
        "a plan of a multimodal base": put("plan.json", True, "training", "multimodal"),
        "files that are too small": put("download.json", 9, "files", -1, "size_bytes"),
    },
    "decoding": {
        "another limit": put("eval.json", 25, "decoding", "max_new_tokens"),
        "an output that goes on": put("predictions.jsonl", "a\nb", 3, "tuned_output"),
    },
    "stops": {
        "no tokens": put("eval.json", 0, "generated_tokens"),
        "more tokens than the limit": put("eval.json", 10**6, "generated_tokens"),
        "other stops than the model's": put("eval.json", [5], "decoding", "stop_ids"),
        "a stop beyond the vocabulary": put("eval.json", [9999], "decoding", "stop_text_ids"),
    },
    "rows": {
        "another expected answer": put("predictions.jsonl", "no idea", 99, "expected"),
        "a row that training had not seen": put(
            "predictions.jsonl", False, 0, "in_training_template"
        ),
    },
    "lint": {
        "fewer tokens": put("lint.json", 1, "real_tokens"),
        "no repeated rows": put("lint.json", 77, "duplicate_rows"),
    },
    "before and after": {
        "fewer files at the end": put("closing.json", 3, "tree_files"),
        "a change without a trace": put("closing.json", ["jax (changed)"], "changed_packages"),
        "paths that nobody watched": put("closing.json", ["m43"], "left_out"),
        "an M42 that changed unseen": put("closing.json", ["0  submission_runs/m42/a"], "m42"),
    },
}
"""By the name of the agreement: what is told, by whom it is named."""
