"""The summary's template: `m43_summary.md` before there is a run, by what writes the real one.

Known beforehand are the profile and the contract; everything that a run will measure is a
specimen, in which each field stands as its own name.
"""

from m43.evaluation_record import EvaluationResults, Tally
from m43.evidence.child_facts import EvaluationFacts, TrainFacts
from m43.evidence.dossier import Dossier, EvidenceFile
from m43.evidence.entry import Entry
from m43.evidence.promise import ContractText
from m43.evidence.specimen import specimen
from m43.evidence.summary import complete, render_summary
from m43.evidence.verdict import STAGES
from m43.hub_record import AuthRecord, HubResponse
from m43.profile import Profile
from m43.records import ClosingRecord, OpeningRecord

_GROUPS = (
    "section: {section}",
    "difficulty: {difficulty}",
    "category: {category}",
    "text: in training",
    "text: new",
    "template: in training",
    "template: new",
)
_HEAD = (
    "<!-- A template: no run made it. It is written by the function that writes the real document; "
    "what stands in braces is filled in from the records of a run. A list has one element here. -->"
)


def summary_template(profile: Profile, contract: ContractText) -> str:
    """Write what the summary of an accepted run under this profile will look like."""
    results = _results()
    evaluation = specimen(EvaluationFacts, "eval", results=results, recomputed_results=results)
    dossier = specimen(
        Dossier,
        "",
        name=profile.run.name,
        entries=_entries(contract),
        contract=contract,
        opening=_opening(profile, contract),
        profile=profile,
        auth=_auth(),
        train=specimen(TrainFacts, "train", method=profile.training.method),
        closing=_closing(),
        metrics_cut=False,
        evaluation=evaluation,
        results=results,
        files=(EvidenceFile(name="{name of each file}", sha256="{sha256}"),),
        problems=(),
        vitals=None,
        recovery=None,
        noted=None,
    )
    facts = complete(dossier)
    assert facts is not None, "a specimen has every record"
    return f"{_HEAD}\n\n{render_summary(facts)}"


def _opening(profile: Profile, contract: ContractText) -> OpeningRecord:
    return specimen(
        OpeningRecord,
        "opening",
        run=profile.run.name,
        kind=profile.kind,
        promises=contract.names,
        profile_differences=(),
        left_out=(),
        unsearched=(),
    )


def _auth() -> AuthRecord:
    steps = ("whoami", "auth_check", "revision", "weights_head")
    responses = tuple(
        specimen(HubResponse, f"auth.responses[{step}]", step=step, error="") for step in steps
    )
    return specimen(AuthRecord, "auth", responses=responses, missing_files=())


def _closing() -> ClosingRecord:
    # An accepted run has changed nothing; the digests are those of before.
    return specimen(
        ClosingRecord,
        "closing",
        packages_sha256="{venv.packages_sha256}",
        tree_sha256="{opening.tree_sha256}",
        changed_paths=(),
        changed_packages=(),
        documents=("failure_analysis.md",),
    )


def _results() -> EvaluationResults:
    groups = tuple(specimen(Tally, f"results[{group}]", group=group) for group in _GROUPS)
    overall = specimen(Tally, "results.overall", group="overall")
    return specimen(EvaluationResults, "results", overall=overall, groups=groups)


def _entries(contract: ContractText) -> tuple[Entry, ...]:
    """Tell the one story that an accepted run has."""
    steps = [("opened", "", "")]
    for stage in STAGES:
        steps += [("gate_opened", stage, ""), ("gate_closed", stage, "")]
        steps += [
            ("promise_kept", stage, promise.name)
            for promise in contract.promises
            if promise.gate == stage
        ]
    steps.append(("sealed", "", ""))
    return tuple(
        specimen(Entry, "journal", event=event, gate=gate, name=name, failure_class="", detail="")
        for event, gate, name in steps
    )
