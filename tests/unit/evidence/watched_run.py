"""A whole run on a card, watched: Gemma 2B's shapes, 300 steps of half a second at 480 W."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from m43 import typed_json
from m43.evidence.run.loaded_run import LoadedRun, load_run
from m43.records.card_record import CardProcess, CardReading, CardSample
from m43.records.plan_record import PlanRecord
from m43.records.profile import Profile
from m43.records.run_dir import RunDir, read_record, write_record
from m43.records.run_records import ProcessRecord, TrainRecord
from tests.unit.evidence.good_records import STEPS, step_metrics
from tests.unit.evidence.good_run import write_good_run, write_steps
from tests.unit.evidence.on_a_card import CARD, DRIVER, card_memory

PARAMETERS = 2_506_172_416
STEP_S, STEPS_BEGIN_S, STEPS_END_S, PROCESS_S = 0.5, 40.0, 190.0, 200.0
TOKENS = 4096
IDLE_W, WORK_W = 30, 480
PEAK_BYTES = 20 * 2**30
PIDS = {"train": 4242, "eval": 4343}
DESKTOP = CardProcess(pid=901, memory_bytes=900 * 2**20)
CONFIG = {
    "model_type": "gemma",
    "vocab_size": 256_000,
    "num_hidden_layers": 18,
    "hidden_size": 2048,
    "intermediate_size": 16_384,
    "num_attention_heads": 8,
    "num_key_value_heads": 1,
    "head_dim": 256,
}


def card_sample(**changes: object) -> CardSample:
    """Give a look at the promised card, which does nothing."""
    values: dict[str, object] = {
        "chosen_by": "the only card",
        "under": "",
        "name": CARD,
        "uuid": "GPU-5c4a1d2e-0000-4000-8000-000000000001",
        "driver_version": DRIVER,
        "compute_mode": "default",
        "power_mw": IDLE_W * 1000,
        "power_limit_mw": 575_000,
        "energy_mj": 7_000_000_000,
        "utilisation_percent": 0,
        "memory_total_bytes": 34_190_917_632,
        "memory_used_bytes": 2**30,
        "memory_free_bytes": 34_190_917_632 - 2**30,
        "processes": (DESKTOP,),
        "sm_clock_mhz": 210,
        "sm_clock_max_mhz": 3090,
        "memory_clock_mhz": 405,
        "temperature_c": 35,
        "throttle_reasons": ("idle",),
        "ecc_corrected": 0,
        "ecc_uncorrected": 0,
        "not_told": {},
    }
    return CardSample(**{**values, **changes})


def phase_at(child: str, elapsed_s: float) -> str:
    """Say in which phase a child is after so long."""
    if child == "eval":
        return "import" if elapsed_s < 8 else "decode tuned model"
    phases = ((3.0, ""), (8.0, "import"), (20.0, "read weights"), (STEPS_BEGIN_S, "compile"))
    named = (name for end, name in (*phases, (STEPS_END_S, "train")) if elapsed_s < end)
    return next(named, "save")


def readings(
    child: Literal["train", "eval"] = "train", lasting_s: int = 200, energy_mj: int = 7_000_000_000
) -> Iterator[CardReading]:
    """Look once a second at a card that trains, or decodes."""
    for second in range(lasting_s):
        phase = phase_at(child, second)
        works, loaded = phase in ("train", "decode tuned model"), phase not in ("", "import")
        watts = WORK_W if works else IDLE_W
        used = 2**30 + (PEAK_BYTES + 2**30 if loaded else 0)
        own = CardProcess(pid=PIDS[child], memory_bytes=PEAK_BYTES + 2**30)
        sample = card_sample(
            power_mw=watts * 1000,
            energy_mj=energy_mj,
            utilisation_percent=97 if works else 0,
            memory_used_bytes=used,
            memory_free_bytes=34_190_917_632 - used,
            processes=(DESKTOP, own) if loaded else (DESKTOP,),
            sm_clock_mhz=2580 if works else 210,
            temperature_c=71 if works else 35,
            throttle_reasons=("power cap",) if works and second % 10 == 0 else (),
        )
        yield CardReading(
            child=child,
            pid=PIDS[child],
            elapsed_s=float(second),
            phase=phase,
            steps=round(max(0.0, min(STEPS, (second - STEPS_BEGIN_S) / STEP_S))),
            card=sample,
            gap="",
        )
        energy_mj += watts * 1000


def series() -> tuple[CardReading, ...]:
    """Give the looks beside training, then those beside evaluation, with one counter."""
    first = tuple(readings())
    last = first[-1].card
    assert last is not None
    assert last.energy_mj is not None
    return (*first, *readings("eval", 30, last.energy_mj))


def write_series(run: RunDir, lines: Sequence[CardReading]) -> None:
    """Write the looks."""
    run.gpu_metrics.write_text("".join(typed_json.dump_line(line) for line in lines))


def write_watched_run(folder: Path) -> RunDir:
    """Write the run folder; its seals are those of the run on a CPU that it is made from."""
    run = write_good_run(folder)
    profile = run.read_profile()
    contract = replace(profile.contract, platform="gpu", device_kind=CARD)
    write_record(run.profile, replace(profile, contract=contract))
    (run.model / "config.json").write_text(json.dumps(CONFIG))
    tokens = {"padded_tokens": TOKENS, "real_tokens": 4000, "supervised_tokens": 600}
    steps = (replace(step_metrics(n), duration_s=STEP_S, **tokens) for n in range(1, STEPS + 1))
    write_steps(run, tuple(steps))
    changes = {"parameters": PARAMETERS, "trained_parameters": PARAMETERS}
    train = replace(
        read_record(run.train, TrainRecord),
        device=f"gpu:{CARD}",
        peak_device_bytes=PEAK_BYTES,
        **changes,
    )
    write_record(run.train, train)
    for child, lasted_s in (("train", PROCESS_S), ("eval", 30.0)):
        path = run.process(child)
        write_record(path, replace(read_record(path, ProcessRecord), duration_s=lasted_s))
    plan = replace(read_record(run.plan, PlanRecord), card_memory=card_memory())
    write_record(run.plan, plan)
    write_series(run, series())
    assert isinstance(run.read_profile(), Profile)
    return run


def watched(folder: Path) -> LoadedRun:
    """Load such a run."""
    return load_run(write_watched_run(folder))
