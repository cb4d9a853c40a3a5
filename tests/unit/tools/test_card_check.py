"""The check of a card without one: its budget, its report after a cut-off, and how it judges."""

import json
import os
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
from m43.records import RunDir, profile_check
from m43.training.data import prepare_training_data
from m43.training.weights import read_model_config
from tests.benchmarks.bars import Line
from tests.benchmarks.measured import Answers, Steps
from tests.unit.evidence.good_run import stop_at, write_gate_files, write_good_run
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
from tools.card_check.report import Budget, Header, Part, Report
from tools.card_check.scale import BUDGET_S, LIMITS_S, RESERVE_S, Place, Setting, Tried

REPOSITORY = Path(__file__).parents[3]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A dry run's place, in which nothing lies yet."""
    return Place(
        root=tmp_path,
        repository=REPOSITORY,
        judge=Path(sys.executable),
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

    def put(**does: Callable[[Place, float], Part]) -> None:
        def nothing(place: Place, limit_s: float) -> Part:
            return Part(name="nothing", ended="done")

        monkeypatch.setattr(
            card_check, "PARTS", {name: does.get(name, nothing) for name in LIMITS_S}
        )

    return put


def cut(place: Place, limit_s: float) -> Part:
    """Be ended from outside, as a lent machine ends a command."""
    raise KeyboardInterrupt


def test_a_cut_off_leaves_what_was_found_by_then(
    place: Place, header: Header, parts: Callable[..., None], tmp_path: Path
) -> None:
    """The report is written after every part, not at the end."""
    parts(
        production=lambda *_: Part(name="production", ended="done", lines=(line(2.0), line(0.5))),
        rivals=cut,
    )
    with pytest.raises(KeyboardInterrupt):
        card_check.check(place, header, budget(begun=time.monotonic()), tmp_path, list(LIMITS_S))
    found = written(tmp_path)
    assert [part["name"] for part in found["parts"]] == ["nothing", "production"]
    assert found["parts"][1]["holds"] == [True, False]
    assert found["header"]["dry"] is True
    text = (tmp_path / report.MARKDOWN_NAME).read_text()
    assert "A dry run" in text
    assert "| NO " in text


def test_a_part_that_breaks_does_not_take_the_others_with_it(
    place: Place, header: Header, parts: Callable[..., None], tmp_path: Path
) -> None:
    """It is told with its error; the next one is done."""

    def breaks(place: Place, limit_s: float) -> Part:
        raise ValueError("no such thing")

    parts(rivals=breaks)
    now = time.monotonic()
    made = card_check.check(place, header, budget(begun=now), tmp_path, list(LIMITS_S))
    assert [part.ended for part in made.parts] == ["done", "done", "failed", *["done"] * 3]
    assert made.parts[2].reason == "ValueError: no such thing"
    assert made.missed == 1


def test_a_part_without_time_is_not_begun(
    place: Place, header: Header, parts: Callable[..., None], tmp_path: Path
) -> None:
    """It says what was left, and counts as missed."""
    parts()
    late = budget(begun=time.monotonic() - BUDGET_S)
    made = card_check.check(place, header, late, tmp_path, list(LIMITS_S))
    assert {part.ended for part in made.parts} == {"not begun"}
    assert "0.0 s were left" in made.parts[0].reason
    assert made.missed == len(LIMITS_S)


def test_a_missed_bar_counts_and_one_without_a_bar_does_not(header: Header) -> None:
    """As does a part that was cut off."""
    done = Part(name="a", ended="done", lines=(line(1.0), line(0.9), line(0.0, bar=None)))
    whole = Report(header=header, budget_s=1.0, parts=(done,))
    assert whole.missed == 1
    assert replace(whole, parts=(replace(done, ended="cut off"),)).missed == 2


def test_a_machine_without_a_card_is_refused_unless_the_run_is_dry(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing falls back to the processor."""
    assert card_check.main(["--out", str(tmp_path)]) == 2
    assert "expected one; without one: --dry-run" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


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
    pid = int(told.records["pid"])
    deadline = time.monotonic() + 5
    while alive(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not alive(pid)


def alive(pid: int) -> bool:
    """Ask whether a process is there that is no zombie."""
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


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
    side(ours, told(full=steps(1.2), lora=steps(1.19), answers=answers(3.0)))
    part = comparisons.rivals(place, 60.0)
    assert part.ended == "done"
    assert part.holds == (True, False, True)
    assert [each.bar for each in part.lines] == [1.2, 1.2, 3.0]


def test_a_rival_that_is_cut_off_leaves_the_lines_that_both_came_to(
    place: Place, side: Callable[..., None]
) -> None:
    """And is told as what it is."""
    side(told(full=steps(1.0), lora=steps(1.0)), told("cut off", full=steps(2.0)))
    part = comparisons.rivals(place, 60.0)
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
    part = comparisons.parity(place, 10.0)
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
    part = comparisons.settings(place, 30.0)
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
    suffered = damage.suffer(staged, profile, case, 60.0)
    (found,) = damage.lines(case, suffered, None)
    assert found.holds is holds


def test_a_whole_run_gives_its_figures(place: Place, tmp_path: Path) -> None:
    """Against the plan, the peak and the energy that the card counted meanwhile."""
    run = write_good_run(tmp_path / "run", kind="production")
    watch = production.EnergyWatch(run)
    watch.close()
    watch.energy_j = {"train: train": 7200.0}
    part = production.judged(place, run, watch, "done", 1.0)
    assert part.ended == "done"
    figures = {each.text: each for each in part.lines}
    assert figures["energy of the steps"].figure == 2.0
    assert figures["MFU, the head counted"].bar == 50.0
    assert figures["peak memory, how far from the plan"].bar == 10.0
    assert any("download" in words for words in part.words)


def test_a_run_that_was_cut_off_gives_what_it_came_to(place: Place, tmp_path: Path) -> None:
    """Its steps so far, and where it was; no figure of what it did not reach."""
    run = stop_at(tmp_path / "run", "train-300", lambda run: write_gate_files(run, "train-300"))
    run.train.unlink()
    watch = production.EnergyWatch(run)
    watch.close()
    part = production.judged(place, run, watch, "cut off", 1.0)
    assert part.ended == "cut off"
    assert [each.text for each in part.lines] == ["a step, measured / planned"]
    assert any(words.startswith("training was last in") for words in part.words)


def test_a_run_that_is_not_accepted_is_no_success(place: Place, tmp_path: Path) -> None:
    """Whatever its figures are."""
    run = stop_at(tmp_path / "run", "eval", lambda run: None)
    watch = production.EnergyWatch(run)
    watch.close()
    part = production.judged(place, run, watch, "done", 1.0)
    assert part.ended == "failed"
    assert part.reason.startswith("not accepted: ")


def test_pytest_that_made_no_run_is_told_by_its_own_words(place: Place, tmp_path: Path) -> None:
    """Nothing is taken for a run that is none."""
    run = RunDir(tmp_path / "nowhere")
    watch = production.EnergyWatch(run)
    watch.close()
    (tmp_path / "pytest.log").write_text("no plugin")
    part = production.judged(place, run, watch, "done", 1.0)
    assert (part.ended, part.reason) == ("failed", "pytest made no run: no plugin")


# --- what is staged, and what travels ------------------------------------------------------------


@pytest.fixture(scope="module")
def staged(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """The small models, rows and profile of a dry run."""
    root = tmp_path_factory.mktemp("staged")
    made = Place(
        root=root,
        repository=REPOSITORY,
        judge=Path(sys.executable),
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
    assert lengths == {staged.scale.row_tokens}
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
    """Also where that machine's packages lie in an environment themselves."""
    home = tmp_path / "training"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(home)], check=True)
    wheels.put_behind(home)
    code = "import sys, packaging; print(sys.prefix); print(packaging.__file__)"
    found = subprocess.run(
        [str(home / "bin" / "python"), "-I", "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": os.environ["PATH"]},
    )
    prefix, file = found.stdout.splitlines()
    assert prefix == str(home)
    assert file.startswith(sys.prefix)
