"""What a step of a large Gemma would take on many devices, compiled for them without one of them.

    python -m tools.scale --model gemma-2-9b --target v5e --devices 1 2 4 8 16 32 64 128 256

Prints a table in Markdown: weak scaling, so as many rows for each device. Needs XLA's compiler for
the target: the extra cuda13, or for a TPU libtpu. What devices send, a TPU's program does not tell:
with --bytes-of it is that of the same mesh of other devices.
"""

import argparse
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from m43.harness.commands.plan import arranged, child_that_plans, described
from m43.harness.gates import ask
from m43.records import PlanRequest, Profile, TrainingPlan, profile_check

REPOSITORY = Path(__file__).parents[1]
PROFILE = REPOSITORY / "acceptance" / "production.toml"
GIB = 2**30
HEAD = (
    "devices", "rows", "GiB at the peak", "GiB sent", "s, FLOPs", "s, memory", "s, exchange",
    "s, roofline", "of one device's rate",
)  # fmt: skip


def scaled(profile: Profile, devices: int, tensor: int, rows: int) -> Profile:
    """Return the profile over so many devices, with so many rows of a batch for each."""
    wider = replace(profile, training=replace(profile.training, batch_rows=rows * devices))
    return arranged(wider, f"fsdp={devices // tensor},tensor={tensor}") if devices > 1 else wider


def row(plan: TrainingPlan, alone_s: float) -> tuple[str, ...]:
    """Write a plan as a line of the table; its seconds are bounds, which no run goes below.

    Args:
        plan: of as many rows for each device as the first.
        alone_s: the first's time.
    """
    step = plan.step
    times = (plan.flops_s(step.total_flops), plan.bytes_s(), plan.exchange_s, plan.roofline_s)
    sizes = (plan.peak_bytes / GIB, step.sent_bytes / GIB)
    return (
        str(step.devices),
        str(step.rows),
        *(f"{size:.2f}" for size in sizes),
        *(f"{seconds:.3f}" for seconds in times),
        f"{alone_s / plan.roofline_s:.0%}",
    )


def plans(options: argparse.Namespace) -> Iterator[TrainingPlan]:
    """Plan for each number of devices."""
    profile, who = profile_check.load(PROFILE), child_that_plans(REPOSITORY, with_card=True)
    if options.optimizer:
        profile = replace(profile, training=replace(profile.training, optimizer=options.optimizer))
    folder = described(options.model).resolve()
    for devices in options.devices:
        wider = scaled(profile, devices, options.tensor, options.rows)
        answers = {
            target: ask(who, PlanRequest(profile=wider, config_folder=folder, target=target))
            for target in {options.target, options.bytes_of or options.target}
        }
        found, other = answers[options.target], answers[options.bytes_of or options.target]
        if found.training is None or other.training is None:
            raise SystemExit(found.reason or other.reason)
        step = replace(found.training.step, collectives=other.training.step.collectives)
        rate = options.link_gb_per_s * 1e9 or found.training.limits.link_bytes_per_s
        limits = replace(found.training.limits, link_bytes_per_s=rate)
        yield replace(found.training, step=step, limits=limits)


def main() -> None:
    """Print the table, each line as soon as it is known."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="a name or a folder, as of plan")
    parser.add_argument("--target", required=True, help="as of plan")
    parser.add_argument("--devices", type=int, nargs="+", required=True)
    parser.add_argument("--tensor", type=int, default=1, help="how many of them along tensor")
    parser.add_argument("--rows", type=int, default=8, help="of a batch, for each device")
    parser.add_argument("--bytes-of", default="", help="another target, for what devices send")
    parser.add_argument("--link-gb-per-s", type=float, default=0, help="another than the target's")
    parser.add_argument("--optimizer", default="", help="another than the profile's")
    options = parser.parse_args()
    alone_s = 0.0
    for line in (HEAD, ("---",) * len(HEAD)):
        sys.stdout.write(f"| {' | '.join(line)} |\n")
    for plan in plans(options):
        alone_s = alone_s or plan.roofline_s
        sys.stdout.write(f"| {' | '.join(row(plan, alone_s))} |\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
