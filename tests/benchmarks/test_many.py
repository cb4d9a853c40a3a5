"""One model over two processes on this machine: the same losses, and what sharing it costs.

Gemma 3 270M of the folder that M43_GEMMA_270M names, trained by one process on all cores, and by
two processes of one device and one core each (mesh fsdp 2) that exchange over the loopback by gloo;
in turns, and of each step the fastest run counts. No unit test: `make bench-many`.
"""

import os
import socket
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.benchmarks.bars import Line, later_s, peak_bytes
from tests.benchmarks.children import Contender, run, run_together
from tests.benchmarks.machine import machine
from tests.benchmarks.measured import Joint, Steps
from tests.benchmarks.table import render
from tests.benchmarks.work import STEPS

MODEL = os.environ.get("M43_GEMMA_270M", "")
GIB = 2**30
PROCESSES = 2
MOST_TIMES = 1.25
"""The bar for the time per step, which is told rather than asserted."""

pytestmark = pytest.mark.timeout(3600)


@dataclass(frozen=True, kw_only=True)
class Trial:
    """The same steps by one process and by two, each as often as it was run."""

    alone: tuple[Joint, ...]
    shared: tuple[tuple[Joint, ...], ...]

    @property
    def one(self) -> tuple[Steps, ...]:
        """What was measured alone."""
        return tuple(joint.steps for joint in self.alone)

    @property
    def two(self) -> tuple[Steps, ...]:
        """What each process of each run of two measured."""
        return tuple(joint.steps for both in self.shared for joint in both)

    @property
    def apart(self) -> tuple[float, ...]:
        """How far the loss of each step is from that of one process, relative to it."""
        pairs = zip(self.one[0].losses_nats, self.two[0].losses_nats, strict=True)
        return tuple(abs(two / one - 1.0) for one, two in pairs)


def places() -> tuple[dict[str, str], ...]:
    """Tell each process which one it is, as the operators of Kubernetes do."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{found.getsockname()[1]}"
    return tuple(
        {
            "JAX_COORDINATOR_ADDRESS": address,
            "JAX_NUM_PROCESSES": str(PROCESSES),
            "JAX_PROCESS_ID": str(number),
        }
        for number in range(PROCESSES)
    )


def in_turns(compute: str, compiled: Path, rounds: int) -> Trial:
    """Run both; what is run twice is not run twice in a row, and its programs are kept."""
    assert MODEL, "set M43_GEMMA_270M to a folder of Gemma 3 270M"

    def contender(processes: int) -> Contender:
        given = (MODEL, str(compiled), str(processes), compute)
        return Contender(script="m43_many", arguments=given)

    found = [
        (run(contender(1), Joint), run_together(contender(PROCESSES), Joint, places()))
        for _ in range(rounds)
    ]
    return Trial(alone=tuple(one for one, _ in found), shared=tuple(both for _, both in found))


@pytest.fixture(scope="module")
def compiled() -> Iterator[Path]:
    """A folder for programs, gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="m43-many-") as name:
        yield Path(name)


@pytest.fixture(scope="module")
def usual(compiled: Path) -> Trial:
    """As a run computes: products of bfloat16."""
    found = in_turns("bfloat16", compiled, 2)
    tell("products of bfloat16", found)
    return found


@pytest.fixture(scope="module")
def exact(compiled: Path) -> Trial:
    """With products of float32."""
    found = in_turns("float32", compiled, 1)
    tell("products of float32", found)
    return found


def tell(what: str, trial: Trial) -> None:
    """Print every step."""
    lines = [f"\n{what}: step, tokens a row, supervised, nats of one and of two, apart, s of each"]
    fastest = [
        [min(times) for times in zip(*(steps.step_s for steps in runs), strict=True)]
        for runs in (trial.one, slower(trial))
    ]
    for number, apart in enumerate(trial.apart):
        one, two = (steps.losses_nats[number] for steps in (trial.one[0], trial.two[0]))
        lines.append(
            f"{number + 1:3} {trial.alone[0].lengths[number]:4} "
            f"{trial.one[0].supervised_tokens[number]:4} {one:.7f} {two:.7f} {apart:.1e} "
            f"{fastest[0][number]:.2f} {fastest[1][number]:.2f}"
        )
    sys.stdout.write("\n".join(lines) + "\n")


def slower(trial: Trial) -> tuple[Steps, ...]:
    """Of each run of two return the process that took longer."""
    return tuple(
        max((joint.steps for joint in both), key=lambda steps: sum(steps.step_s))
        for both in trial.shared
    )


def test_both_processes_and_every_run_compute_the_same(usual: Trial) -> None:
    """Bit for bit the same losses: of one process and the other, of one run and the next."""
    assert len({steps.losses_nats for steps in usual.two}) == 1
    assert len({steps.losses_nats for steps in usual.one}) == 1


def test_losses_are_those_of_one_process(usual: Trial) -> None:
    """Products of bfloat16 are rounded by what they are summed with, and AdamW divides by it."""
    require_same_counts(usual)
    assert usual.apart[0] < 1e-5
    assert max(usual.apart) < 2e-2


def test_losses_in_float32_are_those_of_one_process(exact: Trial) -> None:
    """The first to float32's own precision; later ones as far as AdamW's division lets them."""
    require_same_counts(exact)
    assert exact.apart[0] < 1e-6
    assert max(exact.apart) < 1e-5


def require_same_counts(trial: Trial) -> None:
    """Require exactly the tokens that one process counts, in each step."""
    counts = {steps.supervised_tokens for steps in (*trial.one, *trial.two)}
    assert len(counts) == 1
    assert len(counts.pop()) == STEPS


def test_each_process_holds_little_more_than_its_half(usual: Trial) -> None:
    """Of weights, gradients and moments; Python, JAX and the compiler each has for itself."""
    assert max(steps.peak_bytes for steps in usual.two) < 0.75 * peak_bytes(usual.one)


def test_the_time_of_a_step_is_told(usual: Trial) -> None:
    """With what the exchange of as many bytes takes alone; the bar is told, not asserted."""
    lines = [time_line(usual), processor_line(usual), *exchange_lines(usual), memory_line(usual)]
    sys.stdout.write(f"\n{machine().sentence}\n\n{render(lines)}")
    assert usual.shared[0][0].exchanged
    assert all(line.figure > 0 for line in lines)


def time_line(trial: Trial) -> Line:
    """Compare seconds a step, the first left out."""
    one, two = later_s(trial.one), later_s(slower(trial))
    return Line(
        text="two processes / one: time a step",
        figure=two / one,
        unit="x",
        bar=MOST_TIMES,
        direction="at most",
        basis=f"{two:.2f} s / {one:.2f} s",
    )


def processor_line(trial: Trial) -> Line:
    """Compare the processor time of a step, which others on the machine hardly change."""
    used = [
        min(sum(steps.cpu_s[1:]) for steps in runs) / (STEPS - 1)
        for runs in (trial.one, trial.two[::2], trial.two[1::2])
    ]
    return Line(
        text="processor time a step, both processes / one",
        figure=sum(used[1:]) / used[0],
        unit="x",
        bar=None,
        direction="at most",
        basis=f"{used[1]:.2f} s and {used[2]:.2f} s / {used[0]:.2f} s",
    )


def exchange_lines(trial: Trial) -> Iterator[Line]:
    """Say what is exchanged in a step, and how long that takes alone."""
    exchanged, step_s = trial.shared[0][0].exchanged, later_s(slower(trial))
    for kind in sorted({each.kind for each in exchanged}):
        some = [each for each in exchanged if each.kind == kind]
        size = sum(each.count * each.each_bytes for each in some)
        took_s = sum(each.count * each.alone_s for each in some)
        yield Line(
            text=f"{kind}, alone, of the time of a step of two",
            figure=100 * took_s / step_s,
            unit="%",
            bar=None,
            direction="at most",
            basis=f"{sum(each.count for each in some)} of {size / GIB:.2f} GiB in {took_s:.2f} s",
        )


def memory_line(trial: Trial) -> Line:
    """Compare the memory of the larger of two with that of one."""
    one, two = peak_bytes(trial.one), max(steps.peak_bytes for steps in trial.two)
    return Line(
        text="peak memory, each of two / one",
        figure=two / one,
        unit="x",
        bar=None,
        direction="at most",
        basis=f"{two / GIB:.2f} GiB / {one / GIB:.2f} GiB",
    )
