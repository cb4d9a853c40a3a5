"""The page of a run as pytest-html writes it: m43's page, with the rows of pytest-html in it."""

import html
import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from pytest_html.report_data import ReportData
from pytest_html.selfcontained_report import SelfContainedReport

from m43.evidence.hypertext import escaped
from m43.evidence.promise import ContractText
from m43.evidence.report import report_html
from m43.run_dir import RunDir

_LONGEST_LOG = 20_000


class RunPage:
    """What pytest-html takes for its template.

    pytest-html's own page shows its rows with a script only, and has no room for a verdict.
    """

    def __init__(self, run: RunDir, contract: ContractText) -> None:
        self._run = run
        self._gates = [promise.gate for promise in contract.promises]
        self._text = ""

    def render(self, **values: Any) -> str:
        """Write the page from what pytest-html knows; it asks again after each test."""
        tests = json.loads(values["test_data"])["tests"]
        finished = values["running_state"] == "finished"
        # Within a gate the promises follow each other in milliseconds; the page that is read
        # after a kill is the one from before the gate that was on then.
        if not self._text or finished or self._gate_ends(len(tests)):
            rows = outcomes_html(values["run_count"], values["table_head"], tests)
            self._text = report_html(self._run, values["title"], rows)
        return self._text

    def _gate_ends(self, judged: int) -> bool:
        return self._gates[judged - 1 : judged] != self._gates[judged : judged + 1]


class PageWriter(SelfContainedReport):
    """pytest-html's writer, with another page and another way to write it."""

    def __init__(
        self,
        config: pytest.Config,
        run: RunDir,
        contract: ContractText,
        write: Callable[[str], None],
    ) -> None:
        super().__init__(str(run.report), config, ReportData(config), RunPage(run, contract), "")
        self._write = write

    def _write_report(self, rendered_report: str) -> None:
        self._write(rendered_report)


def outcomes_html(count: str, head: Sequence[str], tests: dict[str, list[dict[str, Any]]]) -> str:
    """Write pytest-html's rows as a table that needs no script.

    Head and cells are HTML, made by the hooks. What a test printed was escaped by pytest-html, and
    is escaped once more here: what it must not contain is m43's own business.
    """
    rows = "".join(_row(row) for each in tests.values() for row in each)
    return (
        f"<p>{escaped(count)}</p><details><summary>Every test with its outcome and what it said"
        f"</summary><table><thead><tr>{''.join(head)}</tr></thead><tbody>{rows}</tbody></table>"
        "</details>"
    )


def _row(row: dict[str, Any]) -> str:
    log = html.unescape(str(row.get("log", ""))).strip()
    said = f'<pre class="block">{escaped(log[:_LONGEST_LOG])}</pre>' if log else ""
    return f"<tr>{''.join(row['resultsTableRow'])}<td>{said}</td></tr>"
