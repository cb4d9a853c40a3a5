"""The report's summary can be read without JavaScript, and nothing from outside is markup."""

import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path

import pytest

from m43.evidence.report import summary_html
from m43.records import HubResponse
from m43.run_dir import RunDir, write_record
from tests.unit.evidence.good_records import auth_record
from tests.unit.evidence.good_run import stop_at, write_gate_files, write_good_run, write_opening


class Words(HTMLParser):
    """Collects tags and text."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        """Note a tag."""
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        """Note text."""
        self.text.append(data)


def words(page: str) -> Words:
    """Parse a page."""
    parser = Words()
    parser.feed(page)
    return parser


def test_an_accepted_run_shows_verdict_gates_curve_and_scores(tmp_path: Path) -> None:
    """All that matters stands in plain HTML, the curve inline."""
    page = summary_html(write_good_run(tmp_path))

    text = " ".join(words(page).text)
    assert "ACCEPTED (rehearsal)" in text
    assert "REHEARSAL" in text
    assert [text.index(f"{n} of 4: ") for n in (1, 2, 3, 4)] == sorted(
        text.index(f"{n} of 4: ") for n in (1, 2, 3, 4)
    )
    assert "STOPPED" not in text
    assert "NOT RUN" not in text
    assert "svg" in words(page).tags
    assert "script" not in words(page).tags
    assert "<!DOCTYPE" not in page
    assert "section: core" in text
    assert "train.optimizer_steps" in text


def luminance(colour: str) -> float:
    """Give the relative luminance of #rrggbb, as WCAG 2.2 defines it."""
    parts = (int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5))
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    """Give the contrast ratio of two colours, as WCAG 2.2 defines it."""
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def test_every_colour_of_text_can_be_read_in_both_schemes(tmp_path: Path) -> None:
    """At least 4.5 to 1 on its paper (WCAG AA); pytest-html's own #999 on white has 2.8."""
    page = summary_html(write_good_run(tmp_path))
    light, dark = (
        dict(re.findall(r"--(\w+): (#[0-9a-f]{6});", block))
        for block in re.findall(r"\.m43 \{ (--ink[^}]*)\}", page)
    )
    outside = re.findall(r"(?<!\.m43 \{ )color: (#[0-9a-f]{6});", page)

    assert contrast("#999999", "#ffffff") < 3
    assert len(outside) == 4
    assert all(contrast(colour, "#ffffff") >= 4.5 for colour in outside)
    assert len(light) == len(dark) == 5
    for scheme in (light, dark):
        for name in ("ink", "good", "bad"):
            assert contrast(scheme[name], scheme["paper"]) >= 4.5


def test_an_accepted_run_shows_every_row_and_what_changed(tmp_path: Path) -> None:
    """The test, the intervals, the overlap, and a hundred rows that fold."""
    page = summary_html(write_good_run(tmp_path))

    text = " ".join(words(page).text)
    assert "exact McNemar p = 6.94e-18" in text
    assert "50.2 to 69.1 %" in text
    assert "template: not in training" in text
    assert words(page).tags.count("details") == 4
    assert len(set(re.findall(r"<code>(eval-v2-\d+)</code>", page))) == 100


def test_the_summary_is_well_formed(tmp_path: Path) -> None:
    """Every tag is closed, so that it cannot swallow the rest of the page."""
    page = summary_html(write_good_run(tmp_path))

    ET.fromstring(page.replace("<br>", "<br/>"))


def test_a_failed_run_shows_class_and_actions_first(tmp_path: Path) -> None:
    """A person sees what failed and what to do before anything else; later gates are NOT RUN."""

    def write(run: RunDir) -> None:
        changes = {"token_source": "absent", "responses": (), "files": (), "revision": ""}
        write_record(run.auth, auth_record(run.read_profile(), **changes))

    page = summary_html(stop_at(tmp_path, "auth", write, failure_class="no token"))

    text = " ".join(words(page).text)
    assert text.index("no token") < text.index("export HF_TOKEN") < text.index("1 of 4: auth")
    assert "<code>export HF_TOKEN=…</code>" in page
    assert text.count("NOT RUN") == 4
    assert text.count("STOPPED") == 1


def test_a_running_run_is_not_called_anything_else(tmp_path: Path) -> None:
    """The page that is written while the run is on says that there is no closing record yet."""
    run = RunDir.create(tmp_path / "m43_v1")
    write_opening(run, "production").append("gate_opened", gate="auth")

    text = " ".join(words(summary_html(run)).text)

    assert "no closing record yet" in text
    assert "running, or ended from outside" in text
    assert "REHEARSAL" not in text


@pytest.mark.parametrize("hostile", ["<script>alert(1)</script>", "`<img src=x onerror=y>`"])
def test_what_the_hub_says_is_escaped(tmp_path: Path, hostile: str) -> None:
    """An account, an endpoint or an error cannot put a tag into the page."""

    def write(run: RunDir) -> None:
        response = HubResponse(step="auth_check", status=403, error=f"GatedRepoError: {hostile}")
        changes = {"responses": (response,), "account": hostile, "endpoint": hostile}
        write_record(run.auth, auth_record(run.read_profile(), **changes))

    stopped = {"failure_class": "licence not accepted", "detail": hostile}
    page = summary_html(stop_at(tmp_path, "auth", write, **stopped))

    assert not {"script", "img"} & set(words(page).tags)
    assert "alert(1)" in page or "onerror" in page


def test_a_gate_is_kept_only_when_its_promises_are(tmp_path: Path) -> None:
    """A gate that ended and was not judged is measured, not kept."""
    run = RunDir.create(tmp_path / "rehearsal-1")
    journal = write_opening(run)
    journal.append("gate_opened", gate="auth")
    write_gate_files(run, "auth")
    journal.append("gate_closed", gate="auth")

    assert '<td>1 of 4: auth</td><td><span class="bad">measured</span></td>' in summary_html(run)
