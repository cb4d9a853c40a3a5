"""Children that end well, badly, late, never, and with children of their own."""

import errno
import json
import os
import resource
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from m43 import typed_json
from m43.harness.process import log_writer
from m43.harness.process import process as process_module
from m43.harness.process.process import Child, Outcome, Sight, oom_kills, read_beat, run_child
from m43.records.run_records import Heartbeat, ProcessRecord, StepMetrics

SECRET = "a-very-secret-word"
STEP = StepMetrics(
    step=1, loss_nats=1.0, learning_rate=0.1, gradient_norm=1.0, padded_tokens=1, real_tokens=1,
    supervised_tokens=1, duration_s=0.1,
)  # fmt: skip


@pytest.fixture
def child(tmp_path: Path) -> Child:
    """Give a child that only lacks its program."""
    return Child(
        command=(),
        folder=tmp_path,
        environment={"PATH": os.environ["PATH"], "HERE": str(tmp_path)},
        log=tmp_path / "log.txt",
        deadline_s=20.0,
        secrets=(SECRET,),
        grace_s=0.5,
    )


def python(child: Child, code: str) -> Child:
    """Have the child run a piece of Python."""
    return replace(child, command=(sys.executable, "-I", "-S", "-u", "-c", code))


def run(child: Child) -> Outcome:
    """Run a child unwatched."""
    return run_child(child, lambda sight: None)


def is_gone(pid: int) -> bool:
    """Tell whether a process has ended, waiting a moment for init to reap it."""
    for _ in range(100):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
        except FileNotFoundError:
            return True
        if state == "Z":
            return True
        time.sleep(0.02)
    return False


def test_a_child_that_ends_well_is_described(child: Child) -> None:
    """Status, time, memory and the names of its variables."""
    record = run(python(child, "print('hello')")).record
    assert record.exit_status == 0
    assert record.ended_by_parent == "no"
    assert 0 < record.duration_s < 10
    assert record.peak_bytes > 1_000_000
    assert record.variables == ("HERE", "PATH")
    assert (record.steps_seen, record.last_phase, record.oom_kills) == (0, "", 0)


def test_both_streams_reach_the_log_and_are_told_apart(child: Child) -> None:
    """The log is for people, the streams are for the parent."""
    outcome = run(python(child, "import sys; print('out'); print('err', file=sys.stderr)"))
    assert outcome.stdout == ("out",)
    assert outcome.stderr == ("err",)
    assert sorted(child.log.read_text().split()) == ["err", "out"]


def test_an_exit_status_and_a_signal_are_kept_apart(child: Child) -> None:
    """A negative status is the signal that ended the child."""
    assert run(python(child, "raise SystemExit(3)")).record.exit_status == 3
    code = "import os; os.kill(os.getpid(), 9)"
    assert run(python(child, code)).record.exit_status == -signal.SIGKILL


def test_a_child_past_its_deadline_is_ended(child: Child) -> None:
    """Politely, when it listens."""
    late = replace(python(child, "import time; time.sleep(60)"), deadline_s=0.3)
    record = run(late).record
    assert record.ended_by_parent == "deadline"
    assert record.exit_status == -signal.SIGTERM
    assert record.duration_s < 10


def test_a_child_that_ignores_sigterm_dies_with_its_grandchildren(child: Child) -> None:
    """After the grace the whole group is killed; nothing goes on using the device."""
    code = (
        "import os, signal, subprocess, sys, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "g = subprocess.Popen([sys.executable, '-c', 'import signal, time; "
        "signal.signal(15, signal.SIG_IGN); time.sleep(60)'])\n"
        "open(os.environ['HERE'] + '/pid', 'w').write(str(g.pid))\n"
        "time.sleep(60)\n"
    )
    record = run(replace(python(child, code), deadline_s=1.0)).record
    assert record.ended_by_parent == "deadline"
    assert record.exit_status == -signal.SIGKILL
    assert is_gone(int((child.folder / "pid").read_text()))


def test_what_a_child_leaves_running_ends_with_it(child: Child) -> None:
    """Also when the child itself ended well."""
    code = (
        "import os, subprocess, sys\n"
        "g = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "open(os.environ['HERE'] + '/pid', 'w').write(str(g.pid))\n"
    )
    begun = time.monotonic()
    assert run(python(child, code)).record.exit_status == 0
    assert is_gone(int((child.folder / "pid").read_text()))
    assert time.monotonic() - begun < 10


def test_a_heartbeat_that_stands_still_is_silence(child: Child, tmp_path: Path) -> None:
    """A child that lives and does nothing is ended before its deadline."""
    beat = tmp_path / "beat.json"
    write = (
        f'open({str(beat)!r}, \'w\').write(\'{{"phase": "compile", "done": 0, "total": 9, '
        '"loss_nats": 0.0, "tokens_per_s": 0.0, "beat": 1}\')\n'
    )
    code = f"import time\n{write}\ntime.sleep(60)"
    record = run(replace(python(child, code), heartbeat=beat, silence_s=0.6)).record
    assert record.ended_by_parent == "silence"
    assert record.last_phase == "compile"


def test_a_child_that_has_to_be_ended_is_asked_where_it_stands(
    child: Child, tmp_path: Path
) -> None:
    """All its threads; and what they say is redacted like everything else that it prints."""
    beat = tmp_path / "beat.json"
    code = (
        "import faulthandler, signal, threading, time\n"
        "faulthandler.register(signal.SIGUSR1, all_threads=True)\n"
        f"def wait_for_{SECRET.replace('-', '_')}(): time.sleep(60)\n"
        f"def stand_still(): time.sleep(60)\n"
        "threading.Thread(target=stand_still, daemon=True).start()\n"
        f'open({str(beat)!r}, \'w\').write(\'{{"phase": "train", "done": 0, "total": 9, '
        '"loss_nats": 0.0, "tokens_per_s": 0.0, "beat": 1}\')\n'
        f"wait_for_{SECRET.replace('-', '_')}()\n"
    )
    secret = SECRET.replace("-", "_")
    asked = replace(
        python(child, code),
        heartbeat=beat,
        silence_s=0.8,
        stacks=tmp_path / "stacks.txt",
        secrets=(secret,),
    )
    assert run(asked).record.ended_by_parent == "silence"
    text = (tmp_path / "stacks.txt").read_text()
    assert "in stand_still" in text
    assert "in wait_for_[REDACTED]" in text


def test_a_child_whose_log_was_taken_away_is_ended_all_the_same(
    child: Child, tmp_path: Path
) -> None:
    """Where it stands can be asked no more; it does not go on using the device for that."""
    beat, log = tmp_path / "beat.json", tmp_path / "run" / "log.txt"
    log.parent.mkdir()
    pids: list[int] = []

    def take_away(sight: Sight) -> None:
        if sight.beat is not None and not pids:
            pids.append(sight.pid)
            log.unlink()

    spoken = replace(
        python(child, beats_twice(beat, "time.sleep(60)")),
        log=log,
        heartbeat=beat,
        silence_s=0.8,
        stacks=tmp_path / "stacks.txt",
    )
    assert run_child(spoken, take_away).record.ended_by_parent == "silence"
    assert is_gone(*pids)


def test_a_child_that_never_spoke_is_not_asked(child: Child, tmp_path: Path) -> None:
    """Before its first heartbeat the signal would end it in a way that nobody asked for."""
    late = replace(python(child, "import time; time.sleep(60)"), deadline_s=0.5)
    record = run(replace(late, stacks=tmp_path / "stacks.txt")).record
    assert record.exit_status == -signal.SIGTERM
    assert not (tmp_path / "stacks.txt").exists()


def test_a_heartbeat_that_goes_on_is_life(child: Child, tmp_path: Path) -> None:
    """Work that takes longer than the silence is not ended while it beats."""
    beat = tmp_path / "beat.json"
    code = (
        "import json, os, time\n"
        "for n in range(1, 9):\n"
        "    d = dict(phase='train', done=n, total=8, loss_nats=1.0, tokens_per_s=1.0, beat=n)\n"
        f"    open({str(beat)!r} + '.new', 'w').write(json.dumps(d))\n"
        f"    os.replace({str(beat)!r} + '.new', {str(beat)!r})\n"
        "    time.sleep(0.2)\n"
    )
    record = run(replace(python(child, code), heartbeat=beat, silence_s=1.0)).record
    assert record.ended_by_parent == "no"
    assert record.steps_seen == 8


def test_steps_are_counted_from_the_lines_to_the_last(child: Child, tmp_path: Path) -> None:
    """The lines of the last moment are read after the child's end."""
    lines, line = tmp_path / "metrics.jsonl", typed_json.dump_line(STEP)
    code = f"open({str(lines)!r}, 'w').write({line!r} * 300 + 'no record\\n')"
    record = run(replace(python(child, code), counted=(lines, StepMetrics))).record
    assert record.steps_seen == 300


def test_the_parent_sees_the_child_as_it_goes(child: Child) -> None:
    """Progress is shown from what the parent itself has seen."""
    sights: list[Sight] = []
    run_child(python(child, "import time; time.sleep(0.5)"), sights.append)
    assert len(sights) >= 3
    assert sights[-1].elapsed_s >= 0.5


def test_an_interrupted_parent_ends_the_child_and_keeps_the_record(child: Child) -> None:
    """Ctrl-C in the parent leaves no child behind, and a record of what was done to it."""
    kept: list[ProcessRecord] = []
    pids: list[int] = []
    code = "import os, time; open(os.environ['HERE'] + '/pid', 'w').write(str(os.getpid()))\n"

    def interrupt(sight: Sight) -> None:
        if (child.folder / "pid").exists() and (text := (child.folder / "pid").read_text()):
            pids.append(int(text))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_child(python(child, code + "time.sleep(60)"), interrupt, kept.append)
    assert kept[0].ended_by_parent == "interrupt"
    assert is_gone(pids[0])


def test_a_secret_split_over_two_writes_does_not_reach_the_log(child: Child) -> None:
    """A pipe cuts where it likes."""
    half = len(SECRET) // 2
    code = (
        "import sys, time\n"
        f"sys.stdout.write('x {SECRET[:half]}'); sys.stdout.flush(); time.sleep(0.3)\n"
        f"sys.stdout.write('{SECRET[half:]} y\\n')\n"
    )
    outcome = run(python(child, code))
    assert child.log.read_text() == "x [REDACTED] y\n"
    assert outcome.stdout == ("x [REDACTED] y",)


def test_a_child_reads_nothing_and_has_a_group_of_its_own(child: Child) -> None:
    """No question at a terminal can hang a run, and Ctrl-C reaches the parent alone."""
    code = "import os, sys; print(repr(sys.stdin.read()), os.getpgid(0) == os.getpid())"
    assert run(python(child, code)).stdout == ("'' True",)


def test_a_program_that_cannot_be_started_is_an_os_error(child: Child, tmp_path: Path) -> None:
    """Who asked for it names the trouble."""
    (tmp_path / "no-program").write_text("not executable")
    with pytest.raises(OSError, match="Permission denied"):
        run(replace(child, command=(str(tmp_path / "no-program"),)))


def test_kernel_kills_are_read_and_their_absence_is_zero(tmp_path: Path) -> None:
    """The counter is read without any rights; where there is none, none is counted."""
    vmstat = tmp_path / "vmstat"
    vmstat.write_text("nr_free_pages 7\noom_kill 5\n")
    assert oom_kills(vmstat) == 5
    assert oom_kills(tmp_path / "absent") == 0


@pytest.mark.parametrize("text", ["", "{", '{"phase": 1}', "\ud800".encode(errors="replace")])
def test_a_beat_that_cannot_be_read_is_none(tmp_path: Path, text: str | bytes) -> None:
    """A child's files are input like any other."""
    path = tmp_path / "beat.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    assert read_beat(path) is None
    assert read_beat(tmp_path / "absent.json") is None


def test_a_beat_is_read_as_it_was_written(tmp_path: Path) -> None:
    """The child's and the parent's idea of a heartbeat are one."""
    beat = Heartbeat(phase="train", done=3, total=300, loss_nats=1.5, tokens_per_s=10.0, beat=4)
    path = tmp_path / "beat.json"
    path.write_text(typed_json.dump(beat))
    assert read_beat(path) == beat


def test_no_memory_of_a_run_is_dumped(child: Child) -> None:
    """A core file would hold the token: of the child, and of the parent from then on."""
    resource.setrlimit(resource.RLIMIT_CORE, (4096, resource.getrlimit(resource.RLIMIT_CORE)[1]))

    code = "import resource; print(resource.getrlimit(resource.RLIMIT_CORE)[0])"
    assert run(python(child, code)).stdout == ("0",)

    assert resource.getrlimit(resource.RLIMIT_CORE)[0] == 0


def beats_twice(beat: Path, between: str) -> str:
    """Give a child that says where it is, does something, and says it again."""
    fields = {"phase": "train", "total": 9, "loss_nats": 0.0, "tokens_per_s": 0.0}
    first, second = (
        f"open({str(beat)!r}, 'w').write({json.dumps(fields | {'done': n, 'beat': n})!r})"
        for n in (1, 2)
    )
    return f"import time\n{first}\n{between}\n{second}"


def test_a_parent_that_is_stopped_calls_no_child_silent(child: Child, tmp_path: Path) -> None:
    """It has looked at nothing in the meantime, and says how long that was."""
    beat = tmp_path / "beat.json"
    code = beats_twice(beat, "time.sleep(2.6)")
    stops = iter([2.0])

    def stop(sight: Sight) -> None:
        if sight.beat is not None:
            time.sleep(next(stops, 0.0))

    record = run_child(replace(python(child, code), heartbeat=beat, silence_s=1.2), stop).record
    assert record.ended_by_parent == "no"
    assert 2.0 <= record.unwatched_s <= record.duration_s


def test_a_child_that_waits_for_its_own_log_does_not_stand_still(
    child: Child, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slow reader is m43's; a pipe takes 64 KiB, and then who prints has to wait."""

    def slowly(text: str, secrets: tuple[str, ...]) -> str:
        time.sleep(0.02)
        return text

    monkeypatch.setattr(log_writer, "redact", slowly)
    beat = tmp_path / "beat.json"
    code = beats_twice(beat, "for _ in range(260): print('x' * 1000, flush=True)")
    record = run(replace(python(child, code), heartbeat=beat, silence_s=1.0)).record
    assert record.ended_by_parent == "no"
    assert record.duration_s > 1.2


@pytest.mark.parametrize("refused", ["the guard", "the threads"])
def test_a_child_does_not_outlive_the_guard_that_could_not_be_started(
    child: Child, monkeypatch: pytest.MonkeyPatch, refused: str
) -> None:
    """Where few processes are allowed the child may have been the last of them."""
    begun: list[int] = []

    def fail(*words: object) -> None:
        begun.extend(word for word in words if isinstance(word, int))
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(process_module, "Reaper" if refused == "the guard" else "LogWriter", fail)
    slow = python(
        child, "import os, time; open('pid', 'w').write(str(os.getpid())); time.sleep(60)"
    )
    with pytest.raises(BlockingIOError):
        run(slow)
    pid = child.folder / "pid"
    assert not pid.exists() or is_gone(int(pid.read_text() or 0))
    assert all(is_gone(number) for number in begun)
