"""The card in the documents: what its driver counted, and by name what it did not tell."""

import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import pytest

from m43.evidence.contract.contract import read_contract
from m43.evidence.documents.charts import card_pictures, draw
from m43.evidence.documents.failure import resources_then
from m43.evidence.documents.performance import card, card_in_short, last_look
from m43.evidence.documents.report import report_html
from m43.evidence.documents.summary import render_summary, summary_template
from m43.evidence.run import compare
from m43.evidence.run.loaded_run import LoadedRun, complete, load_run
from m43.records.run_dir import RunDir
from tests.unit.evidence.documents.written import as_markdown
from tests.unit.evidence.good_records import CONTRACT, profile_of
from tests.unit.evidence.good_run import write_good_run
from tests.unit.evidence.on_a_card import production
from tests.unit.evidence.watched_run import readings, series, write_watched_run

WSL = dict.fromkeys(("energy_mj", "processes", "throttle_reasons"), "Not Supported")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    """A run on a card."""
    return write_watched_run(tmp_path_factory.mktemp("documents"))


@pytest.fixture(scope="module")
def run(folder: RunDir) -> LoadedRun:
    """The same, read."""
    return load_run(folder)


def under_wsl(run: LoadedRun) -> LoadedRun:
    """The same run where the driver tells less."""
    silent = dict.fromkeys(WSL)
    lines = (
        replace(line, card=line.card and replace(line.card, under="WSL2", not_told=WSL, **silent))
        for line in run.card
    )
    return replace(run, card=tuple(lines))


def unwatched(run: LoadedRun) -> LoadedRun:
    """The same run without a library to ask."""
    gaps = (
        replace(next(readings(child)), card=None, gap="NVML Shared Library Not Found")
        for child in ("train", "eval")
    )
    return replace(run, card=tuple(gaps))


def test_each_child_has_its_column(run: LoadedRun) -> None:
    """Energy with its source, power against the limit, time held down and why, and others."""
    text = as_markdown(*card(run))
    for row in (
        "| energy | 20.41 Wh, by its energy counter | 2.87 Wh, by its energy counter |",
        "| energy by token | 0.06 J |",
        "| power | 480 W at work, 480 W at the peak of at most 575 W |",
        "| utilisation at work, mean | 97 % | 97 % |",
        "| clock held down | 15.0 s by power cap | 2.0 s by power cap |",
        "| memory at the peak, of everybody | 22.00 GiB of 31.84 GiB |",
        "| other processes on the card | 1 at once, 900.0 MiB |",
    ):
        assert row in text
    assert "gpu_metrics.jsonl" in text


def test_what_the_driver_does_not_tell_is_said_by_name(run: LoadedRun) -> None:
    """With NVML's word and where that is usual; energy then comes from the power."""
    text = as_markdown(*card(under_wsl(run)))
    assert "| other processes on the card | not told (Not Supported, under WSL2) |" in text
    assert "| clock held down | not told (Not Supported, under WSL2) |" in text
    assert "Wh, by its power, integrated" in text


def test_no_look_is_told_with_its_reason(run: LoadedRun) -> None:
    """In the section and in the summary's first lines."""
    words = "NVML Shared Library Not Found (gpu_metrics.jsonl)."
    told = unwatched(run)
    assert as_markdown(*card(told)).splitlines()[0] == (
        f"Beside training the card is not told: {words}"
    )
    assert card_in_short(told) == f"What the card did is not told by its driver: {words}"
    assert "nobody looked" in card_in_short(replace(run, card=()))


def test_the_summary_of_a_run_on_a_card_tells_of_it(run: LoadedRun) -> None:
    """Above all the energy, in short; a run on a CPU has no such section."""
    facts = complete(run)
    assert facts is not None
    text = render_summary(facts)
    assert "- The card in training, by its driver: 20.41 Wh, by its energy counter; 480 W" in text
    assert "## The card\n" in text
    template = summary_template(production(), read_contract(CONTRACT))
    assert "## The card\n" in template
    assert "{card.train.energy_j}" in template
    assert "## The card\n" not in summary_template(profile_of(), read_contract(CONTRACT))


def test_the_report_draws_power_and_use(folder: RunDir, run: LoadedRun, tmp_path: Path) -> None:
    """Under the loss and the learning rate; a run on a CPU is as before."""
    page = report_html(folder, "m43", "", run)
    order = [page.index(f"curve-{name}-title") for name in ("rate", "power", "use", "norm")]
    assert order == sorted(order)
    assert "the card drew in training" in page
    assert "20.41 Wh" in page
    good = write_good_run(tmp_path)
    assert "curve-power" not in good.report.read_text(encoding="utf-8")
    assert "The card in training" not in good.report.read_text(encoding="utf-8")


def test_a_picture_of_the_card_says_what_it_shows() -> None:
    """In words, for who cannot see it; its axis is time, not steps."""
    power, use = card_pictures(series())
    assert power.description == (
        "Power of the card, W, in 200 looks from 0 to 199 s, lowest 30, highest 480, median 480."
    )
    assert (use.unit, use.lines[0].values[100]) == ("% of the time", 97)
    texts = [each.text for each in ET.fromstring(draw(power)).iter("text")]
    assert "second of the training process" in texts
    assert "optimizer step" not in texts


def test_a_long_series_is_drawn_as_means() -> None:
    """Six hundred points are enough; the mean of a part stands for it."""
    (power, _) = card_pictures(tuple(readings(lasting_s=1300)))
    assert len(power.lines[0].values) == 434
    assert power.lines[0].steps[:3] == (0, 3, 6)
    assert power.lines[0].values[13] == pytest.approx((30 + 2 * 480) / 3)


def test_what_is_not_told_is_not_drawn() -> None:
    """A driver that tells no power has a picture less."""
    silent = [
        replace(line, card=line.card and replace(line.card, power_mw=None)) for line in series()
    ]
    (only,) = card_pictures(silent)
    assert only.title == "Utilisation of the card"
    assert list(card_pictures([replace(line, card=None) for line in series()])) == []


def test_a_failed_run_says_how_the_card_was_last(run: LoadedRun) -> None:
    """Memory, power, heat, what held it down, and what it did not answer any more."""
    words = "The card at the last look, after 3 min 19 s: 22.00 GiB in use, 30 W, 35 \u00b0C "
    assert last_look(run, "train").startswith(words)
    assert words in as_markdown(resources_then(run))
    lost = replace(
        next(readings()),
        card=replace(
            next(iter(under_wsl(run).card)).card,  # type: ignore[type-var]
            **dict.fromkeys(("power_mw", "memory_used_bytes", "temperature_c")),
            not_told={"power_mw": "GPU is lost", "temperature_c": "GPU is lost"},
        ),
    )
    told = last_look(replace(run, card=(lost,)), "train")
    assert (
        told == "The card at the last look, after 0.0 s: not told: GPU is lost (gpu_metrics.jsonl)."
    )
    assert last_look(replace(run, card=()), "train") == ""


def test_two_runs_are_compared_by_their_energy(run: LoadedRun) -> None:
    """Where both have it; absent where one has not."""
    pairs = {pair.what: pair for pair in compare(run, replace(run, card=())).overview}
    pair = pairs["energy of the training"]
    assert (pair.one, pair.other) == ("20.41 Wh, by its energy counter", "absent")
