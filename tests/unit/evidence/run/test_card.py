"""What a child took of the card, added up by hand."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from m43.evidence.run import CardUse, card_use
from m43.evidence.run.loaded_run import LoadedRun, load_run
from m43.records.card_record import CardProcess, CardReading
from tests.unit.evidence.watched_run import (
    card_sample,
    readings,
    series,
    watched,
    write_watched_run,
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> LoadedRun:
    """A run on a card: 40 s at 30 W, 150 s of steps at 480 W, 10 s at 30 W."""
    return watched(tmp_path_factory.mktemp("card"))


def used(run: LoadedRun, lines: Sequence[CardReading]) -> CardUse:
    """Say what the training took by these looks."""
    use = card_use(replace(run, card=tuple(lines)), "train")
    assert use is not None
    return use


def sensed(lines: Sequence[CardReading], **values: object) -> list[CardReading]:
    """Say in every look that a sensor gave this."""
    return [replace(line, card=line.card and replace(line.card, **values)) for line in lines]


def test_energy_comes_from_the_counter(run: LoadedRun) -> None:
    """From the first look to the last; by token from the steps alone, over 300 x 4,000 tokens."""
    use = used(run, series())
    assert (use.looks, use.watched_s, use.energy_from) == (200, 199.0, "its energy counter")
    assert use.energy_j == pytest.approx(49 * 30 + 150 * 480)
    assert use.joules_per_token == pytest.approx(150 * 480 / 1_200_000)


def test_without_a_counter_the_power_is_integrated(run: LoadedRun) -> None:
    """By trapezia: the second of each change counts the mean of both."""
    use = used(run, sensed(series(), energy_mj=None))
    assert use.energy_from == "its power, integrated"
    assert use.energy_j == pytest.approx(48 * 30 + 149 * 480 + 2 * (30 + 480) / 2)
    rising = used(run, sensed(series()[:100], energy_mj=None))
    assert rising.energy_j == pytest.approx(39 * 30 + (30 + 480) / 2 + 59 * 480)


def test_evaluation_is_counted_by_itself(run: LoadedRun) -> None:
    """Its own looks, and the tokens that it generated."""
    use, evaluation = card_use(run, "eval"), run.evaluation
    assert use is not None
    assert evaluation is not None
    assert (use.looks, use.watched_s) == (30, 29.0)
    assert use.energy_j == pytest.approx(8 * 30 + 21 * 480)
    assert use.joules_per_token == pytest.approx(21 * 480 / evaluation.generated_tokens)


def test_means_are_of_the_looks_at_work_and_peaks_of_all(run: LoadedRun) -> None:
    """An idle card before the steps does not make them look economical."""
    use = used(run, series())
    assert (use.mean_power_w, use.peak_power_w, use.power_limit_w) == (480, 480, 575)
    assert use.utilisation_share == pytest.approx(0.97)
    assert (use.mean_sm_clock_mhz, use.sm_clock_max_mhz) == (2580, 3090)
    assert (use.peak_memory_bytes, use.highest_temperature_c) == (22 * 2**30, 71)


def test_a_reason_holds_until_the_next_look(run: LoadedRun) -> None:
    """Each by itself; an idle card and a clock that was asked for are not held down."""
    assert used(run, series()).throttled_s == {"power cap": 15.0}
    both = sensed(series(), throttle_reasons=("power cap", "hardware thermal slowdown", "idle"))
    held = {"power cap": 199.0, "hardware thermal slowdown": 199.0}
    assert used(run, both).throttled_s == held
    assert used(run, sensed(series(), throttle_reasons=("sync boost",))).throttled_s == {}
    assert used(run, sensed(series(), throttle_reasons=None)).throttled_s is None


def test_others_are_who_is_not_the_child(run: LoadedRun) -> None:
    """How many at once, and how much together, each at its most."""
    use = used(run, series())
    assert (use.others, use.others_peak_bytes) == (1, 900 * 2**20)
    own = CardProcess(pid=4242, memory_bytes=1)
    alone = used(run, sensed(series(), processes=(own,)))
    assert (alone.others, alone.others_peak_bytes) == (0, None)
    more = (own, CardProcess(pid=7, memory_bytes=5), CardProcess(pid=8, memory_bytes=None))
    assert used(run, sensed(series(), processes=more)).others_peak_bytes == 5
    assert used(run, sensed(series(), processes=more)).others == 2
    later = [*series()[:100], *sensed(series()[100:200], processes=more)]
    assert (used(run, later).others, used(run, later).others_peak_bytes) == (2, 900 * 2**20)


def test_in_a_container_others_cannot_be_told_apart(run: LoadedRun) -> None:
    """The child is not in the list by its number, so somebody in it may be the child."""
    use = used(run, sensed(series(), processes=(CardProcess(pid=99_999, memory_bytes=5),)))
    assert (use.others, use.others_peak_bytes) == (None, None)
    assert "as in a container" in use.not_told["processes"]
    assert used(run, sensed(series(), processes=())).others is None


def test_what_no_look_was_told_is_none_with_its_word(run: LoadedRun) -> None:
    """Also where the driver answers nothing at all but is there."""
    silent: dict[str, object] = {
        name: None for name in vars(card_sample()) if name not in ("chosen_by", "under", "not_told")
    }
    lost = dict.fromkeys(silent, "GPU is lost")
    use = used(run, sensed(series(), **silent, not_told=lost))
    assert use.energy_j is use.peak_power_w is use.throttled_s is use.others is use.name is None
    assert use.not_told["power_mw"] == "GPU is lost"
    assert use.missed == ("200 times: GPU is lost",)


def test_a_card_that_was_lost_keeps_what_it_told(run: LoadedRun) -> None:
    """Until then it counted; from then on it is missing, and that is said."""
    lines = list(readings())
    gone = {
        name: None for name in vars(card_sample()) if name not in ("chosen_by", "under", "not_told")
    }
    lost = sensed(lines[100:], **gone, not_told=dict.fromkeys(gone, "GPU is lost"))
    use = used(run, [*lines[:100], *lost])
    assert use.energy_j == pytest.approx(40 * 30 + 59 * 480)
    assert (use.missed, use.not_told) == (("100 times: GPU is lost",), {})


def test_gaps_are_told_by_their_reason(run: LoadedRun) -> None:
    """Once each, with how often."""
    first, second, *_ = readings()
    gaps = [replace(second, card=None, gap="no answer from the driver for 5 s")] * 2
    assert used(run, [first, *gaps]).missed == ("2 times: no answer from the driver for 5 s",)
    use = used(run, [replace(first, card=None, gap="Driver Not Loaded")])
    assert (use.looks, use.missed, use.energy_j) == (0, ("Driver Not Loaded",), None)


def test_where_nobody_looked_there_is_nothing(run: LoadedRun) -> None:
    """As beside a run on a CPU."""
    assert card_use(replace(run, card=()), "train") is None


def test_a_cut_line_ends_the_series(tmp_path: Path) -> None:
    """A kill leaves one; what stands before it is read."""
    folder = write_watched_run(tmp_path)
    text = folder.gpu_metrics.read_text()
    folder.gpu_metrics.write_text(text[:-40])
    loaded = load_run(folder)
    assert (len(loaded.card), loaded.card_cut) == (229, True)
