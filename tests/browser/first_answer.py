"""What the first answer of the verifier's page takes: wall time, processor time, memory.

    python -m tests.browser.first_answer [--openings N] [--weights BYTES] [RUN_DIR]

Each opening starts at an empty page and ends with the verdict. The wall time says something on an
idle machine only; the load is printed beside it.
"""

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from tests.browser.chromium import chromium_path
from tests.browser.verifier_page import opened, served
from tools.verifier.__main__ import REPOSITORY, build, fetch

EXAMPLE = REPOSITORY / "submission_runs" / "example_rehearsal"


@dataclass(frozen=True, kw_only=True)
class Taken:
    """What one opening of the page took, to the verdict; the memory is the most that it ever had.

    The processor time is that of all processes of the browser, on all processors together.
    """

    wall_s: float
    processor_s: float
    peak_kb: int


def first_answer(browser: Browser, address: str, run: Path) -> Taken:
    """Open the page, have it verify a folder, and say what that took."""
    others = peaks_kb().keys()
    started, processor_s = time.monotonic(), _processor_s()
    with opened(browser, address) as seen:
        seen.page.set_input_files("#files", run)
        seen.page.wait_for_selector("#answer:not([hidden])", timeout=3_600_000)
        taken_s = time.monotonic() - started
        processor_s = _processor_s() - processor_s
        peak_kb = max(most for status, most in peaks_kb().items() if status not in others)
    return Taken(wall_s=taken_s, processor_s=processor_s, peak_kb=peak_kb)


def peaks_kb() -> dict[Path, int]:
    """List Chromium's renderers with the most memory that each ever had, in kB.

    Source: Linux, proc(5): VmHWM.
    """
    found = {}
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            if b"--type=renderer" in status.with_name("cmdline").read_bytes():
                text = status.read_text()
                found[status] = int(text.partition("VmHWM:")[2].split()[0])
        except (OSError, IndexError):
            continue
    return found


def _processor_s() -> float:
    """Sum the processor time of all that this process started, ended or not.

    Source: Linux, proc(5): utime, stime, cutime, cstime of /proc/PID/stat.
    """
    children, spent = defaultdict(list), {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            values = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        pid = int(stat.parent.name)
        children[int(values[1])].append(pid)
        spent[pid] = sum(map(int, values[11:15]))
    waiting, total = list(children[os.getpid()]), 0
    while waiting:
        pid = waiting.pop()
        total += spent[pid]
        waiting += children[pid]
    return total / os.sysconf("SC_CLK_TCK")


def main() -> int:
    """Build the page, open it so many times, and print what each took."""
    parser = argparse.ArgumentParser(prog="python -m tests.browser.first_answer")
    parser.add_argument("run", type=Path, nargs="?", default=EXAMPLE, metavar="RUN_DIR")
    parser.add_argument("--openings", type=int, default=3, metavar="N")
    parser.add_argument("--weights", type=int, default=0, metavar="BYTES", help="sparse, put in")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        site, run = Path(folder) / "verifier", options.run
        build(site, fetch(REPOSITORY / ".verifier-cache"))
        if options.weights:
            run = Path(shutil.copytree(run, Path(folder) / run.name))
            weights = run / "model" / "model.safetensors"
            weights.touch()
            os.truncate(weights, options.weights)
        chromium = playwright.chromium.launch(
            executable_path=chromium_path(), args=["--no-sandbox"]
        )
        with served(site) as address:
            for _ in range(options.openings):
                load = os.getloadavg()[0]
                taken = first_answer(chromium, address, run)
                sys.stdout.write(
                    f"{taken.wall_s:.1f} s, {taken.processor_s:.1f} s of processors, "
                    f"{taken.peak_kb / 1000:,.0f} MB at most, load before {load:.1f}\n"
                )
                sys.stdout.flush()
        chromium.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
