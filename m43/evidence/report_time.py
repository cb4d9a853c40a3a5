"""Where a run's time went, in the report."""

from m43.evidence.dossier import Dossier
from m43.evidence.durations import PURPOSES, clock_words, stretches, total_s
from m43.evidence.hypertext import bar, escaped, table


def time_html(dossier: Dossier) -> str:
    """Write every stretch of the run with its share of the whole; nothing before the first."""
    parts = stretches(dossier)
    if not parts:
        return ""
    whole = max(total_s(dossier) or 0.0, sum(part.duration_s for part in parts))
    sums = {name: sum(it.duration_s for it in parts if it.purpose == name) for name in PURPOSES}
    purposes = [(escaped(name), *_share(sums[name], whole)) for name in PURPOSES if sums[name]]
    details = [
        (
            escaped(part.name),
            escaped(part.gate),
            *_share(part.duration_s, whole),
            f"<code>{escaped(part.file)}</code>",
        )
        for part in parts
    ]
    return (
        f"<p>From the first entry of the journal to the last: {clock_words(whole)}.</p>"
        + table(("what for", "time", "share of the run"), purposes)
        + f"<details><summary>Each of the {len(parts)} parts, with its file</summary>"
        + table(("part", "gate", "time", "share of the run", "file"), details)
        + "</details>"
    )


def _share(seconds: float, whole: float) -> tuple[str, str]:
    share = seconds / whole if whole else 0.0
    return (
        f'<span class="number">{clock_words(seconds)}</span>',
        f'{bar(share)}<span class="number">{100 * share:.1f} %</span>',
    )
