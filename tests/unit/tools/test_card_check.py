"""The check of a card without one: its budget, its report after a cut-off, and how it judges."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest

from m43 import typed_json
from m43.core.attention import Attention
from m43.core.layer import FeedForward
from m43.errors import FailureClass, Problem
from m43.evidence.journal import ledger
from m43.harness.process import Sight
from m43.records import Device, Heartbeat, RunDir, profile_check
from m43.training.data import prepare_training_data
from m43.training.weights import read_model_config
from tests.benchmarks.bars import Line
from tests.benchmarks.measured import Answers, Steps
from tests.unit.evidence.good_run import stop_at, write_gate_files, write_good_run
from tests.unit.evidence.watched_run import series, write_series
from tools.card_check import __main__ as card_check
from tools.card_check import (
    children,
    comparisons,
    damage,
    production,
    report,
    settings_child,
    stage,
    wheels,
)
from tools.card_check.children import Ended, Started, Told
from tools.card_check.damage import Suffered
from tools.card_check.report import Budget, Header, Keep, Part, Report
from tools.card_check.scale import (
    BUDGET_S,
    LIMITS_S,
    RESERVE_S,
    Libraries,
    Place,
    Setting,
    Tried,
)

REPOSITORY = Path(__file__).parents[3]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A dry run's place, in which nothing lies yet."""
    return Place(
        root=tmp_path,
        repository=REPOSITORY,
        out=tmp_path / "out",
        judge=Path(sys.executable),
        rival=Path(sys.executable),
        port=9,
        platform="cpu",
        device_kind="cpu",
        scale_name="dry",
    )


@pytest.fixture(scope="module")
def header() -> Header:
    """What this machine is, asked once."""
    return report.header(REPOSITORY, started_utc="2026-11-28T20:00:00Z", dry=True)


def line(figure: float, bar: float | None = 1.0) -> Line:
    """Make a figure that is to reach a bar."""
    return Line(text="a", figure=figure, unit="x", bar=bar, direction="at least", basis="b")


def nothing(part: Part) -> None:
    """Keep nothing of what a part has found so far."""


def budget(total_s: float = BUDGET_S, begun: float = 0.0) -> Budget:
    """Make the budget of a check."""
    return Budget(total_s=total_s, reserve_s=RESERVE_S, limits_s=LIMITS_S, begun=begun)


def written(folder: Path) -> dict[str, object]:
    """Read the report that lies in a folder."""
    found: dict[str, object] = json.loads((folder / report.JSON_NAME).read_text())
    return found


# --- the budget ------------------------------------------------------------------------------


def test_the_limits_of_all_parts_are_the_nine_minutes() -> None:
    """One for each part, in their order."""
    assert list(card_check.PARTS) == list(LIMITS_S)
    assert sum(LIMITS_S.values()) + RESERVE_S == BUDGET_S == 540


def test_a_part_has_its_limit_and_what_others_left_of_theirs() -> None:
    """What one does not use goes to the next; what one overran is not taken from the reserve."""
    first, second, *_ = LIMITS_S.values()
    assert budget().limit_of("production", first) == second
    assert budget().limit_of("production", first - 30.0) == second + 30.0
    assert budget().limit_of("production", first + 30.0) == second - 30.0
    assert budget().limit_of("settings", 100.0) == BUDGET_S - RESERVE_S - 100.0
    assert budget().limit_of("settings", 600.0) == 0.0


def test_with_twice_the_time_every_part_has_twice_its_limit() -> None:
    """So that a slow machine can run all of it."""
    shares = [
        budget(2 * (BUDGET_S - RESERVE_S) + RESERVE_S).limit_of(name, 0.0) for name in LIMITS_S
    ]
    assert shares == [2 * budget().limit_of(name, 0.0) for name in LIMITS_S]


# --- the report ------------------------------------------------------------------------------


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Put others into the place of the parts."""

    def put(**does: Callable[[Place, float, Keep], Part]) -> None:
        def done(name: str) -> Callable[[Place, float, Keep], Part]:
            return lambda place, limit_s, keep: Part(name=name, ended="done")

        monkeypatch.setattr(
            card_check, "PARTS", {name: does.get(name, done(name)) for name in LIMITS_S}
        )

    return put


def half(place: Place, limit_s: float, keep: Keep) -> Part:
    """Find something, and then be ended from outside, as a lent machine ends a command."""
    keep(Part(name="rivals", ended="under way", lines=(line(3.0),)))
    raise KeyboardInterrupt


def test_a_cut_off_leaves_what_was_found_by_then(
    place: Place, header: Header, parts: Callable[..., None]
) -> None:
    """The report is written whenever a part found something, and names what was not begun."""
    parts(
        production=lambda *_: Part(name="production", ended="done", lines=(line(2.0), line(0.5))),
        rivals=half,
    )
    with pytest.raises(KeyboardInterrupt):
        card_check.check(place, header, budget(begun=time.monotonic()), list(LIMITS_S))
    found = written(place.out)
    assert [(part["name"], part["ended"]) for part in found["parts"]] == [
        *(("stage", "done"), ("production", "done"), ("rivals", "cut off")),
        *((name, "not begun") for name in ("parity", "damage", "settings")),
    ]
    assert found["parts"][1]["holds"] == [True, False]
    assert found["parts"][2]["lines"][0]["figure"] == 3.0
    assert found["header"]["dry"] is True
    text = (place.out / report.MARKDOWN_NAME).read_text()
    assert "A dry run" in text
    assert "| NO " in text
    assert "ended from outside (KeyboardInterrupt)" in text
    assert "## settings: not begun\n" in text


def test_a_part_that_breaks_does_not_take_the_others_with_it(
    place: Place, header: Header, parts: Callable[..., None]
) -> None:
    """It is told with its error and with what it had found; the next one is done."""

    def breaks(place: Place, limit_s: float, keep: Keep) -> Part:
        keep(Part(name="rivals", ended="under way", lines=(line(3.0),)))
        raise ValueError("no such thing")

    parts(rivals=breaks)
    now = time.monotonic()
    made = card_check.check(place, header, budget(begun=now), list(LIMITS_S))
    assert [part.ended for part in made.parts] == ["done", "done", "failed", *["done"] * 3]
    assert made.parts[2].reason == "ValueError: no such thing"
    assert made.parts[2].lines == (line(3.0),)
    assert made.missed == 1


def test_a_part_without_time_is_not_begun(
    place: Place, header: Header, parts: Callable[..., None]
) -> None:
    """It says what was left, and counts as missed."""
    parts()
    late = budget(begun=time.monotonic() - BUDGET_S)
    made = card_check.check(place, header, late, list(LIMITS_S))
    assert {part.ended for part in made.parts} == {"not begun"}
    assert "0.0 s were left" in made.parts[0].reason
    assert made.missed == len(LIMITS_S)


@pytest.mark.parametrize(("dry", "bars"), [(False, 1), (True, 0)], ids=["card", "dry"])
def test_a_missed_bar_counts_on_a_card_and_an_end_that_was_not_reached_everywhere(
    header: Header, dry: bool, bars: int
) -> None:
    """A figure without a bar counts nowhere, and a toy misses none."""
    done = Part(name="a", ended="done", lines=(line(1.0), line(0.9), line(0.0, bar=None)))
    whole = Report(header=replace(header, dry=dry), budget_s=1.0, parts=(done,))
    assert whole.missed == bars
    assert replace(whole, parts=(replace(done, ended="cut off"),)).missed == bars + 1


@pytest.mark.parametrize(("device", "status"), [(None, 2), ("NVIDIA H200", 0)])
def test_a_machine_without_a_card_is_refused_unless_the_run_is_dry(
    device: str | None,
    status: int,
    parts: Callable[..., None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Nothing falls back to the processor.

    A card is one also where only the driver's library is silent, as in some containers.
    """
    parts()
    found = Device(platform="gpu", kind=device or "", memory_bytes=1)
    answer = told() if device is None else told(device=found)
    monkeypatch.setattr(children, "run", lambda *_, **__: answer)
    assert card_check.main(["--out", str(tmp_path)]) == status
    refused = "expected one; without one: --dry-run" in capsys.readouterr().err
    assert refused is (device is None)
    if device is None:
        assert list(tmp_path.iterdir()) == []
    else:
        assert written(tmp_path)["header"]["device"] == device


CUT_OFF = """
import subprocess, sys, time
from tests.benchmarks.bars import Line
from tools.card_check import __main__ as card_check, production
from tools.card_check.children import Told
from tools.card_check.report import Part

def finds(place, limit_s, keep):
    line = Line(text="a", figure=3.0, unit="x", bar=1.0, direction="at least", basis="b")
    keep(Part(name="production", ended="under way", lines=(line,)))
    judge = (sys.executable, "-c", production._WITH_PARENT)
    code = "print(0, flush=True); import time; time.sleep(60)"
    child = subprocess.Popen([*judge, "-c", code], stdout=subprocess.PIPE, start_new_session=True)
    child.stdout.readline()
    print(child.pid, place.root, flush=True)
    time.sleep(60)

def stage(place, limit_s, keep):
    return Part(name="stage", ended="done")

card_check.PARTS = {**dict.fromkeys(card_check.PARTS), "stage": stage, "production": finds}
device = '{"platform": "cpu", "kind": "cpu", "memory_bytes": 1}'
told = Told(records={"device": device}, ended="well", reason="", took_s=1.0)
card_check.children.run = lambda *_, **__: told
card_check.main(["--dry-run", "--out", sys.argv[1], "--scratch", sys.argv[2]])
"""


@pytest.mark.parametrize(
    ("number", "ended"), [(signal.SIGTERM, "cut off"), (signal.SIGKILL, "under way")]
)
def test_a_check_that_is_killed_leaves_its_report_and_no_run(
    number: signal.Signals, ended: str, tmp_path: Path
) -> None:
    """A lent machine kills a command at its limit; what has a session of its own would live on."""
    process = subprocess.Popen(
        [sys.executable, "-c", CUT_OFF, str(tmp_path / "out"), str(tmp_path)],
        cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    with process:
        assert process.stdout is not None
        pid, root = process.stdout.readline().split()
        process.send_signal(number)
    parts = written(tmp_path / "out")["parts"]
    assert [part["ended"] for part in parts] == ["done", ended, *["not begun"] * 4]
    assert parts[1]["lines"][0]["figure"] == 3.0
    text = (tmp_path / "out" / report.MARKDOWN_NAME).read_text()
    assert f"## production: {ended}, " in text
    assert "## rivals: not begun\n" in text
    assert is_gone(int(pid))
    # A kill leaves no time for it.
    assert Path(root).exists() is (number == signal.SIGKILL)


# --- children ----------------------------------------------------------------------------------

TELLS = """
import subprocess, sys, time
print("first\\t{}", flush=True)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print(f"pid\\t{child.pid}", flush=True)
sys.stderr.write("so it went")
"""


def started(code: str) -> Started:
    """Start a process of its own session, as a child is."""
    out, errors = tempfile.TemporaryFile(), tempfile.TemporaryFile()  # noqa: SIM115 (the child's)
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=out, stderr=errors, start_new_session=True
    )
    return Started(process=process, out=out, errors=errors, began=time.monotonic())


def test_what_a_child_told_before_its_limit_is_kept() -> None:
    """It and what it started are gone."""
    told = started(f"{TELLS}\ntime.sleep(60)").finish(1.5)
    assert told.ended == "cut off"
    assert told.records["first"] == "{}"
    assert told.reason.startswith("still running after")
    assert is_gone(int(told.records["pid"]))


def is_gone(pid: int) -> bool:
    """Wait a little for the end of a process; a zombie has ended."""
    deadline = time.monotonic() + 5
    while alive(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not alive(pid)


def alive(pid: int) -> bool:
    """Ask whether a process is there that is no zombie."""
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


def test_what_a_child_tells_is_seen_while_it_runs(tmp_path: Path) -> None:
    """And what it writes afterwards stands behind that."""
    seen: list[list[str]] = []
    go_on = tmp_path / "go_on"
    code = f"""
import pathlib, time
print("first\\t0", flush=True)
while not pathlib.Path({str(go_on)!r}).exists():
    time.sleep(0.05)
print("second\\t0", flush=True)
"""

    def look(told: Told) -> None:
        seen.append(list(told.records))
        go_on.touch()

    found = started(code).finish(30, look)
    assert found.ended == "well"
    assert list(found.records) == ["first", "second"]
    assert seen[0] == ["first"]


POLITE = """
import os, signal, sys, time
# Not by print: the signal may come while that is still at its first word.
signal.signal(signal.SIGTERM, lambda *_: os.write(1, b"closed\\n") and sys.exit())
print("ready", flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize(("grace_s", "said"), [(0.0, b""), (10.0, b"closed\n")])
def test_a_run_has_a_while_to_close_itself(grace_s: float, said: bytes) -> None:
    """Where nobody waits for it, it is gone at once."""
    process = subprocess.Popen(
        [sys.executable, "-c", POLITE], stdout=subprocess.PIPE, start_new_session=True
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        children.end_group(process, grace_s)
        assert process.stdout.read() == said


def test_a_child_that_fails_says_why() -> None:
    """The end of its standard error, and what it told all the same."""
    told = started(f"{TELLS}\nsys.exit(3)").finish(30)
    assert told.ended == "badly"
    assert told.reason == "exit status 3: so it went"
    assert "first" in told.records


def test_a_rival_has_nothing_of_jax_and_nobody_takes_all_of_a_shared_card(place: Place) -> None:
    """What is set for JAX would be read by torch's own libraries as well, or by nobody."""
    on_card = replace(place, platform="gpu")
    torch = children.environment(on_card, "torch")
    assert not [name for name in torch if name.startswith(("XLA_", "JAX_"))]
    shared = children.environment(on_card, "m43", shared=True)
    assert shared["XLA_PYTHON_CLIENT_PREALLOCATE"] == "false"
    assert "XLA_PYTHON_CLIENT_MEM_FRACTION" not in shared
    assert children.environment(on_card, "cpu")["JAX_PLATFORMS"] == "cpu"


# --- judging -----------------------------------------------------------------------------------


def told(ended: Ended = "well", **records: object) -> Told:
    """Have a child that told this."""
    lines = {what.replace("_", " "): typed_json.dump_line(each) for what, each in records.items()}
    return Told(records=lines, ended=ended, reason="" if ended == "well" else "why", took_s=1.0)


def steps(second_s: float, loss: float = 1.0) -> Steps:
    """Make a training whose later steps took so long."""
    return Steps(
        ready_s=1.0,
        compile_s=1.0,
        step_s=(9.0, 7.0, second_s, second_s),
        cpu_s=(1.0,) * 4,
        losses_nats=(loss,) * 4,
        real_tokens=10,
        peak_bytes=1,
    )


def answers(decode_s: float) -> Answers:
    """Make answers of two rows."""
    return Answers(compile_s=1.0, decode_s=decode_s, tokens=((1,), (2,)), peak_bytes=1)


@pytest.fixture
def side(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Have each side tell something."""

    def put(ours: Told, theirs: Told) -> None:
        def run(place: Place, module: str, *_: object, **__: object) -> Told:
            return ours if module == "m43_child" else theirs

        monkeypatch.setattr(children, "run", run)

    return put


def test_rivals_are_held_against_their_bars(place: Place, side: Callable[..., None]) -> None:
    """1.2 times for both trainings, 3 for decoding; what is compiled in a step does not count."""
    ours = told(full=steps(1.0), lora=steps(1.0), answers=answers(1.0))
    held = Libraries(versions={"torch": "2.11.0", "peft": "0.18.0"})
    side(ours, told(full=steps(1.2), lora=steps(1.19), answers=answers(3.0), libraries=held))
    part = comparisons.rivals(place, 60.0, nothing)
    assert part.ended == "done"
    assert part.holds == (True, False, True)
    assert [each.bar for each in part.lines] == [1.2, 1.2, 3.0]
    assert part.words[-1] == "the rivals are torch 2.11.0, peft 0.18.0"


def test_a_rival_that_is_cut_off_leaves_the_lines_that_both_came_to(
    place: Place, side: Callable[..., None]
) -> None:
    """And is told as what it is."""
    side(told(full=steps(1.0), lora=steps(1.0)), told("cut off", full=steps(2.0)))
    part = comparisons.rivals(place, 60.0, nothing)
    assert part.ended == "cut off"
    assert part.reason == "torch: why"
    assert [each.figure for each in part.lines] == [2.0]


@pytest.mark.parametrize(
    ("away", "holds"),
    [
        ({}, (True, True, True)),
        ({"m43-float32": 1e-4}, (False, True, True)),
        ({"m43-bfloat16": 0.02}, (True, False, True)),
        ({"loss": 0.02}, (True, True, False)),
    ],
)
def test_parity_is_missed_by_what_is_wrong(
    place: Place,
    monkeypatch: pytest.MonkeyPatch,
    away: dict[str, float],
    holds: tuple[bool, ...],
) -> None:
    """TF32 in place of float32, a bfloat16 that rounds twice, a loss that drifts."""
    truth = np.random.default_rng(0).standard_normal((2, 3, 50)).astype(np.float32)
    wrong = {"torch-float32": 0.0, "torch-bfloat16": 0.01, "m43-float32": 1e-6} | away
    for name in ("torch-float32", "torch-bfloat16", "m43-float32", "m43-bfloat16"):
        np.save(place.root / f"{name}.npy", truth * np.float32(1 + wrong.get(name, 0.01)))
    sides = {"logits": told(float32=[1], bfloat16=[1])}

    class Child:
        def __init__(self, told: Told) -> None:
            self.finish = lambda limit_s: told

    def start(place: Place, module: str, job: str, home: str = "m43", **_: object) -> Child:
        losses = steps(1.0, loss=1.0 + (0.0 if home == "cpu" else away.get("loss", 0.0)))
        return Child(sides.get(job) or told(losses=losses))

    monkeypatch.setattr(children, "start", start)
    part = comparisons.parity(place, 10.0, nothing)
    assert part.ended == "done"
    assert part.holds == holds


def tried(setting: Setting, **measured: float) -> Tried:
    """Take a step under a setting."""
    return replace(Tried(setting=setting, planned_bytes=100, step_s=1.0, loss_nats=2.0), **measured)


def test_a_setting_that_computes_something_else_is_told(
    place: Place, side: Callable[..., None]
) -> None:
    """It would be fast. So is a peak told that the plan did not foresee."""
    all_of_them = {
        "chosen": tried(Setting(rows=8), peak_bytes=105),
        "fused": tried(Setting(rows=8, attention="fused"), loss_nats=2.1),
        "none": tried(Setting(rows=8, remat="none"), peak_bytes=120),
        "lora": tried(Setting(rows=8, method="lora"), loss_nats=3.0),
    }
    side(told(), told("cut off", **all_of_them))
    part = comparisons.settings(place, 30.0, nothing)
    assert part.ended == "done"
    assert [round(each.figure, 2) for each in part.lines] == [5.0, 20.0, 0.05]
    assert part.holds == (True, False, False)
    assert len(part.words) == 1 + len(all_of_them)


def test_what_a_setting_changes_in_the_model_is_undone(place: Place) -> None:
    """The next one begins with the model as it is."""
    before = (jax.checkpoint, Attention.qkv, Attention.attend, FeedForward.__call__)
    with settings_child.under(Setting(rows=8, remat="all but q, k, v", attention="fused"), place):
        within = (jax.checkpoint, Attention.qkv, Attention.attend, FeedForward.__call__)
    assert not set(before) & set(within)
    assert before == (jax.checkpoint, Attention.qkv, Attention.attend, FeedForward.__call__)


@pytest.mark.parametrize(
    ("sent", "named", "holds"),
    [
        (True, FailureClass.HUNG, True),
        (True, FailureClass.TIMED_OUT, False),
        (True, None, False),
        (False, FailureClass.HUNG, False),
        (False, FailureClass.TIMED_OUT, False),
    ],
)
def test_damage_is_recognised_only_where_it_was_done(
    staged: Place,
    monkeypatch: pytest.MonkeyPatch,
    sent: bool,
    named: FailureClass | None,
    holds: bool,
) -> None:
    """A child that hangs before it is stopped proves nothing, nor does another class."""
    case = damage.cases(staged)[-1]
    assert case.expected == (FailureClass.HUNG,)

    def run_job(*arguments: object) -> None:
        see = arguments[-1]
        see.__self__.sent = sent  # type: ignore[attr-defined]
        if named is not None:
            problem = Problem(found="f", expected="e", where="w", action="a")
            raise damage.ChildFailedError(named, (problem,))

    monkeypatch.setattr(damage, "run_job", run_job)
    profile = profile_check.load(staged.profile)
    suffered = damage.suffer(staged, profile, case, 60.0, 9.0)
    (found,) = damage.lines(case, suffered, None)
    assert found.holds is holds
    # By which the part knows that it was its own limit, whatever had been done by then.
    timed_out = FailureClass.TIMED_OUT
    assert (suffered.found is timed_out) is (named is timed_out)


def test_a_child_that_the_limit_ended_was_called_by_no_name(
    staged: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was found before is told, and that the time was up; what is next waits for its silence.

    A child is hung after half as much again as one that was well gave no sign of life.
    """
    silences: list[float] = []

    def suffer(*arguments: object) -> Suffered:
        silences.append(arguments[-1])  # type: ignore[arg-type]
        called = (FailureClass.OUT_OF_DEVICE_MEMORY, FailureClass.KILLED, FailureClass.TIMED_OUT)
        found, silence_s = called[len(silences) - 1], 10.0 * (5 - len(silences))
        return Suffered(found=found, words="so", took_s=1.0, silence_s=silence_s)

    monkeypatch.setattr(damage, "suffer", suffer)
    told: list[Part] = []
    part = damage.run(staged, 60.0, told.append)
    # Compiling what has no room may take long, and is not what a small model waits for.
    assert silences == [12.0, 12.0, 45.0]
    assert (part.ended, part.holds) == ("cut off", (True, True))
    assert part.reason == "too little time was left for a child that stands still"
    assert [(each.ended, each.holds) for each in told] == [
        *(("under way", (True,)), ("under way", (True, True)))
    ]


def test_a_child_is_harmed_once_and_its_silence_before_it_is_measured(staged: Place) -> None:
    """When it takes steps; the silence before its first sign of life counts as well."""
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as process:
        harm = damage.Harm(damage.cases(staged)[1])
        beats = ((1.0, None), (6.0, (1, "import")), (7.0, (2, "compile")), (9.0, (3, "train")))
        for at, beat in beats:
            assert process.poll() is None
            shown = None if beat is None else heartbeat(*beat)
            harm.see(Sight(beat=shown, steps=0, elapsed_s=at, pid=process.pid))
        assert harm.sent
        assert harm.silence_s == 6.0
        assert process.wait(10) == -signal.SIGKILL


def heartbeat(beat: int, phase: str) -> Heartbeat:
    """Give a sign of life."""
    return Heartbeat(
        phase=phase, done=0, total=1, loss_nats=None, tokens_per_s=None, beat=beat, host_bytes=0,
        device_bytes=0,
    )  # fmt: skip


def test_a_whole_run_gives_its_figures(place: Place, tmp_path: Path) -> None:
    """Against the plan, the peak and the energy that the card counted meanwhile."""
    run = write_good_run(tmp_path / "run", kind="production")
    # 300 steps in 150 s at 480 W.
    write_series(run, series())
    part = production.judged(replace(place, scale_name="card"), run, "done", 1.0)
    assert part.ended == "done"
    figures = {each.text: each for each in part.lines}
    assert figures["energy of the steps"].figure == 20.0
    assert part.found["energy_j"]["train: train"] == 150 * 480
    assert {line.bar for line in production.judged(place, run, "done", 1.0).lines} == {None}
    # Asked to end when it was all but closed, it did so.
    late = production.judged(place, run, "cut off", 1.0)
    assert (late.ended, late.reason) == ("done", "")
    assert figures["MFU, the head counted"].bar == 50.0
    assert figures["peak memory, how far from the plan"].bar == 10.0
    assert any("download" in words for words in part.words)


@pytest.mark.parametrize("within", [False, True])
def test_a_run_is_told_while_it_is_on_and_its_account_is_kept(
    staged: Place, within: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unless the report lies in the checkout, of which a run notices every change meanwhile."""
    out = tmp_path / ("checkout/out" if within else "out")
    out.mkdir(parents=True)
    place = replace(staged, repository=tmp_path / "checkout", out=out, port=card_check._free_port())

    def attempt(place: Place, name: str, token: str, limit_s: float, look: object) -> str:
        assert callable(look)
        runs = place.repository / ledger.RUNS
        runs.mkdir(parents=True)
        stop_at(tmp_path / "made", "eval", lambda run: None).path.rename(runs / name)
        RunDir(runs / name).failure_analysis.write_text("why")
        look()
        return "cut off"

    monkeypatch.setattr(production, "_attempt", attempt)
    told: list[Part] = []
    part = production.run(place, 60.0, told.append)
    assert part.ended == "cut off"
    assert [each.ended for each in told] == ([] if within else ["under way"])
    assert (out / "failure_analysis.md").read_text() == "why"


def test_a_run_that_is_under_way_has_no_verdict(place: Place, tmp_path: Path) -> None:
    """Nothing of it was refused yet."""
    run = stop_at(tmp_path / "run", "eval", lambda run: None)
    part = production.judged(place, run, "under way", 1.0)
    assert (part.ended, part.reason) == ("under way", "")
    assert not [words for words in part.words if "ACCEPTED" in words]


def test_a_run_that_was_cut_off_gives_what_it_came_to(place: Place, tmp_path: Path) -> None:
    """Its steps so far, and where it was; no figure of what it did not reach."""
    run = stop_at(tmp_path / "run", "train-300", lambda run: write_gate_files(run, "train-300"))
    run.train.unlink()
    part = production.judged(place, run, "cut off", 1.0)
    assert part.ended == "cut off"
    assert [each.text for each in part.lines] == ["a step, measured / planned"]
    assert any(words.startswith("training was last in") for words in part.words)


def test_a_run_that_is_not_accepted_is_no_success(place: Place, tmp_path: Path) -> None:
    """Whatever its figures are."""
    run = stop_at(tmp_path / "run", "eval", lambda run: None)
    part = production.judged(place, run, "done", 1.0)
    assert part.ended == "failed"
    assert part.reason.startswith("not accepted: ")


def test_pytest_that_made_no_run_is_told_by_its_own_words(place: Place, tmp_path: Path) -> None:
    """Nothing is taken for a run that is none."""
    run = RunDir(tmp_path / "nowhere")
    (tmp_path / "pytest.log").write_text("no plugin")
    part = production.judged(place, run, "done", 1.0)
    assert (part.ended, part.reason) == ("failed", "pytest made no run: no plugin")


# --- what is staged, and what travels ------------------------------------------------------------


@pytest.fixture(scope="module")
def staged(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """The small models, rows and profile of a dry run."""
    root = tmp_path_factory.mktemp("staged")
    made = Place(
        root=root,
        repository=REPOSITORY,
        out=root / "out",
        judge=Path(sys.executable),
        rival=Path(sys.executable),
        port=9,
        platform="cpu",
        device_kind="cpu",
        scale_name="dry",
    )
    stage.write_model(made.base, {**stage.CONFIG, **made.scale.shapes})
    stage.write_rows(made)
    made.profile.write_text(stage.profile_text(made), encoding="utf-8")
    return made


def test_the_profile_is_productions_but_for_what_the_machine_cannot_keep(staged: Place) -> None:
    """Method, optimizer, precision, remat, seed, rate: all as they are locked."""
    ours = profile_check.load(staged.profile)
    theirs = profile_check.load(REPOSITORY / "acceptance" / "production.toml")
    assert (ours.kind, ours.contract.repo) == ("production", "google/gemma-2b")
    same = {"batch_rows": 8, "sequence_tokens": staged.scale.row_tokens}
    assert replace(theirs.training, **same) == ours.training
    assert ours.hub.endpoint == "http://127.0.0.1:9"
    assert ours.deadlines == theirs.deadlines
    assert ours.contract.parameters == read_model_config(staged.base).parameters


def test_the_rows_fill_what_a_row_may_have(staged: Place) -> None:
    """None is too long, which a run refuses; most positions are learnt, so the head is at work."""
    profile, config = profile_check.load(staged.profile), read_model_config(staged.base)
    data = prepare_training_data(profile, staged.base, config)
    lengths = {planned.length for planned in data.plan}
    assert lengths == {staged.scale.row_tokens - 8}  # the longest row, rounded up to eights
    assert data.lint.padding_share < 0.2
    assert data.lint.supervised_tokens > 0.6 * data.lint.real_tokens


LOCK = """
jax==0.10.2 ; python_full_version < '3.12' \\
    --hash=sha256:00
jax==0.11.2 ; python_full_version == '3.12.*' \\
    --hash=sha256:11
Dill==0.4.1 \\
    --hash=sha256:22
pyreadline==1.0 ; sys_platform == 'win32'
"""


def test_the_lock_is_read_as_the_lent_machine_would_read_it() -> None:
    """Whatever Python collects the wheels."""
    assert wheels.locked(LOCK) == {"jax": "0.11.2", "dill": "0.4.1"}


def test_what_the_judge_needs_is_listed_with_all_that_it_needs() -> None:
    """And nothing of an extra that nobody asked for."""
    found = wheels.closure(["pytest-html"])
    assert {"pytest", "pytest-metadata", "jinja2", "markupsafe", "pluggy"} <= set(found)
    assert "jax" not in found


def test_nothing_is_installed_where_nothing_was_carried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It says what to name."""
    monkeypatch.setattr(wheels, "CARRIED", tmp_path / "none")
    assert wheels.main(["install", str(tmp_path / "environments")]) == 2
    assert "name .card_check among what is carried" in capsys.readouterr().err


def test_an_environment_finds_the_machines_own_packages(tmp_path: Path) -> None:
    """Also where they lie in an environment themselves, and where no .pth file is executed."""
    home = tmp_path / "training"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(home)], check=True)
    wheels.link_machines(home)
    # As a run's children begin. Source: m43/harness/process/isolation.py.
    begun = "import site, sys; site.addpackage = lambda *_: None; site.main(); "
    code = f"{begun}import packaging; print(sys.prefix); print(packaging.__file__)"
    found = subprocess.run(
        [str(home / "bin" / "python"), "-I", "-S", "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": os.environ["PATH"]},
    )
    prefix, file = found.stdout.splitlines()
    assert prefix == str(home)
    assert file.startswith(str(home))
    assert str(Path(file).resolve()).startswith(str(Path(sys.prefix).resolve()))


def test_what_was_carried_and_no_torch_stands_in_an_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a package that the machine has in another version nothing is left, not even its name."""
    machine, site = tmp_path / "machine", tmp_path / "home" / "lib" / "python3.12" / "site-packages"
    for name in ("flax", "flax-0.12.4.dist-info", "jax", "jax-0.11.2.dist-info", "torch", "a.pth"):
        (machine / name).mkdir(parents=True)
    for name in ("flax", "flax-0.12.12.dist-info"):
        (site / name).mkdir(parents=True)
    paths = {"purelib": str(machine), "platlib": str(machine)}
    monkeypatch.setattr(wheels.sysconfig, "get_paths", lambda: paths)
    wheels.link_machines(tmp_path / "home")
    assert sorted(path.name for path in site.iterdir()) == [
        *("flax", "flax-0.12.12.dist-info", "jax", "jax-0.11.2.dist-info")
    ]


def test_it_runs_where_no_pytest_is() -> None:
    """On a lent card the environment that trains has none; the judge's has one of its own."""
    absent = "import sys; sys.modules.update({'pytest': None, '_pytest': None}); "
    words = [sys.executable, "-c", f"{absent}import tools.card_check.__main__"]
    ended = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
