"""Run one of the child's four jobs: probe, plan, train or evaluate."""

import argparse
import faulthandler
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from m43 import typed_json
from m43.run_dir import RunDir
from m43.training import child, lifeline, probe


def main(arguments: Sequence[str]) -> int:
    """Do what the arguments say and return the exit status.

    0: done. 3: stopped for a reason that the error record names. 1: anything else.
    """
    options = _parser().parse_args(arguments)
    _tell_stacks_when_asked()
    lifeline.tie_to_parent(os.environ)
    if options.job == "probe":
        sys.stdout.write(typed_json.dump_line(probe.probe()))
        return 0
    if options.job == "plan":
        # Here and not at the top: the probe must work where JAX cannot be imported.
        from m43.training import plan_child

        return plan_child.answer(options.request, sys.stdout)
    return child.run_job(options.job, RunDir(options.run))


def _tell_stacks_when_asked() -> None:
    """Have SIGUSR1 print the stacks of all threads, also while one of them hangs in C code.

    The parent asks before it ends a child that stands still: where it stood is what a person
    needs to know then. Windows has no such signal, and the venv gate refuses it.
    """
    if hasattr(faulthandler, "register"):
        faulthandler.register(signal.SIGUSR1, all_threads=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m m43.training", description=__doc__)
    jobs = parser.add_subparsers(dest="job", required=True)
    jobs.add_parser("probe", help="print what this environment is, as one line of JSON")
    plan = jobs.add_parser("plan", help="print what a run will take, as lines of JSON")
    plan.add_argument("request", type=Path, metavar="REQUEST")
    train = jobs.add_parser("train", help="train as the profile in the run folder says")
    evaluate = jobs.add_parser("evaluate", help="decode and score the evaluation rows")
    for job in (train, evaluate):
        job.add_argument("run", type=Path, metavar="RUN_DIR")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
