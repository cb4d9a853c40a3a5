"""The closing documents: exactly one lies in a run folder, and success alone replaces failure."""

from pathlib import Path

from m43.evidence.attestation import write_attestations
from m43.evidence.contract import Verdict
from m43.evidence.documents import failure, promises, summary
from m43.evidence.documents.charts import loss_curve_svg
from m43.evidence.documents.failure import render_failure
from m43.evidence.documents.markdown import markdown
from m43.evidence.documents.model_card import expected_card
from m43.evidence.documents.nodes import Bullets, Fields, Node, Section, Text, code
from m43.evidence.documents.summary import render_summary
from m43.evidence.journal import redact
from m43.evidence.run import LoadedRun, gate_states, load_run, watermark
from m43.records import RunDir, write_atomically


def write_opening_analysis(run: RunDir, loaded: LoadedRun | None = None) -> None:
    """Write a true failure analysis of the run as it stands: the dead-man's switch.

    It may be called again at every gate; nothing here can write a summary.

    Args:
        run: The run folder.
        loaded: The same, where its caller has read it already.
    """
    loaded_run = loaded or load_run(run)
    text = _clean(render_failure(loaded_run, loaded_run.verdict))
    write_atomically(run.failure_analysis, text.encode())


def write_documents(run: RunDir, loaded: LoadedRun | None = None) -> Verdict:
    """Judge the journal as it lies on disk and leave the one document that the verdict allows.

    This is the only function that writes a summary.

    Args:
        run: The run folder.
        loaded: The same, where its caller has read it already.
    """
    loaded_run = loaded or load_run(run)
    verdict = loaded_run.verdict
    if loaded_run.metrics:
        svg = loss_curve_svg(loaded_run.metrics, watermark(loaded_run))
        write_atomically(run.loss_curve, svg.encode())
    name, text = expected_document(loaded_run)
    document = run.path / name
    other = run.failure_analysis if document == run.summary else run.summary
    _replace(document, text, other)
    write_attestations(run, loaded_run)
    return verdict


def write_model_card(run: RunDir, loaded: LoadedRun) -> None:
    """Write the card of a model whose run only lacks its seal, which covers the card; else none."""
    text = expected_card(loaded)
    if text is not None:
        write_atomically(run.model_card, text.encode())


def render(run: RunDir) -> tuple[Path, ...]:
    """Write a run's documents again from its records, and name them."""
    verdict = write_documents(run)
    document = run.summary if verdict.accepted else run.failure_analysis
    paths = (document, run.loss_curve, run.attestation, run.provenance)
    return tuple(path for path in paths if path.exists())


def _replace(path: Path, text: str, other: Path) -> None:
    """Put one document in the place of the other: at no moment is there none."""
    write_atomically(path, text.encode())
    other.unlink(missing_ok=True)


def expected_document(loaded_run: LoadedRun) -> tuple[str, str]:
    """Give the name and the text of the one document that a folder should hold."""
    verdict = loaded_run.verdict
    facts = loaded_run.whole
    if verdict.accepted and facts is not None:
        return RunDir.summary.name.format(contract=facts.opening.contract_name), _clean(
            render_summary(facts)
        )
    return RunDir.failure_analysis.name, _clean(render_failure(loaded_run, verdict))


def job_summary(loaded_run: LoadedRun) -> str:
    """Say a run in short, as Markdown for the page of a CI job: nothing that is not in its folder.

    The verdict, the gates, and the numbers of a run that was accepted, or what happened in another
    and what a person can do.
    """
    verdict, facts = loaded_run.verdict, loaded_run.whole
    told = (
        (Bullets(summary.in_short(Fields(facts), facts.profile)),)
        if verdict.accepted and facts is not None
        else failure.analysis(loaded_run, verdict)[:2]
    )
    where = f"Read {expected_document(loaded_run)[0]} in the run folder; "
    check = code(f"python -m m43 verify submission_runs/{loaded_run.name}")
    parts: tuple[Node, ...] = (
        promises.banner(watermark(loaded_run), another=bool(loaded_run.contract_differences)),
        *promises.other_contract(loaded_run),
        promises.gate_table(gate_states(loaded_run)),
        *told,
        Text((where, check, " recomputes every claim of it.")),
    )
    words = loaded_run.verdict_words(verdict.accepted)
    return _clean(markdown(Section(f"m43 {loaded_run.name}: {words}", parts)))


def expected_loss_curve(loaded_run: LoadedRun) -> str:
    """Return the picture of the steps; a picture that says otherwise is another run's."""
    return loss_curve_svg(loaded_run.metrics, watermark(loaded_run))


def _clean(text: str) -> str:
    """Take out what is shaped like a token: the last of several places that see to it."""
    return redact(text, ())
