"""The plan of a good run: what the venv gate writes down when everything fits."""

from m43.errors import FailureClass
from m43.records.plan_record import (
    EVIDENCE_BYTES,
    Alternative,
    Buffer,
    Disk,
    Limits,
    PartFlops,
    PlanRecord,
    StepPlan,
    TrainingPlan,
)
from m43.records.profile import Profile
from tests.unit.evidence.good_records import (
    DEVICE,
    FETCHED_BYTES,
    FILES,
    PROMISED,
    STEPS,
    pinned_files,
)


def limits(**changes: object) -> Limits:
    """Give a device with 16 GB that multiplies and reads at round numbers."""
    values: dict[str, object] = {
        "device": DEVICE,
        "memory_bytes": 16 * 10**9,
        "flops_per_s": 1e11,
        "bytes_per_s": 1e10,
        "sustained_share": 0.5,
        "source": "measured when the plan was made",
    }
    return Limits(**{**values, **changes})


def step_plan(**changes: object) -> StepPlan:
    """Give a step of 8 x 192 positions."""
    values: dict[str, object] = {
        "rows": 8,
        "length": 192,
        "arguments_bytes": 12_000_000,
        "outputs_bytes": 12_000_100,
        "aliased_bytes": 12_000_000,
        "temporaries_bytes": 100_000_000,
        "float32_products": 0,
        "bfloat16_products": 33,
        "logits_rows": 128,
        "flops": (
            # 6 for each weight of the toy and position.
            PartFlops(part="attention projections", flops=1536 * 6 * 81_920),
            PartFlops(part="attention", flops=1536 * 296_448),
            PartFlops(part="feed-forward", flops=1536 * 6 * 393_216),
            PartFlops(part="head", flops=1536 * 6 * 163_840),
        ),
        "state_bytes_moved": 2 * 4 * PROMISED.parameters + 2 * 12_000_000,
        "buffers": (Buffer(name="float32[1280,128] state.params.embedding", size_bytes=655_360),),
        "compiling_bytes": 60_000_000,
    }
    return StepPlan(**{**values, **changes})


def training_plan(**changes: object) -> TrainingPlan:
    """Give a training that fits many times over."""
    values: dict[str, object] = {
        "limits": limits(),
        "architecture": PROMISED.architecture,
        "parameters": PROMISED.parameters,
        "trained_parameters": PROMISED.parameters,
        "step": step_plan(),
        "process_bytes": 800_000_000,
        "read_back_bytes": 2 * PROMISED.parameters,
        "model_bytes": 2 * PROMISED.parameters,
        "adapter_bytes": 0,
        "steps": STEPS,
        "rows_in_file": 2400,
        "rows_used": 2400,
        "alternatives": (),
        "weights_bytes": 4 * PROMISED.parameters,
        "reading_bytes": 655_360,
    }
    return TrainingPlan(**{**values, **changes})


def plan_record(**changes: object) -> PlanRecord:
    """Give the plan of a good run."""
    values: dict[str, object] = {
        "reason": "",
        "failure_class": None,
        "training": training_plan(),
        "config": FILES[0],
        "config_bytes_moved": FILES[0].size_bytes,
        "download_bytes": FETCHED_BYTES,
        "cache": Disk(folder="/cache", needed_bytes=FETCHED_BYTES, free_bytes=50 * 10**9),
        "run": Disk(
            folder="/runs",
            needed_bytes=EVIDENCE_BYTES + 2 * PROMISED.parameters,
            free_bytes=50 * 10**9,
        ),
        "duration_s": 4.5,
        "config_values": PROMISED.config,
    }
    return PlanRecord(**{**values, **changes})


def unplanned(profile: Profile) -> PlanRecord:
    """Return the plan of an environment that cannot compute: only the disks were looked at."""
    wanted = sum(file.size_bytes for file in pinned_files(profile))
    return plan_record(
        reason="the environment could not compute (venv.json)",
        failure_class=FailureClass.BROKEN_VENV,
        training=None,
        config=None,
        config_bytes_moved=0,
        config_values={},
        download_bytes=wanted,
        cache=Disk(folder="/cache", needed_bytes=wanted, free_bytes=50 * 10**9),
        run=Disk(folder="/runs", needed_bytes=EVIDENCE_BYTES, free_bytes=50 * 10**9),
        duration_s=0.0,
    )


def plan_that_does_not_fit() -> PlanRecord:
    """Give a plan of 20 GB on 16, with two ways out of it."""
    ways = (
        Alternative(settings=("training.remat = true",), peak_bytes=9 * 10**9),
        Alternative(
            settings=("training.remat = true", "training.accumulate = 8"), peak_bytes=8 * 10**9
        ),
    )
    step = step_plan(temporaries_bytes=20 * 10**9)
    return plan_record(training=training_plan(step=step, alternatives=ways))
