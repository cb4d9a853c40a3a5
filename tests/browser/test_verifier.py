"""The verifier's page in a real browser: the same answers as verify's, and nothing leaves."""

import functools
import http.server
import os
import shutil
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, FileChooser, Page, Route

from m43.evidence.run import load_run
from m43.evidence.verify import Findings, examine, write_bundle
from m43.records import RunDir
from m43.text import visible
from tests.browser.conftest import REPOSITORY, SCREENSHOTS
from tools.verifier.__main__ import MOST_BYTES, build, fetch

EXAMPLE = REPOSITORY / "submission_runs" / "example_rehearsal"
ANSWER_MS = 240_000
# Bytes that change, are gone, are more, or lie under another name: one file for each.
DAMAGES = ("truncate", "flip", "delete", "append", "swap", "unknown", "rename")


class _Files(http.server.SimpleHTTPRequestHandler):
    """Serves the folder as `python -m http.server` does, without a word."""

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the folder."""
    folder = tmp_path_factory.mktemp("site") / "verifier"
    assert build(folder, fetch(REPOSITORY / ".verifier-cache")) <= MOST_BYTES
    return folder


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    """Serve it."""
    handler = functools.partial(_Files, directory=str(site))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


@dataclass(kw_only=True)
class Seen:
    """The page, what it asked for, and what it said in the console."""

    page: Page
    asked: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    def verify(self, folder: Path) -> None:
        """Choose a folder, and wait for what is said of it."""
        self.page.evaluate("document.getElementById('answer').hidden = true")
        self.page.set_input_files("#files", folder)
        self.page.wait_for_selector("#answer:not([hidden])", timeout=ANSWER_MS)
        self.page.wait_for_selector("#pick:enabled", timeout=ANSWER_MS)

    @property
    def head(self) -> str:
        """What the verdict says first."""
        return self.page.inner_text("#verdict h2")

    @property
    def problems(self) -> list[list[str]]:
        """The four parts of each problem shown, as text."""
        lists = self.page.locator(".problem")
        return [lists.nth(n).locator("dd").all_inner_texts() for n in range(lists.count())]


@pytest.fixture(scope="module")
def seen(browser: Browser, address: str) -> Iterator[Seen]:
    """Open the page once: Python is started once."""
    yield from _open(browser, address)


def _open(browser: Browser, address: str) -> Iterator[Seen]:
    context = browser.new_context(reduced_motion="reduce")
    seen = Seen(page=context.new_page())

    def answer(route: Route) -> None:
        seen.asked.append(route.request.url)
        route.continue_()

    context.route("**/*", answer)
    seen.page.on("console", lambda message: seen.said.append(message.text))
    seen.page.on("pageerror", lambda error: seen.said.append(str(error)))
    seen.page.goto(address)
    yield seen
    context.close()


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A copy of the example, to be changed."""
    return Path(shutil.copytree(EXAMPLE, tmp_path / EXAMPLE.name))


def expected(run: Path) -> Findings:
    """What m43 says of a folder outside the browser."""
    return examine(run, REPOSITORY, without_weights=True)


def shown(found: Findings, run: Path) -> list[list[str]]:
    """Write the problems as the page lays them out, paths from the folder on."""
    parts = (
        [each.where, each.found, each.expected, each.action]
        for claim in found.claims
        for each in claim.problems[:20]
    )
    above = f"{run.parent}/"
    return [[" ".join(visible(part.replace(above, "")).split()) for part in four] for four in parts]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_a_good_run_is_verified_and_everybody_can_read_it(
    seen: Seen, address: str, width: int, scheme: str
) -> None:
    """Verdict, claims, what stays possible, report; no word in the console, no other origin."""
    page = seen.page
    page.set_viewport_size({"width": width, "height": 900})
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]

    seen.verify(EXAMPLE)

    assert seen.head == "\u2713 ACCEPTED (rehearsal)"
    assert page.inner_text("#tally") == "19 of 19 hold"
    assert "nothing that it says of them was held against them" in page.inner_text("#weights")
    assert page.locator("#possible tr").count() == 10
    assert page.locator("#signed li").count() == 3
    frame = page.frame_locator("#frame")
    assert frame.locator("h1").inner_text() == "\u2713 ACCEPTED (rehearsal)"
    assert frame.locator("h1").evaluate("it => getComputedStyle(it).marginTop") == "0px"
    found = Axe().run(page).response["violations"]
    assert [(each["id"], each["nodes"][0]["html"]) for each in found] == []
    assert page.evaluate("document.documentElement.scrollWidth") == width
    SCREENSHOTS.mkdir(exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"verifier-{width}-{scheme}.png")
    assert seen.said == []
    assert all(url.startswith((address, "blob:" + address)) for url in seen.asked)


def _damage(run: Path, damage: str) -> None:
    path = run / "training_metrics.jsonl"
    data = path.read_bytes()
    match damage:
        case "truncate":
            path.write_bytes(data[: len(data) // 2])
        case "flip":
            middle = len(data) // 2
            path.write_bytes(data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :])
        case "delete":
            path.unlink()
        case "append":
            path.write_bytes(data + b"\n")
        case "swap":
            path.write_bytes((run / "predictions.jsonl").read_bytes())
        case "unknown":
            (run / "more.txt").write_text("more")
        case "rename":
            path.rename(run / "TRAINING_METRICS.jsonl")


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_run_is_told_in_the_very_words_of_verify(
    seen: Seen, run: Path, damage: str
) -> None:
    """One implementation: the same problems, in the same order, as outside the browser."""
    _damage(run, damage)
    found = expected(run)
    assert found.problems

    seen.verify(run)

    assert seen.head == "\u2717 NOT VERIFIED"
    placed = [[" ".join(part.split()) for part in four] for four in seen.problems]
    assert placed == shown(found, run)
    assert "believe nothing" in seen.page.inner_text("#doubt")


def test_a_hostile_folder_does_nothing(seen: Seen, run: Path, address: str) -> None:
    """Script in outputs and names is text; what has no end is refused by its size."""
    evil = "<img src=x onerror=alert(1)><script>alert(1)</script>"
    path = run / "predictions.jsonl"
    path.write_text(path.read_text().replace('"tuned_output":"', f'"tuned_output":"{evil}', 1))
    report = run / "report.html"
    report.write_text(report.read_text().replace("<main>", f"<main>{evil}"))
    (run / "a\u202etxt.exe\x1b[2J<b>").write_text(evil)
    (run / "bomb.zip").write_bytes(b"PK\x03\x04" + bytes(1000))
    dialogs: list[str] = []
    seen.page.on("dialog", lambda dialog: dialogs.append(dialog.message))

    seen.verify(run)

    assert seen.head == "\u2717 NOT VERIFIED"
    where = " ".join(parts[0] for parts in seen.problems)
    assert "bomb.zip" in where
    assert "\u202e" not in where
    assert "\x1b" not in where
    assert "<b>" in where
    assert dialogs == []
    assert seen.page.locator("#details img, #details b").count() == 0
    frame = seen.page.frame_locator("#frame")
    assert frame.locator("script, img").count() == 0
    assert seen.said == []
    assert all(url.startswith((address, "blob:" + address)) for url in seen.asked)


def test_a_file_with_holes_is_not_read(seen: Seen, run: Path) -> None:
    """A terabyte that takes no room is refused at once, by verify's own sentence."""
    os.truncate(run / "training_log.txt", 1 << 40)

    seen.verify(run)

    assert seen.head == "\u2717 NOT VERIFIED"
    assert [four[1:3] for four in seen.problems] == [
        ["1,099,511,627,776 bytes", "268,435,456 at most"]
    ]


@pytest.mark.parametrize("name", ["__proto__", "constructor"])
def test_a_name_that_javascript_answers_to_hides_no_file(seen: Seen, run: Path, name: str) -> None:
    """As a key of an object, such a name would keep its file out of every listing."""
    (run / name).write_text("hidden")

    seen.verify(run)

    assert seen.head == "\u2717 Nothing was verified"
    assert name in seen.page.inner_text("#verdict p")


def test_ten_thousand_files_are_judged_and_more_are_refused(seen: Seen, run: Path) -> None:
    """The page's limit is verify's: below it each name is told, above it nothing is read."""
    count = sum(path.is_file() for path in run.rglob("*"))
    for number in range(9_990 - count):
        (run / f"{number}.txt").touch()
    seen.verify(run)
    assert "9,990 files" in seen.page.text_content("#count")  # type: ignore[operator]
    assert seen.head == "\u2717 NOT VERIFIED"

    for number in range(20):
        (run / f"more-{number}.txt").touch()
    seen.verify(run)
    assert "more than 10,000 files" in seen.page.inner_text("#verdict p")


def test_a_folder_that_is_no_run_is_told_as_that(seen: Seen, tmp_path: Path) -> None:
    """The sentence is the command's own."""
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "a.txt").write_text("a")

    seen.verify(folder)

    assert seen.head == "\u2717 Nothing was verified"
    assert "photos" in seen.page.inner_text("#verdict p")


def _drop(page: Page, *paths: Path) -> None:
    """Drop files as a person does; a script cannot make a folder to drop."""
    session = page.context.new_cdp_session(page)
    page.evaluate("document.getElementById('answer').hidden = true")
    page.evaluate("scrollTo(0, 0)")
    data = {"items": [], "files": [str(path) for path in paths], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        session.send("Input.dispatchDragEvent", {"type": kind, "x": 200, "y": 200, "data": data})
    page.wait_for_selector("#answer:not([hidden])", timeout=ANSWER_MS)
    page.wait_for_selector("#pick:enabled", timeout=ANSWER_MS)


def test_a_dropped_folder_is_verified_and_anything_else_refused(seen: Seen, run: Path) -> None:
    """One folder, with what lies in its folders; another file or two folders get a sentence."""
    _drop(seen.page, run)
    assert seen.head == "\u2713 ACCEPTED (rehearsal)"
    assert seen.page.inner_text("#tally") == "19 of 19 hold"

    _drop(seen.page, run / "report.html")
    assert "expected a zip file" in seen.page.inner_text("#verdict p")

    _drop(seen.page, run, run / "model")
    assert "found 2 things, expected one run folder" in seen.page.inner_text("#verdict p")


def test_a_bundle_is_opened_by_verify_itself(seen: Seen, run: Path, tmp_path: Path) -> None:
    """Dropped or chosen; its report is drawn too. A bomb is refused by its list of names."""
    made = write_bundle(RunDir(run), load_run(RunDir(run)), tmp_path / "run.zip")
    _drop(seen.page, made.path)
    assert seen.head == "\u2713 ACCEPTED (rehearsal)"
    assert seen.page.inner_text("#tally") == "19 of 19 hold"
    seen.page.frame_locator("#frame").locator("h1").wait_for(state="attached")

    with zipfile.ZipFile(made.path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{run.name}/training_log.txt2", bytes(1 << 26))
    assert made.path.stat().st_size < 1 << 22
    seen.page.evaluate("document.getElementById('answer').hidden = true")
    seen.page.set_input_files("#bundle", made.path)
    seen.page.wait_for_selector("#answer:not([hidden])", timeout=ANSWER_MS)
    assert seen.head == "\u2717 Nothing was verified"
    assert "found 1 compressed file" in seen.page.inner_text("#verdict p")
    assert seen.said == []


def test_the_keyboard_alone_reaches_everything(browser: Browser, address: str, run: Path) -> None:
    """Tab comes to the button, Enter opens the chooser, the verdict takes the focus."""
    opened_page = _open(browser, address)
    page = next(opened_page).page
    opened: list[FileChooser] = []
    page.on("filechooser", lambda chooser: opened.append(chooser))
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "pick"
    page.evaluate("document.getElementById('answer').hidden = true")

    page.keyboard.press("Enter")
    page.wait_for_timeout(1000)
    (chooser,) = opened
    chooser.set_files(run)
    page.wait_for_selector("#answer:not([hidden])", timeout=ANSWER_MS)
    page.wait_for_selector("#pick:enabled", timeout=ANSWER_MS)

    assert page.evaluate("document.activeElement.id") == "verdict"
    # Out of sight, Chromium does not lay a frame out, and Tab passes it by until that is done.
    page.locator("#frame").scroll_into_view_if_needed()
    page.frame_locator("#frame").locator("h1").wait_for()
    reached = []
    for _ in range(5):
        page.keyboard.press("Tab")
        page.wait_for_timeout(300)
        reached.append(page.evaluate("document.activeElement.id"))
    assert "frame" in reached
    opened_page.close()


def test_neither_page_nor_worker_reaches_another_origin_or_keeps_a_thing(
    seen: Seen, address: str
) -> None:
    """The policy is in force where the folder is read: in the worker as well as in the page."""
    tried = """async where => {
      const source = `fetch(${JSON.stringify(where)}).then(
        () => postMessage("reached"), () => postMessage("refused"))`;
      const blob = URL.createObjectURL(new Blob([source], {type: "text/javascript"}));
      const worker = new Worker(blob, {type: "module"});
      const inside = await new Promise(done => { worker.onmessage = e => done(e.data); });
      const outside = await fetch(where).then(() => "reached", () => "refused");
      return [inside, outside, localStorage.length, document.cookie];
    }"""
    before = len(seen.said)

    assert seen.page.evaluate(tried, address.replace("127.0.0.1", "localhost")) == [
        "refused", "refused", 0, "",
    ]  # fmt: skip
    assert seen.page.evaluate(tried, address + "SHA256SUMS")[:2] == ["reached", "reached"]
    assert any("Content Security Policy" in line for line in seen.said[before:])
    del seen.said[before:]


def test_a_part_that_was_changed_is_not_started(
    browser: Browser, site: Path, tmp_path: Path
) -> None:
    """One byte of m43's code is another: nothing is verified, and the page says why."""
    other = Path(shutil.copytree(site, tmp_path / "other"))
    data = bytearray((other / "m43.zip").read_bytes())
    data[len(data) // 2] ^= 1
    (other / "m43.zip").write_bytes(data)
    handler = functools.partial(_Files, directory=str(other))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()

    for seen in _open(browser, f"http://127.0.0.1:{server.server_port}/"):
        seen.page.wait_for_selector("#answer:not([hidden])", timeout=ANSWER_MS)

        assert seen.head == "\u2717 Nothing was verified"
        assert seen.page.is_disabled("#pick")
    server.shutdown()
    server.server_close()


def _renderers() -> dict[Path, int]:
    """List Chromium's renderers with the most memory that each ever had, in kB.

    Source: Linux, proc(5): VmHWM.
    """
    found = {}
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            if b"--type=renderer" in status.with_name("cmdline").read_bytes():
                text = status.read_text()
                found[status] = int(text.partition("VmHWM:")[2].split()[0])
        except (OSError, IndexError):
            continue
    return found


def test_weights_are_hashed_as_a_stream(browser: Browser, address: str, run: Path) -> None:
    """A gigabyte goes through a window; what the page takes does not grow with it."""
    weights = run / "model" / "model.safetensors"
    weights.touch()
    os.truncate(weights, 1_000_000_000)
    others = _renderers().keys()

    for seen in _open(browser, address):
        seen.verify(run)

        assert seen.head == "\u2717 NOT VERIFIED"
        assert "GB in all" in seen.page.inner_text("#weights")
        assert any("as sealed" in four[2] for four in seen.problems)
        grown = [most for status, most in _renderers().items() if status not in others]
        assert grown
        assert max(grown) < 700_000
