"""The report in a real browser: nothing leaves, nothing is lost, everybody can read it."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, Route

from tests.browser.conftest import SCREENSHOTS

DESKTOP, PHONE = (1280, 900), (390, 844)
OPEN_ALL = "document.querySelectorAll('details').forEach(each => { each.open = true })"


@dataclass(kw_only=True)
class Look:
    """A page, and what it did while somebody looked at it."""

    page: Page
    said: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)


@pytest.fixture
def look(browser: Browser) -> Iterator["Looker"]:
    """Give what opens pages."""
    looker = Looker(browser)
    yield looker
    looker.close()


class Looker:
    """Opens pages in contexts of their own; whatever they ask for beside themselves is refused."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self._contexts: list[object] = []

    def __call__(
        self,
        report: Path,
        size: tuple[int, int] = DESKTOP,
        scheme: str = "light",
        script: bool = True,
    ) -> Look:
        """Open a report."""
        width, height = size
        context = self._browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme=scheme,  # type: ignore[arg-type]
            java_script_enabled=script,
            reduced_motion="reduce",
        )
        self._contexts.append(context)
        look = Look(page=context.new_page())
        address = report.as_uri()

        def answer(route: Route) -> None:
            look.asked.append(route.request.url)
            if route.request.url.split("#")[0] == address:
                route.continue_()
            else:
                route.abort()

        context.route("**/*", answer)
        look.page.on("console", lambda message: look.said.append(message.text))
        look.page.on("pageerror", lambda error: look.said.append(str(error)))
        look.page.goto(address)
        return look

    def close(self) -> None:
        """Close every context."""
        for context in self._contexts:
            context.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_it_opens_quietly_asks_for_nothing_and_everybody_can_read_it(
    report: Path, look: Looker, size: tuple[int, int], scheme: str
) -> None:
    """No word in the console, no request but for itself, no serious violation for axe-core."""
    seen = look(report, size, scheme)
    page = seen.page
    SCREENSHOTS.mkdir(exist_ok=True)
    picture = SCREENSHOTS / f"{report.parent.name}-{size[0]}-{scheme}.png"
    page.screenshot(path=picture)

    page.evaluate(OPEN_ALL)
    found = Axe().run(page).response["violations"]

    serious = [
        (each["id"], each["nodes"][0]["html"])
        for each in found
        if each["impact"] in ("serious", "critical")
    ]
    assert serious == []
    assert seen.said == []
    assert seen.asked == [report.as_uri()]
    assert page.evaluate("document.documentElement.scrollWidth") == size[0]
    assert picture.stat().st_size > 10_000


def test_the_policy_is_in_force(accepted: Path, look: Looker) -> None:
    """Markup that slipped in could neither run nor call: both are refused, and said."""
    seen = look(accepted)
    before = len(seen.asked)

    seen.page.evaluate(
        """document.body.insertAdjacentHTML("beforeend",
        '<img src="https://example.org/a.png" onerror="document.title = 1">')"""
    )
    seen.page.wait_for_timeout(300)

    assert len(seen.asked) == before
    assert any("Content Security Policy" in line for line in seen.said)
    assert seen.page.title().startswith("m43 rehearsal")


def test_every_row_is_reached_with_the_keyboard_alone(accepted: Path, look: Looker) -> None:
    """Tab goes through the page, Enter unfolds a group: a hundred rows have had the focus."""
    page = look(accepted).page
    focused = set()
    for _ in range(600):
        page.keyboard.press("Tab")
        name, folded, anchor = page.evaluate(
            """(() => { const it = document.activeElement;
            return [it.tagName, it.parentElement?.open === false, it.id] })()"""
        )
        if name == "SUMMARY" and folded:
            page.keyboard.press("Enter")
        if name == "BODY":
            break
        focused.add(anchor)

    assert len({anchor for anchor in focused if anchor.startswith("row-")}) == 100


def test_the_filter_shows_what_was_asked_for_and_everything_again(
    accepted: Path, look: Looker
) -> None:
    """Words and kinds narrow the rows down, the count says how far, one button undoes it."""
    page = look(accepted).page
    shown = "document.querySelectorAll('.rows tbody tr:not([hidden])').length"

    page.select_option("select[name=difficulty]", "hard")
    hard = page.evaluate(shown)
    name = page.locator(".rows tbody tr:not([hidden]) a").first.inner_text()
    page.fill("input[name=words]", name.upper())

    assert 100 > hard > 1
    assert page.evaluate(shown) == 1
    assert page.inner_text("output") == "1 of 100 rows"
    page.click("button[type=reset]")
    page.wait_for_function(f"{shown} === 100")
    assert page.inner_text("output") == "100 rows"


def test_a_link_to_a_row_opens_its_group(accepted: Path, look: Looker) -> None:
    """Somebody who was sent the link sees the row."""
    page = look(accepted).page
    folded = page.locator(".rows details:not([open]) tbody a").first.get_attribute("href")

    page.evaluate(f"location.hash = '{folded}'")

    page.wait_for_selector(f"[id='{str(folded)[1:]}']", state="visible")


def test_without_javascript_nothing_that_matters_is_missing(report: Path, look: Looker) -> None:
    """Verdict, gates, promises and rows are there; what unfolds does, and no dead control shows."""
    page = look(report, script=False).page

    assert page.locator("h1").is_visible()
    assert page.locator(".gates tbody tr").count() == 5
    assert page.locator(".promises tbody tr").count() >= 34
    assert page.locator("form.filter").count() == 0
    groups = page.locator(".rows details")
    for place in range(groups.count()):
        if groups.nth(place).get_attribute("open") is None:
            groups.nth(place).locator("summary").click()
    rows = page.locator(".rows tbody tr")
    assert all(rows.nth(place).is_visible() for place in range(rows.count()))


def test_on_paper_everything_is_unfolded(accepted: Path, look: Looker) -> None:
    """A printed report has all rows, and no controls."""
    page = look(accepted, scheme="dark").page
    page.emulate_media(media="print")

    # A folded row has a height all the same; whether it is painted is another question.
    printed = page.evaluate(
        "[...document.querySelectorAll('.rows tbody tr')].map(row => row.checkVisibility())"
    )
    assert printed == [True] * 100
    assert page.locator("form.filter:visible, nav:visible").count() == 0
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"


def test_it_is_small(report: Path) -> None:
    """Two megabytes at most, all pictures included."""
    assert report.stat().st_size < 2_000_000
