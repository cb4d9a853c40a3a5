"""The reporting: what a run tells pytest, its terminal, its HTML report and the journal."""

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from html import escape
from pathlib import Path
from typing import Any

import pytest

from m43.errors import FailureClass, M43Error
from m43.evidence.contract import package
from m43.evidence.documents import job_summary, seal_reports
from m43.evidence.journal import BEFORE_TRAINING, redact, witness_line
from m43.evidence.verify import judging_files
from m43.files import is_disk_full
from m43.harness.gates import gates
from m43.harness.plugin import invocation, options, terminal
from m43.harness.plugin.fixtures import ATTEMPT, VIEW
from m43.harness.plugin.noted import Noted
from m43.harness.plugin.report_files import open_reports
from m43.harness.plugin.terminal import open_view
from m43.harness.process import Interruption, forbid_core_dumps
from m43.harness.run import (
    Attempt,
    Plan,
    audit_judge,
    begin,
    code_integrity,
    take_secrets,
    trouble_words,
    version,
)
from m43.harness.terminal import EMPTY, labelled
from m43.records import gate_of
from m43.text import visible, without_escapes


def make_plain(report: pytest.TestReport, secrets: Sequence[str]) -> None:
    """Clean what a report shows: the failure, and what was printed and logged meanwhile.

    A library's error may hold an address with the token in it, and a traceback the arguments of
    a function. A failure that has nothing to hide keeps its form.
    """
    report.sections = [(name, _plain(text, secrets)) for name, text in report.sections]
    text = str(report.longrepr) if report.longrepr is not None else ""
    plain = _plain(text, secrets)
    if plain != text:
        report.longrepr = plain


def _plain(text: str, secrets: Sequence[str]) -> str:
    return visible(redact(without_escapes(text), secrets))


# Beyond the sum of the deadlines: everything that has none of its own.
_MARGIN_S = 900.0
_WATERMARK = "REHEARSAL \N{EN DASH} not production"


class Reporting:
    """The pytest plugin of one run; it is registered only for a call that was found in order."""

    def __init__(self, plan: Plan, noted: Noted) -> None:
        forbid_core_dumps()
        self.plan = plan
        self.environment = take_secrets(os.environ)
        self.noted = noted
        self.attempt: Attempt | None = None
        self.interruption = Interruption()
        self.trouble = ""
        self.witnessed = False

    # --- before the first gate -----------------------------------------------------------------

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Put the contract's order back, and a backstop behind every promise."""
        order = {name: index for index, name in enumerate(self.plan.contract.names)}
        items.sort(key=lambda item: order.get(item.name, len(order)))
        deadlines = self.plan.profile.deadlines
        seconds = (
            deadlines.probe_s + deadlines.download_s + deadlines.train_s + deadlines.evaluate_s
        )
        for item in items:
            item.add_marker(pytest.mark.timeout(seconds + _MARGIN_S, method="signal"))

    @pytest.hookimpl(trylast=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Refuse whatever was collected if it is not the contract, whole and once."""
        mine = {self.plan.profile.kind, "timeout"}
        marks = [
            mark.name
            for item in session.items
            for mark in item.iter_markers()
            if mark.name not in mine
        ]
        names = [item.name for item in session.items]
        problems = invocation.item_problems(names, self.plan.contract.names, marks)
        # What was collected may have brought a conftest along, and with it other code.
        strangers = options.strange_plugins(session.config, self.plan.repository)
        problems += invocation.stranger_problems(strangers)
        problems += _foreign_code(self.plan)
        if problems:
            raise pytest.UsageError(invocation.refusal(problems))

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Any:
        """Begin the run; from here on it leaves traces."""
        if session.testsfailed:
            # Errors of collection: pytest itself says so and runs nothing.
            return (yield)
        self.interruption.listen()
        try:
            self.attempt = begin(self.plan, self.environment)
        except M43Error as error:
            raise pytest.UsageError(invocation.refusal(error.lines)) from None
        except OSError as error:
            where = error.filename or self.plan.folder
            text = f"m43 could not begin this run: {error.strerror or error} ({where})"
            raise pytest.UsageError(text) from None
        self.attempt.interruption = self.interruption
        session.config.stash[ATTEMPT] = self.attempt
        attempt = self.attempt
        self.noted.begin(attempt.run, lambda: attempt.secrets)
        open_view(session.config, self.attempt, lambda: self.trouble)
        open_reports(session, attempt)
        try:
            return (yield)
        finally:
            _stand_somewhere(session.config)

    # --- each promise --------------------------------------------------------------------------

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> bool | None:
        """Report a promise as NOT RUN when a gate before it stopped."""
        assert self.attempt is not None
        self.interruption.check()
        reason = self.attempt.blocked(item.name)
        if not reason:
            self._say_witness(item)
            return None
        self.attempt.pass_over(item.name, reason)
        terminal.report_not_run(item, reason)
        return True

    def _say_witness(self, item: pytest.Item) -> None:
        """Give the line that somebody may want to have dated before training begins."""
        attempt = self.attempt
        if attempt is None or self.witnessed or gate_of(item.name) != "train-300":
            return
        self.witnessed = True
        line = witness_line(attempt.run, BEFORE_TRAINING, attempt.journal.entries[-1])
        view = item.config.stash[VIEW]
        view.end_gate()
        view.say(EMPTY, labelled("witness", line, whole=True))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
        """Write each judgement into the journal as it falls."""
        report: pytest.TestReport = yield
        assert self.attempt is not None
        make_plain(report, self.attempt.secrets)
        if report.when == "setup" and report.failed:
            # Its assert never ran: the promise is neither kept nor broken.
            if self.attempt.stopped is None and call.excinfo is not None:
                self.attempt.give_up(call.excinfo.value)
            self.attempt.pass_over(item.name, self.attempt.blocked(item.name))
            terminal.make_not_run(report, item, report.longreprtext)
        if report.when == "call" and not self.attempt.judge(
            item.name, None if report.passed else _assertion(report)
        ):
            # As the journal will say once it can be closed: the report may claim no more.
            terminal.make_not_run(report, item, self.attempt.blocked(item.name))
        return report

    def pytest_keyboard_interrupt(self) -> None:
        """Write down that somebody ended the run."""
        if self.attempt is not None:
            self.attempt.interrupt(self.interruption.cause or "KeyboardInterrupt")

    def pytest_internalerror(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """Write down that pytest itself, or a plugin, broke in the middle of the run."""
        if self.attempt is None:
            return
        full = is_disk_full(excinfo.value)
        failure_class = FailureClass.DISK_FULL if full else FailureClass.HARNESS_ERROR
        self.attempt.interrupt(excinfo.exconly(), failure_class)

    # --- the end -------------------------------------------------------------------------------

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Seal the run and let the journal decide; pytest's own count can only make it worse."""
        attempt = self.attempt
        if attempt is None:
            return
        # From here on signals are noted and end nothing: the end is being written.
        try:
            self._refuse_late_plugins(attempt, session.config)
            verdict = attempt.finish(lambda: gates.measure_closing(attempt))
            accepted = verdict.accepted
        except Exception as error:  # noqa: BLE001 (the dead-man's document stands, and is true)
            self.trouble = trouble_words(error, attempt.run)
            accepted = False
            # What is said at the end is about the folder as it was left.
            with suppress(OSError):
                attempt.read_again()
        if not accepted and exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def _refuse_late_plugins(self, attempt: Attempt, config: pytest.Config) -> None:
        strangers = options.strange_plugins(config, self.plan.repository)
        if strangers:
            attempt.interrupt(f"a pytest plugin that came during the run: {', '.join(strangers)}")

    @pytest.hookimpl(trylast=True)
    def pytest_unconfigure(self, config: pytest.Config) -> None:
        """Seal the reports, which are finished by now, and leave the signals as they were found."""
        if self.attempt is not None:
            # A run that could not be closed is closed by a later command, which draws them again.
            # Where the disk is full that was told already; verify then misses the seal.
            with suppress(OSError):
                if not self.trouble:
                    seal_reports(self.attempt.run)
            _append_job_summary(self.attempt, options.job_summary_file(config, os.environ))
        self.interruption.restore()

    # --- the HTML report -----------------------------------------------------------------------

    @pytest.hookimpl(optionalhook=True)
    def pytest_html_report_title(self, report: Any) -> None:
        """Name the run, and a rehearsal as one."""
        kind, name = self.plan.profile.kind, self.plan.profile.run.name
        mark = "" if kind == "production" else f" ({_WATERMARK})"
        report.title = f"m43 {kind} {name}{mark}"

    @pytest.hookimpl(optionalhook=True)
    def pytest_html_results_table_header(self, cells: list[str]) -> None:
        """Name the columns; none of them is sorted, because that takes a script."""
        cells[:] = [f'<th scope="col">{name}</th>' for name in ("outcome", "test", "time", "said")]

    @pytest.hookimpl(optionalhook=True)
    def pytest_html_results_table_row(self, report: Any, cells: list[str]) -> None:
        """Give the outcome, and NOT RUN with its reason where a promise was not judged."""
        outcome, took = report.outcome, f"{report.duration:.2f} s"
        if terminal.is_not_run(report) and report.longrepr:
            outcome, took = report.longrepr[2], ""
        name = report.nodeid.rsplit("::", 1)[-1]
        cells[:] = [f"<td>{escape(text)}</td>" for text in (outcome, name, took)]

    @pytest.hookimpl(optionalhook=True)
    def pytest_html_results_table_html(self, report: Any, data: list[str]) -> None:
        """Leave out that a test said nothing, and what its outcome says already."""
        if terminal.is_not_run(report) or not report.longreprtext:
            data.clear()


def _append_job_summary(attempt: Attempt, path: Path | None) -> None:
    """Append the run in short to a file that others append to; it is no part of the evidence."""
    if path is None:
        return
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(f"\n{redact(job_summary(attempt.now), attempt.secrets)}")
    except OSError as error:
        # The run is closed, and its documents say what this file would have said.
        sys.stderr.write(f"m43: {path}: found {error}, expected the job summary written\n")


class Metadata:
    """Keeps the report's table of the environment to harmless facts."""

    @pytest.hookimpl(optionalhook=True, trylast=True)
    def pytest_metadata(self, metadata: dict[str, Any]) -> None:
        """Take out what other plugins put there: values of environment variables."""
        kept = {name: metadata[name] for name in ("Python", "Platform") if name in metadata}
        metadata.clear()
        metadata.update(kept | {"m43": version(), "pytest": pytest.__version__})


def _stand_somewhere(config: pytest.Config) -> None:
    """Have pytest end in a folder that is there: it goes back to where it was called first."""
    before = config.invocation_params
    if not Path(before.dir).is_dir():
        config.invocation_params = pytest.Config.InvocationParams(
            args=before.args, plugins=before.plugins, dir=Path("/")
        )


def _foreign_code(plan: Plan) -> tuple[str, ...]:
    """Refuse at once what the closing would find after hours."""
    tree = plan.repository
    found = code_integrity.foreign_code(sys.modules, package(tree), tree)
    own = judging_files(tree, plan.contract_folder)
    judge = audit_judge(sys.modules.copy(), own, sys.path, os.environ.get("PYTHONPATH", ""))
    return (
        *(f"found {name}, expected the code of m43's own files" for name in found),
        *(
            f"found {name}, expected what a wheel brought, as it brought it: pytest and m43 judge "
            "by it; make .venv again, with python -m venv"
            for name in (*judge.altered, *judge.unrecorded)
        ),
    )


def _assertion(report: pytest.TestReport) -> str:
    """Give the sentence of a failed assert, without the source around it."""
    crash = getattr(report.longrepr, "reprcrash", None)
    return str(crash.message if crash is not None else report.longrepr)
