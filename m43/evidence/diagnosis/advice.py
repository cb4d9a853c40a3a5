"""What to do about a failure: the catalogue's actions, filled with the facts of the run."""

from collections.abc import Mapping

from m43.errors import FailureClass as F
from m43.evidence.contract import M43, alternatives_words, failing, venv_checks
from m43.evidence.diagnosis.by_child import ending
from m43.evidence.failures import FAILURES
from m43.evidence.run import Child, LoadedRun, Stop
from m43.records import RunDir

_PYTHON = "/bin/python"


def words(loaded_run: LoadedRun, stop: Stop) -> Mapping[str, str]:
    """Return the run's facts that the catalogue's sentences and actions name."""
    profile, auth, venv = loaded_run.profile, loaded_run.auth, loaded_run.venv
    contract = profile.contract if profile else None
    child = loaded_run.eval_child if stop.gate == "eval" else loaded_run.train_child
    facts = {
        "run": loaded_run.name,
        "kind": loaded_run.kind,
        "endpoint": auth.endpoint if auth else "the profile's endpoint",
        "account": (auth.account if auth else "") or "the token's account",
        "asked": _asked(loaded_run, stop),
        "arrived": _arrived(loaded_run, stop),
        "repo": contract.repo if contract else "the model",
        "revision": contract.revision if contract else "the pinned revision",
        "venv": _environment(loaded_run, stop),
        "interpreter": venv.interpreter if venv else "the environment's python",
        "promised_device": _several(
            contract.devices if contract else 1,
            f"{contract.platform}:{contract.device_kind}" if contract else "the contract's device",
        ),
        # One of several is what the promise of one is about; a CPU is as many as are asked for.
        "device": (
            _several(len(venv.probe.devices), venv.device or "nothing")
            if venv and contract and contract.devices > 1
            else _device(loaded_run, stop)
        ),
        "driver": venv.probe.driver_version if venv else "(not measured)",
        "requirements": _requirements(loaded_run),
        "ending": ending(child.process) if child.process else "not recorded",
        "progress": progress(loaded_run, stop, child),
        "silence_s": f"{profile.deadlines.silence_s:.0f}" if profile else "too many",
        "train_rows": str(profile.data.train) if profile else "the training rows",
        "eval_rows": str(profile.data.evaluation) if profile else "the evaluation rows",
        "batch_rows": str(profile.training.batch_rows) if profile else "(not known)",
        "alternatives": _alternatives(loaded_run),
        "log": RunDir.eval_log.name if stop.gate == "eval" else RunDir.train_log.name,
        "profile": loaded_run.opening.profile if loaded_run.opening else "the profile",
        "commit": loaded_run.opening.commit if loaded_run.opening else "(not known)",
        "launcher": " ".join(profile.launch.command) if profile else "the launcher",
        "processes": str(contract.processes) if contract else "(not known)",
        "next_run": next_name(loaded_run.name),
        "contract": loaded_run.opening.contract if loaded_run.opening else M43,
    }
    # In these texts backticks mean code; a value from outside must not open or close it.
    return {name: " ".join(value.replace("`", "'").split()) for name, value in facts.items()}


def _several(count: int, device: str) -> str:
    return f"{count} x {device}" if count > 1 else device


def progress(loaded_run: LoadedRun, stop: Stop, child: Child) -> str:
    """Describe how far the run had come, in the words of the gate that it stopped in."""
    if stop.gate == "train-300":
        promised = loaded_run.profile.contract.optimizer_steps if loaded_run.profile else 0
        return f"{len(loaded_run.metrics)} of {promised} recorded steps"
    if stop.gate == "eval":
        beat = child.heartbeat
        return f"{beat.done} of {beat.total} evaluation rows" if beat else "no evaluation row"
    return f"the beginning of gate {stop.gate}" if stop.gate else "the opening of the run"


def _device(loaded_run: LoadedRun, stop: Stop) -> str:
    """Return where the gate computed: what an earlier gate saw is not what broke this one."""
    records = {"train-300": loaded_run.train, "eval": loaded_run.evaluation}
    found = records.get(stop.gate, loaded_run.venv)
    profile = loaded_run.profile
    promised = f"{profile.contract.platform}:{profile.contract.device_kind}" if profile else ""
    if found is None or found.device == promised:
        return "another device, which is named below"
    return found.device or "nothing"


def _asked(loaded_run: LoadedRun, stop: Stop) -> str:
    """Return who did not answer: the hub, or the storage that it sends to for its files."""
    endpoint = loaded_run.auth.endpoint if loaded_run.auth else "the profile's endpoint"
    host = stop.problems[0].where if stop.problems and stop.gate in ("venv", "train-300") else ""
    if not host or host in endpoint:
        return f"The hub at {endpoint}"
    return f"The storage at {host}, where the hub sends for the model's files,"


def _arrived(loaded_run: LoadedRun, stop: Stop) -> str:
    beat = loaded_run.download_child.heartbeat
    if stop.gate != "train-300" or beat is None:
        return "before its last answer"
    return f"at {beat.done:,} of {beat.total:,} bytes ({beat.phase})"


def _environment(loaded_run: LoadedRun, stop: Stop) -> str:
    """Return the environment's folder; where nobody could ask it, from the interpreter it lacks."""
    if loaded_run.venv is not None and loaded_run.venv.path:
        return loaded_run.venv.path
    places = [problem.where for problem in stop.problems if problem.where.endswith(_PYTHON)]
    if places:
        return places[0].removesuffix(_PYTHON)
    return loaded_run.profile.venv.path if loaded_run.profile else "(not known)"


def _requirements(loaded_run: LoadedRun) -> str:
    if loaded_run.venv is None or loaded_run.profile is None:
        return "the packages named above"
    unmet = [
        check.expected
        for check in failing(venv_checks(loaded_run.venv, loaded_run.profile))
        if check.failure_class is F.PACKAGE_MISMATCH
    ]
    return ", ".join(unmet) or "the packages named above"


def _alternatives(loaded_run: LoadedRun) -> str:
    if loaded_run.plan is None or loaded_run.plan.training is None:
        return "no plan was made that would say what fits"
    return alternatives_words(loaded_run.plan.training)


def next_name(name: str) -> str:
    """Suggest the name of a further run: m43_v1 gives m43_v2."""
    head, _, number = name.rpartition("_v")
    return f"{head}_v{int(number) + 1}" if head and number.isdigit() else f"{name}_2"


def next_actions(loaded_run: LoadedRun, stop: Stop, failure_class: F) -> tuple[str, ...]:
    """List what a person can do, in order, the way to a new run last."""
    facts = words(loaded_run, stop)
    if loaded_run.kind == "production":
        again = (
            "Then: `python -m m43 checklist`, and a new run under a new name: "
            "`pytest {contract} -m production --m43-run {next_run}`. This folder stays as it is; "
            "later reports will disclose it."
        )
    else:
        again = (
            "Then: `pytest {contract} -m rehearsal` makes a new one. This folder stays as it is."
        )
    # The other gates leave no log of a child behind.
    logged = stop.gate in ("train-300", "eval")
    actions = FAILURES[failure_class].actions
    specific = tuple(text for text in actions if logged or "{log}" not in text)
    if loaded_run.profile and loaded_run.profile.contract.platform == "cpu":
        # There is no card whose driver or memory could be looked at.
        specific = tuple(text for text in specific if not text.startswith("`nvidia-smi`"))
    if stop.how == "no closing record":
        specific = (
            "If a run is still going on in another shell, let it end.",
            *specific[1:],
        )
    return tuple(action.format_map(facts) for action in (*specific, again))
