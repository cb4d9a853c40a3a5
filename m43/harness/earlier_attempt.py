"""The earlier attempt: what is said of a run that stands where a new one was asked for."""

from m43.harness.next_command import free_name, run_command, verify_command
from m43.harness.opening import Plan, shown
from m43.run_dir import RunDir


def earlier_attempt(plan: Plan, state: str) -> str:
    """Say why the run cannot have this name, and what can be done instead.

    Args:
        plan: The run that was asked for.
        state: What is so of the earlier one, as " that is still going on"; may be empty.
    """
    repository, run = plan.repository, RunDir(plan.folder)
    document = run.summary if run.summary.exists() else run.failure_analysis
    name = free_name(plan.folder)
    again = run_command(plan.profile, plan.profile_path, repository, name)
    lines = (
        f"{shown(plan.folder, repository)}: found an earlier attempt{state}, expected none: "
        "one attempt per run folder",
        f"    read it      {shown(document, repository)}",
        f"    check it     {verify_command(plan.folder, repository)}",
        f"    a new run    {again}",
    )
    return "\n".join(lines)
