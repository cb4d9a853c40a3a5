"""Run one of the child's jobs: probe, plan, train or evaluate; or replay, for a verifier."""

import argparse
import ctypes
import faulthandler
import gc
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from m43 import typed_json
from m43.records import RunDir
from m43.training import child, probe
from m43.training.origins import origins

# Source: prctl(2), PR_SET_PDEATHSIG in <linux/prctl.h>.
_PR_SET_PDEATHSIG = 1
# The parent's process id, handed to the child: without it a parent that died before the child's
# first instruction could not be distinguished from the process that adopted the child.
PARENT_VARIABLE = "M43_PARENT_PID"


def die_with_parent(environment: Mapping[str, str]) -> None:
    """Have the kernel kill this process when its parent dies; exit if that has happened.

    The kernel means the parent's thread: whoever starts this process from a thread must keep
    that thread. Elsewhere than on Linux nothing is done; the venv gate refuses those systems.
    """
    if sys.platform != "linux":
        return
    # What a launcher started has its parent in the launcher, perhaps on another host.
    told = None if child.is_launched() else environment.get(PARENT_VARIABLE)
    parent = int(told or os.getppid())
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    # Asked after the call: a parent that ends from here on takes this process with it.
    if os.getppid() != parent:
        sys.exit(f"the parent process {parent} is gone; nobody would watch this run, so it ends")


def main(arguments: Sequence[str]) -> int:
    """Run the job that the arguments name and return the exit status.

    0: done. 3: stopped for a reason that the error record names. 1: anything else.
    """
    options = _parser().parse_args(arguments)
    _dump_stacks_on_signal()
    die_with_parent(os.environ)
    if options.job == "probe":
        # It compiles many small programs, and holds nothing that is large: what traces make stays,
        # and to look through it at every 700 objects takes a tenth of its processor time.
        gc.set_threshold(100_000, 50, 50)
    if options.job == "probe" and options.run is None:
        report = probe.probe()
        sys.stdout.write(typed_json.dump_line(origins()))
        # Last, where it is looked for.
        sys.stdout.write(typed_json.dump_line(report))
        return 0
    if options.job == "plan":
        # Here and not at the top: the probe must work where JAX cannot be imported.
        from m43.training.plan import child as plan_child

        return plan_child.answer(options.request, sys.stdout)
    if options.job == "replay":
        return child.replay(RunDir(options.run), options.rows, options.count)
    return child.run_job(options.job, RunDir(options.run))


def _dump_stacks_on_signal() -> None:
    """Make SIGUSR1 dump the stacks of all threads, also while one of them hangs in C code.

    The parent asks before it ends a child that stands still: where it stood is what a person
    needs to know then. Windows has no such signal, and the venv gate refuses it.
    """
    if hasattr(faulthandler, "register"):
        faulthandler.register(signal.SIGUSR1, all_threads=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m m43.training", description=__doc__)
    jobs = parser.add_subparsers(dest="job", required=True)
    probing = jobs.add_parser("probe", help="print what this environment is, as one line of JSON")
    # With a folder: what several devices are, as the profile in it says.
    probing.add_argument("run", type=Path, metavar="RUN_DIR", nargs="?")
    plan = jobs.add_parser("plan", help="print what a run will take, as lines of JSON")
    plan.add_argument("request", type=Path, metavar="REQUEST")
    train = jobs.add_parser("train", help="train as the profile in the run folder says")
    evaluate = jobs.add_parser("evaluate", help="decode and score the evaluation rows")
    replay = jobs.add_parser("replay", help="answer some rows again, and compare")
    for job in (train, evaluate, replay):
        job.add_argument("run", type=Path, metavar="RUN_DIR")
    replay.add_argument("rows", type=Path, metavar="ROWS")
    replay.add_argument("count", type=int, metavar="N")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
