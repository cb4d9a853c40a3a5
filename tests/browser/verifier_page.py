"""The verifier's page, served and open in a browser: what the tests and the measurement share."""

import functools
import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, Route

ANSWER_MS = 240_000
# Keeps what the worker answered, before anything is drawn of it.
_LISTEN = """
const Plain = Worker;
window.Worker = class extends Plain {
  constructor(...all) {
    super(...all);
    this.addEventListener("message", ({ data }) => {
      if (data.kind === "answer") window.lastAnswer = JSON.stringify(data.answer);
    });
  }
};
"""
_PROBLEMS = """() => [...document.querySelectorAll(".problem")].map(
  each => [...each.querySelectorAll("dd")].map(part => part.textContent))"""


class _Files(http.server.SimpleHTTPRequestHandler):
    """Serves the folder as `python -m http.server` does, without a word."""

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextmanager
def served(site: Path) -> Iterator[str]:
    """Serve a folder, and give its address."""
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

    def verify(self, path: Path) -> None:
        """Choose a folder or a bundle, and wait for what is said of it and for its report."""
        self.page.evaluate("document.getElementById('answer').hidden = true")
        self.page.set_input_files("#bundle" if path.is_file() else "#files", path)
        self.wait()

    def wait(self) -> None:
        """Wait until the next folder could be chosen."""
        self.page.wait_for_selector("#answer:not([hidden])", timeout=ANSWER_MS)
        self.page.wait_for_selector("#pick:enabled", timeout=ANSWER_MS)

    @property
    def complaints(self) -> list[str]:
        """What stood in the console, but for Playwright's own looks into the frame."""
        return [each for each in self.said if not each.startswith("Blocked script execution")]

    @property
    def head(self) -> str:
        """What the verdict says first."""
        return self.page.inner_text("#verdict h2")

    @property
    def answer(self) -> dict[str, Any]:
        """What the worker answered last, as the page was given it."""
        answer: dict[str, Any] = json.loads(self.page.evaluate("window.lastAnswer"))
        return answer

    @property
    def problems(self) -> list[list[str]]:
        """The four parts of each problem shown, as text."""
        problems: list[list[str]] = self.page.evaluate(_PROBLEMS)
        return problems


@contextmanager
def opened(browser: Browser, address: str) -> Iterator[Seen]:
    """Open the page, which starts Python, in a context of its own."""
    context = browser.new_context(reduced_motion="reduce")
    context.add_init_script(_LISTEN)
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
