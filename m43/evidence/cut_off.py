"""A run that was cut off: nothing of its own could write an end, so a later command did.

SIGKILL, a power cut and an out-of-memory kill leave no last word. What can be established is what
lies in the run folder, and what the machine still knows; the rest is called unknown.
"""

from m43.evidence.claim import Claim
from m43.evidence.dossier import Dossier
from m43.evidence.entry import Entry
from m43.records import RecoveryRecord, Vitals

# The detail of the entry with which a later command closes a run, and by which it is known.
CUT_OFF = "cut off: nothing of the run could write its end; a later command closed it"

SENTENCE = (
    "The run was cut off after {progress}: it ended without a last word, as SIGKILL, a power cut "
    "or a crash of the machine leave it, and a later command closed its journal."
)

_FILES = ("vitals.json", "recovery.json")


def is_cut_off(entry: Entry | None) -> bool:
    """Tell whether an entry is the one with which a later command closes a run."""
    return entry is not None and entry.event == "interrupted" and entry.detail == CUT_OFF


def cut_off_claims(dossier: Dossier) -> tuple[Claim, ...]:
    """State what is known of the end of a run that could not tell of it."""
    recovery = dossier.recovery
    claims = [_last_entry(dossier)]
    if recovery is not None:
        claims += _closing_claims(recovery)
        claims += _machine_claims(dossier.vitals, recovery.vitals)
    unknown = (
        "With which status or signal the run's process ended, who ended it and when exactly: "
        "nothing was there to record it."
    )
    return (*claims, Claim(text=unknown, standing="unknown", evidence=()))


def _last_entry(dossier: Dossier) -> Claim:
    before = [entry for entry in dossier.entries if entry.event not in _AFTERWARDS]
    text = "The run wrote nothing into its journal."
    if before:
        last = before[-1]
        what = f"'{last.event}' {last.gate or last.name}".rstrip()
        text = f"The last thing that the run itself wrote is {what} at {last.time_utc}."
    return Claim(text=text, standing="established", evidence=("journal.jsonl",))


# What the later command writes; a run's own promises that were not run come after its end, too.
_AFTERWARDS = ("interrupted", "promise_not_run", "sealed", "closed")


def _closing_claims(recovery: RecoveryRecord) -> list[Claim]:
    texts = [
        f"At {recovery.closed_utc} no process held the journal any more, and its end was missing."
    ]
    if recovery.journal_bytes_removed:
        texts.append(
            f"The journal's last line was unfinished: {recovery.journal_bytes_removed} bytes of "
            "it were removed."
        )
    if recovery.removed:
        names = ", ".join(recovery.removed)
        texts.append(f"Files that were still being written were removed: {names}.")
    return [Claim(text=text, standing="established", evidence=("recovery.json",)) for text in texts]


def _machine_claims(then: Vitals | None, now: Vitals) -> list[Claim]:
    if then is None:
        text = "Whether the machine was restarted: the run did not get to write vitals.json."
        return [Claim(text=text, standing="unknown", evidence=())]
    if then.boot_id != now.boot_id:
        text = (
            "The machine was restarted between the run's beginning and its closing (or the folder "
            "was carried to another one): the boot id differs. A power cut or a restart would "
            "explain the end."
        )
        return [Claim(text=text, standing="supported", evidence=_FILES)]
    same = (
        "The machine was not restarted between the run's beginning and its closing (the boot id "
        "is the same): it was no power cut; the process ended while the machine went on."
    )
    kills = now.oom_kills - then.oom_kills
    if kills > 0:
        memory = Claim(
            text=f"The kernel counted {kills} out-of-memory kills since the run began; it does "
            "not name the processes, and this run's may be among them.",
            standing="supported",
            evidence=_FILES,
        )
    else:
        memory = Claim(
            text="The kernel has counted no out-of-memory kill since the run began.",
            standing="established",
            evidence=_FILES,
        )
    return [Claim(text=same, standing="established", evidence=_FILES), memory]
