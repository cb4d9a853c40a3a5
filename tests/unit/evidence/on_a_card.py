"""A production run's environment: the locked profile, the promised card, a plan that fits it."""

import tomllib
from dataclasses import replace

from m43 import typed_json
from m43.evidence.run import load_run
from m43.evidence.verify.agreements.training import learning_rate
from m43.records.plan_record import (
    EVIDENCE_BYTES,
    Alternative,
    CardMemory,
    Disk,
    PlanRecord,
    TrainingPlan,
)
from m43.records.profile import Profile
from m43.records.run_dir import RunDir, read_record, write_record
from m43.records.run_records import ProcessRecord
from m43.records.venv_record import Device, Package, ProbeRecord, VenvRecord
from tests.unit.evidence.good_plan import limits, plan_record, step_plan, training_plan, unplanned
from tests.unit.evidence.good_records import (
    INSTALLED,
    REPOSITORY,
    float32,
    pinned_files,
    probe_record,
    venv_record,
)
from tests.unit.evidence.left_behind import Write, cannot_compute, environment

VENV = "/srv/m43/.venv-gpu"
CARD = "NVIDIA GeForce RTX 5090"
DRIVER = "580.95.05"
NO_CUDA = (
    "RuntimeError: Unable to initialize backend 'cuda': INTERNAL: no supported devices found for "
    "platform CUDA (set JAX_PLATFORMS='' to automatically choose an available backend)"
)
_GIB = 2**30
# Of production.toml: full, float32 masters, Adafactor, remat takes 19.8 GiB at its peak.
_ARGUMENTS, _TEMPORARIES = 94 * _GIB // 10, 104 * _GIB // 10


def production() -> Profile:
    """Return the locked decisions, with the environment at a place of this example."""
    text = (REPOSITORY / "acceptance" / "production.toml").read_text()
    data = tomllib.loads(text.replace("../.venv-gpu", VENV))
    profile, problems = typed_json.read_table(Profile, data, "production.toml")
    assert profile is not None, problems
    return profile


def card(
    probe: ProbeRecord | None = None, plan: TrainingPlan | None = None, **changes: object
) -> Write:
    """Leave the records of the venv gate: what the probe saw, and the plan if there can be one."""

    def write(run: RunDir) -> None:
        record = planned(run.read_profile(), plan or card_plan())
        environment(run, replace(card_venv(probe or card_probe()), **changes), record)

    return write


def card_probe(**changes: object) -> ProbeRecord:
    """Return what the probe prints beside the promised card."""
    return probe_record(**{**_seen(), **changes})


def cardless_probe(driver: str, error: str = NO_CUDA) -> ProbeRecord:
    """Return what the probe prints where JAX is told to take the card and cannot."""
    computed = ("devices", "default_device")
    seen = {name: value for name, value in _seen().items() if name not in computed}
    return cannot_compute(error, **{**seen, "driver_version": driver})


def _seen() -> dict[str, object]:
    versions = {**INSTALLED, "jax-cuda13-plugin": INSTALLED["jax"]}
    return {
        "executable": f"{VENV}/bin/python",
        "prefix": VENV,
        "packages": tuple(Package(name=name, version=text) for name, text in versions.items()),
        "site_packages": (f"{VENV}/lib/python3.11/site-packages",),
        "devices": (Device(platform="gpu", kind=CARD, memory_bytes=319 * _GIB // 10),),
        "default_device": f"gpu:{CARD}",
        "driver_version": DRIVER,
        "host_memory_bytes": 64 * 10**9,
        "disk_free_bytes": 500 * 10**9,
    }


def card_venv(probe: ProbeRecord) -> VenvRecord:
    """Return the record of the environment that the locked profile names."""
    return venv_record(probe, path=VENV, interpreter=f"{VENV}/bin/python")


def card_plan(free_gib: float = 28.7, **changes: object) -> TrainingPlan:
    """Return the plan of Gemma 2B on the card, of which so much is free."""
    contract = production().contract
    step = step_plan(
        length=512,
        arguments_bytes=_ARGUMENTS,
        outputs_bytes=_ARGUMENTS,
        aliased_bytes=_ARGUMENTS,
        temporaries_bytes=_TEMPORARIES,
    )
    values: dict[str, object] = {
        "limits": limits(
            device=f"gpu:{CARD}",
            memory_bytes=round(free_gib * _GIB),
            flops_per_s=209.5e12,
            bytes_per_s=1.79e12,
        ),
        "architecture": contract.architecture,
        "parameters": contract.parameters,
        "trained_parameters": contract.parameters,
        "step": step,
        "process_bytes": 0,
        "read_back_bytes": 5_012_367_360,
        "model_bytes": 5_012_367_360,
        "weights_bytes": 5_012_367_360,
        "reading_bytes": 0,
    }
    return training_plan(**{**values, **changes})


def planned(profile: Profile, training: TrainingPlan) -> PlanRecord:
    """Return the record of a plan: what has to come, and where it goes."""
    config, *others = pinned_files(profile)
    wanted = sum(file.size_bytes for file in others)
    saved = training.model_bytes + EVIDENCE_BYTES
    return plan_record(
        training=training,
        config=config,
        config_bytes_moved=config.size_bytes,
        config_values=profile.contract.config,
        download_bytes=wanted,
        cache=Disk(folder="/cache", needed_bytes=wanted, free_bytes=500 * 10**9),
        run=Disk(folder="/runs", needed_bytes=saved, free_bytes=500 * 10**9),
        card_memory=card_memory(),
    )


def card_memory(**changes: object) -> CardMemory:
    """Return what the driver told of the card when a child was started."""
    values: dict[str, object] = {
        "share": 0.9053,
        "total_bytes": 34_190_917_632,
        "free_bytes": 34_190_917_632 - _GIB,
        "not_told": "",
        "compute_mode": "default",
        "name": CARD,
    }
    return CardMemory(**{**values, **changes})


def taken_card(run: RunDir) -> None:
    """Leave the plan of a card on which another program holds half of the memory."""
    way = Alternative(settings=("training.accumulate = 8",), peak_bytes=132 * _GIB // 10)
    card(plan=card_plan(15.6, alternatives=(way,)))(run)


def unknown_card(run: RunDir) -> None:
    """Leave an environment that says it computes on the card, of which no driver knows."""
    card()(run)
    reason = "NVML Shared Library Not Found"
    memory = card_memory(name="", not_told=reason, share=0.9, total_bytes=0, free_bytes=0)
    record = read_record(run.plan, PlanRecord)
    write_record(run.plan, replace(record, card_memory=replace(memory, compute_mode="not told")))


def busy_card(mode: str) -> Write:
    """Leave an environment that cannot compute: CUDA refuses the card, which is in such a mode."""
    words = (
        "RuntimeError: Unable to initialize backend 'cuda': INTERNAL: failed call to "
        "cuDevicePrimaryCtxRetain: CUDA_ERROR_DEVICE_UNAVAILABLE: CUDA-capable device(s) is/are "
        "busy or unavailable"
    )

    def write(run: RunDir) -> None:
        card(cardless_probe(DRIVER, words))(run)
        memory = card_memory(compute_mode=mode)
        write_record(run.plan, replace(unplanned(run.read_profile()), card_memory=memory))

    return write


def old_package(run: RunDir) -> None:
    """Leave an environment with an optax that is older than training needs."""
    probe, old = card_probe(), "0.2.4"
    packages = tuple(
        replace(each, version=old) if each.name == "optax" else each for each in probe.packages
    )
    card(replace(probe, packages=packages))(run)
    record = card_venv(replace(probe, packages=packages))
    # In the order of a reader who looks for what is wrong: it stands last.
    met = [each for each in record.requirements if not each.requirement.startswith("optax")]
    unmet = replace(
        next(each for each in record.requirements if each not in met),
        installed=old,
        satisfied=False,
        tested="0.2",
    )
    write_record(run.venv, replace(record, requirements=(*met, unmet)))


def beside_it(write: Write) -> Write:
    """Have what a training leaves be that of the locked profile, watched, on the card's Python."""
    # Here, because a watched run is made from a good one, and that with the help of this file.
    from tests.unit.evidence.watched_run import STEP_S, STEPS_BEGIN_S, readings, write_series

    def written(run: RunDir) -> None:
        write(run)
        profile = run.read_profile()
        process = read_record(run.process("train"), ProcessRecord)
        command = (f"{VENV}/bin/python", *process.command[1:-1], f"/runs/{run.path.name}")
        write_record(run.process("train"), replace(process, command=command))
        steps = [
            replace(step, learning_rate=float32(learning_rate(profile, step.step)))
            for step in load_run(run).metrics
        ]
        if steps:
            run.metrics.write_text("".join(map(typed_json.dump_line, steps)))
        # A training without a step was still reading its weights.
        watched_s = 1 + int(STEPS_BEGIN_S + STEP_S * len(steps)) if steps else 10
        write_series(run, tuple(readings(lasting_s=watched_s)))

    return written
