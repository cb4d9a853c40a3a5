"""The report can be read without JavaScript, calls nowhere, and nothing from outside is markup."""

import base64
import hashlib
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from m43 import typed_json
from m43.evidence.contract.contract import read_contract
from m43.evidence.documents.report import report_html
from m43.records.hub_record import HubResponse
from m43.records.run_dir import RunDir, write_record
from m43.rows import scoring
from tests.unit.evidence.good_records import CONTRACT, auth_record, predictions
from tests.unit.evidence.good_run import (
    break_gate,
    stop_at,
    write_gate_files,
    write_good_run,
    write_opening,
)

STYLE = Path(__file__).resolve().parents[4] / "m43" / "evidence" / "documents" / "report.css"


class Words(HTMLParser):
    """Collects tags, attributes and text; style and script are none."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a tag."""
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        """Note text."""
        if self.tags and self.tags[-1] not in ("style", "script"):
            self.text.append(data)

    def values(self, *names: str) -> list[str]:
        """Give the values of attributes."""
        return [value for _, name, value in self.attributes if name in names]


def page_of(run: RunDir) -> str:
    """Write the page of a run."""
    return report_html(run, f"m43 {run.path.name}", "<p>34 tests took 1 s.</p>")


def words(page: str) -> Words:
    """Parse a page."""
    parser = Words()
    parser.feed(page)
    return parser


def no_token(run: RunDir) -> None:
    """Leave what the auth gate leaves that finds no token."""
    changes = {"token_source": "absent", "responses": (), "files": (), "revision": ""}
    write_record(run.auth, auth_record(run.read_profile(), **changes))


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    """A run folder that nobody changes."""
    return write_good_run(tmp_path_factory.mktemp("report"))


@pytest.fixture(scope="module")
def good_page(good: RunDir) -> str:
    """The page of an accepted run."""
    return page_of(good)


def test_an_accepted_run_shows_the_verdict_first_and_then_everything(good_page: str) -> None:
    """All that matters stands in plain HTML, in the order in which a reader asks."""
    text = " ".join(words(good_page).text)
    order = (
        "REHEARSAL",
        "ACCEPTED (rehearsal)",
        f"All {len(read_contract(CONTRACT).names)} promises were kept",
        "2 right before training, 60 after",
        *("1 of 4: auth", "2 of 4: venv", "3 of 4: train-300", "4 of 4: eval", "closing check"),
        "Loss of the training",
        "From the first entry of the journal to the last",
        "training process, host memory",
        "exact McNemar p = 6.94e-18",
        "section: core",
        "Wrong before and after (40)",
        "train.optimizer_steps",
        "No package was installed",
        "python -m m43 verify submission_runs/rehearsal-1",
        "34 tests took 1 s.",
    )
    places = [text.index(each, text.index("REHEARSAL")) for each in order]
    assert places == sorted(places)
    assert "STOPPED" not in text
    assert "NOT RUN" not in text
    assert words(good_page).tags.count("figure") == 4


def test_code_is_marked_as_such(good_page: str, tmp_path: Path) -> None:
    """The documents' backticks are Markdown; on a page they would only look like a mistake."""
    failed = page_of(stop_at(tmp_path, "auth", no_token, failure_class="no token"))
    for page in (good_page, failed):
        body = page.partition("<body>")[2].partition("<script>")[0]
        assert "`" not in body


def test_every_row_can_be_reached_with_the_keyboard(good_page: str) -> None:
    """A row is a link to itself: it takes the focus, and can be pointed out to somebody."""
    links = set(words(good_page).values("href"))

    assert {f"#row-{row.id}" for row in predictions()} <= links


def test_a_failed_run_shows_reason_and_actions_first(tmp_path: Path) -> None:
    """A person sees what failed and what to do before anything else; later gates are NOT RUN."""
    page = page_of(stop_at(tmp_path, "auth", no_token, failure_class="no token"))

    text = " ".join(words(page).text)
    order = (
        "NOT ACCEPTED (rehearsal)",
        "no token",
        "Next actions for a person",
        "export HF_TOKEN",
        "Why, as far as it is known",
        "Expected against observed",
        "1 of 4: auth",
    )
    contents = text.index("Next actions for a person")
    places = [text.index(each, text.index("NOT ACCEPTED")) for each in order[:2]]
    places += [text.index(each, contents + 1) for each in order[2:4]]
    places += [text.index(each, places[-1]) for each in order[4:]]
    assert places == sorted(places)
    assert "<code>export HF_TOKEN=…</code>" in page
    assert '<a href="https://huggingface.co/settings/tokens">' in page
    gates = text[places[-1] : text.index("Environment and provenance", places[-1])]
    # What a run changed is measured also when it ended early.
    assert gates.count("NOT RUN") == 3
    assert re.search(r"closing check\W+", gates)
    assert gates.count("STOPPED") == 1


def test_a_broken_promise_stands_with_what_was_expected(tmp_path: Path) -> None:
    """Clause, measurement and the text of the assertion are in the analysis."""
    run = break_gate(tmp_path, "closing", "test_closing_finds_the_environment_unchanged")

    text = " ".join(words(page_of(run)).text)

    analysis = text[: text.index("1 of 4: auth")]
    assert "Promises of gate closing, with what was measured" in analysis
    assert "No package was installed, upgraded or removed during the run." in analysis
    assert "assert closing.packages_sha256 == venv.packages_sha256" in analysis


def test_a_running_run_is_not_called_anything_else(tmp_path: Path) -> None:
    """The page that is written while the run is on says that there is no closing record yet."""
    run = RunDir.create(tmp_path / "m43_v1")
    write_opening(run, "production").append("gate_opened", gate="auth")

    text = " ".join(words(page_of(run)).text)

    assert "no closing record yet" in text
    assert "running, or ended from outside" in text
    assert "REHEARSAL" not in text


def test_a_gate_is_kept_only_when_its_promises_are(tmp_path: Path) -> None:
    """A gate that ended and was not judged is measured, not kept."""
    run = RunDir.create(tmp_path / "rehearsal-1")
    journal = write_opening(run)
    journal.append("gate_opened", gate="auth")
    write_gate_files(run, "auth")
    journal.append("gate_closed", gate="auth")

    text = " ".join(" ".join(words(page_of(run)).text).split())

    assert re.search(r"1 of 4: auth [^○]* ○ measured 0 of 9", text)


Make = Callable[[Path], RunDir]


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(write_good_run, id="accepted"),
        pytest.param(lambda path: stop_at(path, "auth", no_token), id="stopped"),
        pytest.param(
            lambda path: break_gate(path, "eval", "test_eval_scores_every_row"), id="broken"
        ),
    ],
)
def test_the_page_is_well_formed_and_leads_only_to_what_is_there(
    tmp_path: Path, make: Make
) -> None:
    """Every tag is closed, every id is there once, every link and every label has its end."""
    run = make(tmp_path)
    page = page_of(run)
    (run.path / "report.html").write_text(page, encoding="utf-8")
    for name in ("junit.xml", "reports.sha256"):
        (run.path / name).touch()

    body = re.sub(r"<(style|script)>.*?</\1>", "", page.split("\n", 1)[1], flags=re.DOTALL)
    ET.fromstring(body)
    found = words(page)
    ids = found.values("id")
    assert len(ids) == len(set(ids))
    labels = {each for value in found.values("aria-labelledby") for each in value.split()}
    assert labels <= set(ids)
    targets = [value for value in found.values("href") if not value.startswith("https://")]
    assert {value[1:] for value in targets if value.startswith("#")} <= set(ids)
    files = [value for value in targets if not value.startswith(("#", "data:"))]
    assert files
    assert all((run.path / name).is_file() for name in files)


def test_the_policy_allows_this_style_and_this_script_alone(good_page: str) -> None:
    """Their digests stand in it; nothing inline beside them, and nothing is fetched."""
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', good_page)
    policy = policy.replace("&#x27;", "'")
    for tag in ("style", "script"):
        (text,) = re.findall(f"<{tag}>(.*?)</{tag}>", good_page, flags=re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    found = words(good_page)
    assert not [name for _, name, _ in found.attributes if name == "style" or name.startswith("on")]
    assert not found.values("src", "srcset", "action", "xlink:href")


@pytest.mark.parametrize("hostile", ["<script>alert(1)</script>", "`<img src=x onerror=y>`"])
def test_what_the_hub_says_is_escaped(tmp_path: Path, hostile: str) -> None:
    """An account, an endpoint or an error cannot put a tag into the page."""

    def write(run: RunDir) -> None:
        response = HubResponse(step="auth_check", status=403, error=f"GatedRepoError: {hostile}")
        changes = {"responses": (response,), "account": hostile, "endpoint": hostile}
        write_record(run.auth, auth_record(run.read_profile(), **changes))

    stopped = {"failure_class": "licence not accepted", "detail": hostile}
    page = page_of(stop_at(tmp_path, "auth", write, **stopped))

    found = words(page)
    assert "img" not in found.tags
    assert found.tags.count("script") == 1
    assert not [name for _, name, _ in found.attributes if name.startswith("on")]
    assert "alert(1)" in page or "onerror" in page


def test_a_hundred_rows_of_anything_fit_into_two_megabytes(tmp_path: Path) -> None:
    """A model may write 100,000 characters that each take six when they are escaped."""
    run = write_good_run(tmp_path)
    endless = '"' * 100_000
    rows = tuple(
        replace(row, prompt='"' * 1500, tuned_output=endless, base_output=endless)
        for row in predictions()
    )
    rows = tuple(replace(row, tuned_answer='"' * 3000, base_answer='"' * 3000) for row in rows)
    run.predictions.write_text("".join(typed_json.dump_line(row) for row in rows))
    write_record(run.results, scoring.tally(rows))

    page = page_of(run)

    assert page.count("cut here: 100,000 characters, all of them in predictions.jsonl") >= 200
    assert len(page.encode()) < 2_000_000


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


def test_every_colour_of_text_can_be_read_in_both_schemes_and_on_paper() -> None:
    """At least 4.5 to 1 on page and card (WCAG AA); 3 to 1 for the lines of the curves."""
    style = STYLE.read_text(encoding="utf-8")
    light, dark, paper = (
        dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", block))
        for block in re.findall(r":root \{([^}]*)\}", style)
    )
    for colours in (light, light | dark, light | dark | paper):
        grounds = (colours["paper"], colours["card"])
        text = [colours[name] for name in ("ink", "muted", "good", "bad", "accent")]
        lines = [colours[name] for name in ("strong-a", "strong-b")]
        assert min(contrast(each, ground) for each in text for ground in grounds) >= 4.5
        assert min(contrast(each, colours["paper"]) for each in lines) >= 3
