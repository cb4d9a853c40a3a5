"""What each failure class means in plain words, with the run's own facts filled in."""

from collections.abc import Mapping

from m43.errors import FailureClass as F
from m43.evidence.checks import failing, venv_checks
from m43.evidence.child_diagnosis import ending
from m43.evidence.dossier import Child, Dossier
from m43.evidence.plan_checks import alternatives_words
from m43.evidence.stop import Stop

SENTENCES: Mapping[F, str] = {
    F.NO_TOKEN: "There is no token in HF_TOKEN, where it has to be.",
    F.TOKEN_MALFORMED: "What HF_TOKEN holds is not a token as a hub shows it. Nothing was asked.",
    F.TOKEN_REFUSED: "The hub at {endpoint} refused the token.",
    F.LICENCE_NOT_ACCEPTED: "The hub knows the token, but its account may not read {repo}: "
    "the licence is not accepted.",
    F.TOKEN_WITHOUT_GATED_ACCESS: "The hub knows the token, but the token itself may not read "
    "gated repositories such as {repo}.",
    F.WRONG_REVISION: "The hub does not have {repo} at revision {revision}.",
    F.FILES_MISSING: "The pinned revision of {repo} lacks files that the profile names.",
    F.WRONG_MODEL: "What the hub at {endpoint} serves as {repo} is not the model that the contract "
    "describes.",
    F.HUB_UNREACHABLE: "{asked} gave no answer.",
    F.NAME_NOT_RESOLVED: "{asked} could not be asked: its name could not be resolved to an "
    "address.",
    F.CERTIFICATE_NOT_TRUSTED: "{asked} shows a certificate that this machine does not trust. "
    "Nothing was sent to it.",
    F.PROXY_FAILED: "{asked} could not be asked: the proxy that is set for it cannot be used.",
    F.OFFLINE_MODE: "The hub's client was told to stay offline. Nothing was asked.",
    F.NOT_THE_HUB: "{asked} does not answer as it should; something else may answer in its place.",
    F.CONNECTION_LOST: "{asked} began to answer, and the connection was lost before the end. "
    "Nothing is asked for a second time.",
    F.TRANSFER_STALLED: "What was asked of {endpoint} did not come to an end in time; m43 ended "
    "it {arrived}.",
    F.CACHE_UNUSABLE: "The Hugging Face cache could not be used.",
    F.HUB_CLIENT_FAILED: "The hub's client ended with an error that is none of the hub's and none "
    "of the network's.",
    F.RATE_LIMITED: "{asked} takes no more requests for now.",
    F.HUB_ERROR: "{asked} answered with an error of its own.",
    F.DOWNLOAD_CORRUPT: "The downloaded files of {repo} are not, byte for byte, the pinned ones.",
    F.NO_VENV: "There is no virtual environment at {venv}.",
    F.BROKEN_VENV: "The virtual environment at {venv} does not work.",
    F.PACKAGE_MISMATCH: "The environment at {venv} lacks packages that training needs, or holds "
    "other versions of them.",
    F.WRONG_DEVICE: "Training was promised on {promised_device}; what computes here is "
    "{device}. There is no fallback.",
    F.DRIVER_TOO_OLD: "The NVIDIA driver {driver} is too old for the installed CUDA packages.",
    F.NATIVE_WINDOWS: "This is native Windows, where JAX has no CUDA support.",
    F.NUMERIC_CANARY: "The device computes wrong numbers, so nothing trained on it would mean "
    "anything.",
    F.PLAN_DOES_NOT_FIT: "The planned training does not fit the memory or the disk.",
    F.DATA_INVALID: "The rows to train on or to evaluate are missing or malformed.",
    F.MODEL_INVALID: "The model's files are missing or malformed.",
    F.OUT_OF_DEVICE_MEMORY: "The device ran out of memory after {progress}.",
    F.OUT_OF_HOST_MEMORY: "The machine ran out of memory after {progress}, and the kernel ended "
    "the child process.",
    F.KILLED: "The child process was ended from outside ({ending}) after {progress}.",
    F.NON_FINITE_LOSS: "The loss was no longer a number after {progress}; training stopped at "
    "once.",
    F.DIVERGED: "The loss grew instead of falling; training stopped after {progress}.",
    F.TIMED_OUT: "The time was over after {progress}.",
    F.HUNG: "The child process gave no sign of life for {silence_s} s after {progress}, and was "
    "ended.",
    F.DISK_FULL: "The disk was full after {progress}.",
    F.NOT_WRITABLE: "The run folder could no longer be written to after {progress}.",
    F.INTERRUPTED: "The run was interrupted after {progress}.",
    F.EVALUATION_INCOMPLETE: "The evaluation did not answer and score every row.",
    F.ENVIRONMENT_CHANGED: "Packages of the environment changed while the run was on.",
    F.TREE_CHANGED: "Files outside the run folder, or sealed ones, changed while the run was on.",
    F.PROMISE_BROKEN: "The gate ended, but what it measured is not what was promised.",
    F.PROFILE_INVALID: "The profile cannot be used.",
    F.HARNESS_ERROR: "m43 itself met something that it did not foresee; this says nothing about "
    "the model or the machine.",
}

_PYTHON = "/bin/python"


def words(dossier: Dossier, stop: Stop) -> Mapping[str, str]:
    """Give the run's facts that the sentences and the actions name."""
    profile, auth, venv = dossier.profile, dossier.auth, dossier.venv
    contract = profile.contract if profile else None
    child = dossier.eval_child if stop.gate == "eval" else dossier.train_child
    facts = {
        "run": dossier.name,
        "kind": dossier.kind,
        "endpoint": auth.endpoint if auth else "the profile's endpoint",
        "account": (auth.account if auth else "") or "the token's account",
        "asked": _asked(dossier, stop),
        "arrived": _arrived(dossier, stop),
        "repo": contract.repo if contract else "the model",
        "revision": contract.revision if contract else "the pinned revision",
        "venv": _environment(dossier, stop),
        "interpreter": venv.interpreter if venv else "the environment's python",
        "promised_device": (
            f"{contract.platform}:{contract.device_kind}" if contract else "the contract's device"
        ),
        "device": (venv.device if venv else "") or "nothing",
        "driver": venv.probe.driver_version if venv else "(not measured)",
        "requirements": _requirements(dossier),
        "ending": ending(child.process) if child.process else "not recorded",
        "progress": progress(dossier, stop, child),
        "silence_s": f"{profile.deadlines.silence_s:.0f}" if profile else "too many",
        "train_rows": str(profile.data.train) if profile else "the training rows",
        "eval_rows": str(profile.data.evaluation) if profile else "the evaluation rows",
        "batch_rows": str(profile.training.batch_rows) if profile else "(not known)",
        "alternatives": _alternatives(dossier),
        "log": "evaluation_log.txt" if stop.gate == "eval" else "training_log.txt",
        "profile": dossier.opening.profile if dossier.opening else "the profile",
        "commit": dossier.opening.commit if dossier.opening else "(not known)",
        "next_run": next_name(dossier.name),
    }
    # In these texts backticks mean code; a value from outside must not open or close it.
    return {name: " ".join(value.replace("`", "'").split()) for name, value in facts.items()}


def progress(dossier: Dossier, stop: Stop, child: Child) -> str:
    """Say how far the run had come, in the words of the gate that it stopped in."""
    if stop.gate == "train-300":
        promised = dossier.profile.contract.optimizer_steps if dossier.profile else 0
        return f"{len(dossier.metrics)} of {promised} recorded steps"
    if stop.gate == "eval":
        beat = child.heartbeat
        return f"{beat.done} of {beat.total} evaluation rows" if beat else "no evaluation row"
    return f"the beginning of gate {stop.gate}" if stop.gate else "the opening of the run"


def _asked(dossier: Dossier, stop: Stop) -> str:
    """Name who did not answer: the hub, or the storage that it sends to for its files."""
    endpoint = dossier.auth.endpoint if dossier.auth else "the profile's endpoint"
    host = stop.problems[0].where if stop.problems and stop.gate in ("venv", "train-300") else ""
    if not host or host in endpoint:
        return f"The hub at {endpoint}"
    return f"The storage at {host}, where the hub sends for the model's files,"


def _arrived(dossier: Dossier, stop: Stop) -> str:
    beat = dossier.download_child.heartbeat
    if stop.gate != "train-300" or beat is None:
        return "before its last answer"
    return f"at {beat.done:,} of {beat.total:,} bytes ({beat.phase})"


def _environment(dossier: Dossier, stop: Stop) -> str:
    """Name the environment's folder; where nobody could ask it, by the interpreter it lacks."""
    if dossier.venv is not None and dossier.venv.path:
        return dossier.venv.path
    places = [problem.where for problem in stop.problems if problem.where.endswith(_PYTHON)]
    if places:
        return places[0].removesuffix(_PYTHON)
    return dossier.profile.venv.path if dossier.profile else "(not known)"


def _requirements(dossier: Dossier) -> str:
    if dossier.venv is None or dossier.profile is None:
        return "the packages named above"
    unmet = [
        check.expected
        for check in failing(venv_checks(dossier.venv, dossier.profile))
        if check.failure_class is F.PACKAGE_MISMATCH
    ]
    return ", ".join(unmet) or "the packages named above"


def _alternatives(dossier: Dossier) -> str:
    if dossier.plan is None or dossier.plan.training is None:
        return "no plan was made that would say what fits"
    return alternatives_words(dossier.plan.training)


def next_name(name: str) -> str:
    """Suggest the name of a further run: m43_v1 gives m43_v2."""
    head, _, number = name.rpartition("_v")
    return f"{head}_v{int(number) + 1}" if head and number.isdigit() else f"{name}_2"
