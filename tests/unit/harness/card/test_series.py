"""The looks at a card beside a child: each second a line, whatever the driver does meanwhile."""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from m43.files import is_disk_full
from m43.harness.card import CardSeries
from m43.harness.gates import job
from m43.harness.process import Child, Sight, isolation, run_child
from m43.harness.run import HubAccess
from m43.records import SELF_VENV, CardReading, ProcessRecord, Profile, RunDir
from m43.records.run_dir import read_lines
from tests.unit.evidence.on_a_card import production
from tests.unit.harness.card import fake_nvml
from tests.unit.harness.card.fake_nvml import FakeNvml, install

SOON = 10.0


@contextmanager
def series(path: Path, **pace: float) -> Iterator[CardSeries]:
    """Begin a series and end it."""
    begun = CardSeries(path, "train", {}, **{"every_s": 0.02, **pace})
    try:
        yield begun
    finally:
        begun.close()


def until(met: Callable[[], bool]) -> None:
    """Wait until something is so."""
    limit = time.monotonic() + SOON
    while not met():
        assert time.monotonic() < limit
        time.sleep(0.01)


def readings(path: Path) -> tuple[CardReading, ...]:
    """Read the file back."""
    return tuple(read_lines(path, CardReading))


def write(series: CardSeries, elapsed_s: float = 7.0) -> None:
    """Write as the parent of a child in its steps does."""
    series.write(pid=4242, elapsed_s=elapsed_s, phase="train", steps=3)


def written(series: CardSeries, path: Path, count: int) -> tuple[CardReading, ...]:
    """Write until there are so many lines."""

    def enough() -> bool:
        write(series)
        return len(readings(path)) >= count

    until(enough)
    return readings(path)


def test_each_look_is_a_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With what the parent knew of the child, and the time of the look rather than the line's."""
    library = install(monkeypatch, FakeNvml())
    with series(tmp_path / "lines") as begun:
        first = written(begun, tmp_path / "lines", 2)
        library.cards[0].power_mw = 20_000
        last = written(begun, tmp_path / "lines", len(first) + 2)[-1]
    told = {(each.child, each.pid, each.phase, each.steps, each.gap) for each in first}
    assert told == {("train", 4242, "train", 3, "")}
    assert first[0].card is not None
    assert first[0].card.power_mw == 512_345
    assert last.card is not None
    assert last.card.power_mw == 20_000
    times = [each.elapsed_s for each in readings(tmp_path / "lines")]
    assert times == sorted(times)
    assert abs(times[0] - 7.0) < SOON
    assert library.calls[-1] == "nvmlShutdown"


def test_a_look_has_its_own_time(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """However late it is written down, also when the child has ended meanwhile."""
    install(monkeypatch, FakeNvml())
    with series(tmp_path / "lines", every_s=SOON) as begun:
        time.sleep(0.3)
        write(begun, elapsed_s=7.0)
    (line,) = readings(tmp_path / "lines")
    assert 6.0 < line.elapsed_s < 6.9


def test_a_later_child_is_appended(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """One file for the run."""
    install(monkeypatch, FakeNvml())
    for count in (1, 2):
        with series(tmp_path / "lines", every_s=SOON) as begun:
            written(begun, tmp_path / "lines", count)


def test_a_driver_that_hangs_holds_nothing_up(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Writing and closing return at once; the gap is a line, once, and the series goes on."""
    library = install(monkeypatch, FakeNvml(hangs=threading.Event()))
    assert library.hangs is not None
    path = tmp_path / "lines"
    with series(path, silence_s=0.05) as begun:
        (gap,) = written(begun, path, 1)
        assert (gap.card, gap.gap) == (None, "no answer from the driver for 0.05 s")
        for _ in range(20):
            time.sleep(0.005)
            before = time.monotonic()
            write(begun)
            assert time.monotonic() - before < 1.0
        assert len(readings(path)) == 1
        library.hangs.set()
        assert written(begun, path, 2)[1].card is not None


def test_a_second_in_which_nobody_could_look_is_a_gap(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A parent that was stopped writes nothing meanwhile; afterwards the hole is told."""
    library = install(monkeypatch, FakeNvml(hangs=threading.Event()))
    assert library.hangs is not None
    with series(tmp_path / "lines", silence_s=0.1, every_s=SOON / 100) as begun:
        time.sleep(0.5)
        library.hangs.set()
        until(lambda: not begun._answers.empty())
        write(begun)
    gap, look, *_ = readings(tmp_path / "lines")
    assert (gap.card, gap.gap[:12], look.gap) == (None, "no look for ", "")
    assert look.card is not None


def test_a_look_that_never_returns_is_left_behind(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The run goes on to its next gate, which begins a series of its own."""
    library = install(monkeypatch, FakeNvml(hangs=threading.Event()))
    before = time.monotonic()
    with series(tmp_path / "lines"):
        pass
    assert time.monotonic() - before < 3.0
    assert library.hangs is not None
    library.hangs.set()


def test_no_card_is_said_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """By NVML's word, and it is not asked again."""
    install(monkeypatch, FakeNvml(init=fake_nvml.LIB_RM_VERSION_MISMATCH))
    with series(tmp_path / "lines", silence_s=1.0) as begun:
        written(begun, tmp_path / "lines", 1)
        time.sleep(1.1)
        write(begun)
    (line,) = readings(tmp_path / "lines")
    assert (line.card, line.gap) == (None, "RM has detected an NVML/RM version mismatch.")


def test_a_card_that_is_lost_stays_in_the_series(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Each second says so; that is the evidence of when it went."""
    library = install(monkeypatch, FakeNvml())
    with series(tmp_path / "lines") as begun:
        count = len(written(begun, tmp_path / "lines", 1))
        library.cards[0].fails["*"] = fake_nvml.GPU_IS_LOST
        last = written(begun, tmp_path / "lines", count + 3)[-1]
    assert last.card is not None
    assert last.card.not_told["power_mw"] == "GPU is lost"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_looking_that_breaks_off_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An error of m43's own there does not end the run, and does not pass for a quiet card."""
    install(monkeypatch, FakeNvml())

    def broken(card: object) -> None:
        raise RuntimeError("not foreseen")

    monkeypatch.setattr("m43.harness.card.nvml.Card.look", broken)
    with series(tmp_path / "lines") as begun:
        (line,) = written(begun, tmp_path / "lines", 1)
        write(begun)
    assert line.gap.startswith("m43's look at the card broke off")
    assert len(readings(tmp_path / "lines")) == 1


def sleeper(tmp_path: Path, seconds: float, deadline_s: float) -> Child:
    """A child that sleeps."""
    return Child(
        command=(sys.executable, "-c", f"import time; time.sleep({seconds})"),
        folder=tmp_path,
        environment={},
        log=tmp_path / "log",
        deadline_s=deadline_s,
    )


def test_the_deadline_of_a_child_stands_while_the_driver_hangs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The child is ended when its time is up."""
    library = install(monkeypatch, FakeNvml(hangs=threading.Event()))
    child = sleeper(tmp_path, 60, deadline_s=0.3)
    run = RunDir(tmp_path)
    before = time.monotonic()
    with job._card_watched("train", run, production(), child, lambda sight: None) as look:
        outcome = run_child(child, look)
    assert outcome.record.ended_by_parent == "deadline"
    assert time.monotonic() - before < SOON
    assert library.hangs is not None
    library.hangs.set()


def test_a_full_disk_ends_the_child_as_a_full_disk(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A series with holes would be worth nothing, and the child needs the disk as well."""
    install(monkeypatch, FakeNvml())
    run = RunDir(tmp_path)
    run.gpu_metrics.symlink_to("/dev/full")
    child, kept = sleeper(tmp_path, 60, deadline_s=60), list[ProcessRecord]()
    seen: list[Sight] = []
    with (
        pytest.raises(OSError, match="No space left") as raised,
        job._card_watched("train", run, production(), child, seen.append) as look,
    ):
        run_child(child, look, kept.append)
    assert is_disk_full(raised.value)
    assert [record.ended_by_parent for record in kept] == ["interrupt"]


def test_a_job_on_a_card_is_watched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Training and evaluation leave one series; the job itself knows nothing of it."""
    install(monkeypatch, FakeNvml())
    code = {
        "m43/__init__.py": "",
        "m43/training/__init__.py": "",
        "m43/training/__main__.py": "import time\ndef main(_):\n    time.sleep(0.5)\n",
        "m43/harness/process/isolation.py": Path(isolation.__file__).read_text(),
    }
    for path, source in code.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(source)
    run = RunDir.create(tmp_path / "run")
    profile = replace(production(), venv=replace(production().venv, path=SELF_VENV))
    access = HubAccess(environment={}, endpoint="http://127.0.0.1:1", cache_dir=tmp_path)
    for name in ("train", "eval"):
        job.run_job(name, run, access, profile, tmp_path, lambda sight: None)  # type: ignore[arg-type]
    children = [line.child for line in readings(run.gpu_metrics)]
    assert set(children) == {"train", "eval"}
    assert children == sorted(children, reverse=True)


def on_cpu(profile: Profile) -> Profile:
    """The same, for a CPU."""
    return replace(profile, contract=replace(profile.contract, platform="cpu"))


def test_on_a_cpu_nothing_is_looked_at(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """There is no file, and the library is not loaded."""
    library = install(monkeypatch, FakeNvml())
    child, run, seen = sleeper(tmp_path, 0, deadline_s=SOON), RunDir(tmp_path), list[Sight]()
    with job._card_watched("train", run, on_cpu(production()), child, seen.append) as look:
        run_child(child, look)
    assert seen
    assert not run.gpu_metrics.exists()
    assert library.calls == []


def test_the_series_of_a_child_names_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Its number, and times from its start: below its deadline, and none long before it."""
    install(monkeypatch, FakeNvml())
    child, run, pids = sleeper(tmp_path, 0.4, deadline_s=SOON), RunDir(tmp_path), set[int]()

    def see(sight: Sight) -> None:
        pids.add(sight.pid)

    with job._card_watched("eval", run, production(), child, see) as look:
        record = run_child(child, look).record
    lines = readings(run.gpu_metrics)
    assert {line.pid for line in lines} == pids
    assert len(pids) == 1
    assert all(-1.0 < line.elapsed_s <= record.duration_s for line in lines)
    assert {line.child for line in lines} == {"eval"}
