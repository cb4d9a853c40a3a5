"""The report shows speed and memory beside what the plan said, and nothing where nothing was."""

import html
import re
from dataclasses import replace
from pathlib import Path

import pytest

from m43.evidence.documents.nodes import Fields
from m43.evidence.documents.performance import memory, speed
from m43.evidence.run.loaded_run import LoadedRun, load_run
from m43.evidence.run.speed import performance
from m43.text import size_words
from tests.unit.evidence.documents.written import as_html
from tests.unit.evidence.good_run import stop_at, write_good_run
from tests.unit.evidence.left_behind import nothing


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> LoadedRun:
    """A good run, read."""
    return load_run(write_good_run(tmp_path_factory.mktemp("performance")))


def words(page: str) -> str:
    """Give what can be read of a page."""
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page)).split())


def test_speed_is_shown_with_its_share_of_the_peak(good: LoadedRun) -> None:
    """By hand: 400 real, 60 supervised and 1,536 computed tokens in 0.1 s, each step."""
    text = words(as_html(*speed(Fields(good))))

    assert "real tokens per second 4,000 training_metrics.jsonl" in text
    assert "supervised tokens per second 600" in text
    assert "padded tokens per second 15,360" in text
    assert good.plan is not None
    assert good.train is not None
    found = performance(good.plan, good.train)
    assert found is not None
    assert f"share of the device's peak FLOP/s {100 * found.share_of_peak:.1f} %" in text


def test_memory_is_shown_predicted_and_measured(good: LoadedRun) -> None:
    """Side by side, with how far off the prediction was."""
    text = words(as_html(*memory(good)))

    assert good.plan is not None
    assert f"predicted before a weight was read {size_words(good.plan.peak_bytes)}" in text
    assert f"measured against predicted {100 * (1e9 / good.plan.peak_bytes - 1):+.0f} %" in text
    assert "training process, host memory 953.7 MiB 6.2 % of 14.90 GiB train.process.json" in text


def test_what_was_not_measured_is_not_shown(good: LoadedRun, tmp_path: Path) -> None:
    """A run that ended at the first gate has no speed; one without a plan has no prediction."""
    stopped = load_run(stop_at(tmp_path, "auth", nothing, failure_class="no token"))

    assert memory(stopped) == []
    assert "predicted" not in as_html(*memory(replace(good, plan=None)))
