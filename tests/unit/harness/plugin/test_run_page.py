"""pytest-html writes the page of m43: its rows as plain HTML, again at every gate."""

import json
from pathlib import Path
from typing import Any

import pytest

from m43.evidence.contract.contract import read_contract
from m43.evidence.run.loaded_run import LoadedRun, load_run
from m43.harness.plugin import report_files
from m43.harness.plugin.report_files import RunPage, outcomes_html
from m43.records.run_dir import RunDir
from tests.unit.evidence.good_records import CONTRACT

HEAD = ("<th>outcome</th>", "<th>said</th>")


def row(log: str) -> dict[str, Any]:
    """Give a row as pytest-html keeps it."""
    return {"resultsTableRow": ["<td>Failed</td>"], "log": log}


def test_what_a_test_said_is_text() -> None:
    """Escaped once, whether pytest-html escaped it or not."""
    page = outcomes_html("1 test", HEAD, {"a": [row("&lt;b&gt;"), row("<script>\u202e</script>")]})

    assert "&lt;b&gt;</pre>" in page
    assert "&lt;script&gt;\N{REPLACEMENT CHARACTER}&lt;/script&gt;" in page
    assert "<script>" not in page
    assert outcomes_html("1 test", HEAD, {"a": [row("")]}).endswith(
        "<td>Failed</td><td></td></tr></tbody></table></details>"
    )


def test_the_page_is_written_again_at_every_gate_and_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once for each gate that has been judged, and not for each of its promises."""
    written: list[str] = []

    def report(run: RunDir, title: str, tests: str, loaded: LoadedRun) -> str:
        written.append(title)
        return f"page {len(written)}"

    monkeypatch.setattr(report_files, "report_html", report)
    contract = read_contract(CONTRACT)
    page = RunPage(RunDir(tmp_path), contract, lambda: load_run(RunDir(tmp_path)))

    def render(count: int, state: str = "started") -> str:
        tests = {name: [row("")] for name in contract.names[:count]}
        data = json.dumps({"tests": tests})
        return page.render(
            title="m43", test_data=data, running_state=state, run_count="", table_head=HEAD
        )

    pages = [render(count) for count in range(len(contract.names) + 1)]
    assert len(set(pages)) == 6  # before the first, and after each of the five stages
    assert pages[-2] != pages[-1]
    assert render(len(contract.names), "finished") == "page 7"
