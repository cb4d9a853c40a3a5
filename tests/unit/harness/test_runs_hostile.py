"""A whole run with a child that says the worst: no secret, no markup, no escape comes through."""

import base64
import json
import shutil
import subprocess
import time
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import quote

import pytest

from m43.evidence.journal.secrets import holds_secret
from m43.text import visible
from tests.unit.harness.copied_tree import CopiedTree
from tests.unit.harness.test_runs import the_run

TOKEN = "hf_" + "Zy9Xw8" * 6
ODD = 's3cret/w+th=odd&"signs"'
HOSTILE = (
    "</pre></script><script>alert(1)</script> <img src=x onerror=alert(1)> ]]> --> "
    "[link](javascript:alert(1)) ![image](http://x/y.png) | a | b | `code` **bold** "
    "\x1b]0;owned\x07\x1b[31mred\x1b[0m \u202eright-to-left \u200b"
)


def everything_said() -> str:
    """Every form of both secrets, on one line and on two, and markup of every kind."""
    lines = [HOSTILE]
    for secret in (TOKEN, ODD):
        forms = (
            *(secret, quote(secret, safe=""), base64.b64encode(secret.encode()).decode()),
            *(base64.b64encode(b"user:" + secret.encode()).decode(), json.dumps(secret)),
            *(repr(OSError(secret)), secret.encode().hex(), f"https://user:{secret}@hub/x"),
        )
        for form in forms:
            middle = len(form) // 2
            lines += [f"said {form} aloud", f"said {form[:middle]}", f"    {form[middle:]} aloud"]
    return "\n".join(lines) + "\n"


class Tags(HTMLParser):
    """Collects the tags and the attributes of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep one."""
        self.found.append((tag, dict(attrs)))


def test_nothing_of_what_a_child_says_comes_through(copied_tree: CopiedTree) -> None:
    """In no file of the run folder, and on no output; the engineer's token is not the run's own."""
    copied_tree.misbehave(f"talk {everything_said().encode().hex()}")

    result = copied_tree.pytest(
        *("acceptance", "-m", "rehearsal", "-rA", "--showlocals"),
        **{"HF_TOKEN": TOKEN, "HTTPS_PROXY": f"http://user:{quote(ODD, safe='')}@proxy:1"},
        **{"LC_NOTE": TOKEN, "HF_NOTE": HOSTILE, "COLUMNS": "x", "TERM": "\x1b[31m"},
    )

    run = the_run(copied_tree)
    assert result.returncode == 1, result.stdout + result.stderr
    assert "said [REDACTED] aloud" in (run / "training_log.txt").read_text()
    files = [path for path in run.rglob("*") if path.is_file()]
    assert len(files) > 10
    for path in files:
        assert not holds_secret(path.read_bytes(), (TOKEN, ODD)), path.name
    for output in (result.stdout, result.stderr):
        assert not holds_secret(output.encode(), (TOKEN, ODD))
        assert visible(output) == output
    for name in ("training_log.txt", "failure_analysis.md", "report.html", "junit.xml"):
        text = (run / name).read_text(encoding="utf-8")
        assert visible(text) == text, name
    ET.parse(run / "junit.xml")
    page = (run / "report.html").read_text(encoding="utf-8")
    assert_harmless(page)
    assert "said [REDACTED] aloud" in page


def remove(folder: Path) -> None:
    """Remove a folder in which somebody still writes."""
    while folder.exists():
        shutil.rmtree(folder, ignore_errors=True)


def tags(page: str) -> list[tuple[str, dict[str, str | None]]]:
    """Give the tags of a page and their attributes."""
    reader = Tags()
    reader.feed(page)
    return reader.found


def assert_harmless(page: str) -> None:
    """Nothing of what was said is a tag, an attribute or an address."""
    assert "<script>alert" not in page
    for tag, attributes in tags(page):
        assert tag not in ("iframe", "object", "embed", "form")
        assert attributes.get("src", "") in ("", None) or tag != "img"
        assert not [name for name in attributes if name.startswith("onerr")], (tag, attributes)
        assert not str(attributes.get("href", "")).startswith(("javascript:", "data:text")), tag


@pytest.mark.parametrize(
    "what",
    [
        "the run is renamed",
        "the run is removed",
        "the checkout is renamed",
        "the checkout is removed",
        "no journal",
        "the run is a file",
    ],
)
def test_a_run_whose_folder_is_gone_says_so(copied_tree: CopiedTree, what: str) -> None:
    """One class, no traceback, and no document named that is not there."""
    copied_tree.train_until_enough()
    run, root = copied_tree.runs / "r", copied_tree.root
    process = subprocess.Popen(
        copied_tree.command("acceptance", "-m", "rehearsal", "--m43-run", run.name),
        cwd=root,
        env=copied_tree.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    while process.poll() is None and not (run / "train.heartbeat.json").exists():
        time.sleep(0.02)
    if what == "the run is renamed":
        run.rename(copied_tree.runs / "s")
    elif what == "the run is removed":
        remove(run)
    elif what == "the checkout is renamed":
        root.rename(root.with_name("elsewhere"))
    elif what == "no journal":
        (run / "journal.jsonl").unlink()
    elif what == "the run is a file":
        run.rename(copied_tree.runs / "s")
        run.write_text("")
    else:
        remove(root)
    copied_tree.enough.touch()
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "Traceback" not in said
    assert "INTERNALERROR" not in said
    head, why, to_do = said.splitlines()[-3:]
    assert head == "m43 rehearsal r: NOT ACCEPTED (rehearsal)"
    gone = "journal of the run" if what == "no journal" else "run folder"
    assert f"why       run folder not writable: the {gone} is gone" in why
    assert "to do" in to_do
