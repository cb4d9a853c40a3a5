"""The failure classes: what each means in plain words, and what a person can do about it."""

from collections.abc import Mapping

from m43.errors import FailureClass as F
from m43.evidence.contract.check import failing
from m43.evidence.contract.checks import venv_checks
from m43.evidence.contract.plan_checks import alternatives_words
from m43.evidence.diagnosis.by_child import ending
from m43.evidence.run.loaded_run import Child, LoadedRun
from m43.evidence.run.run_end import Stop
from m43.records.run_dir import RunDir

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


def words(dossier: LoadedRun, stop: Stop) -> Mapping[str, str]:
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
        "log": RunDir.eval_log.name if stop.gate == "eval" else RunDir.train_log.name,
        "profile": dossier.opening.profile if dossier.opening else "the profile",
        "commit": dossier.opening.commit if dossier.opening else "(not known)",
        "next_run": next_name(dossier.name),
    }
    # In these texts backticks mean code; a value from outside must not open or close it.
    return {name: " ".join(value.replace("`", "'").split()) for name, value in facts.items()}


def progress(dossier: LoadedRun, stop: Stop, child: Child) -> str:
    """Say how far the run had come, in the words of the gate that it stopped in."""
    if stop.gate == "train-300":
        promised = dossier.profile.contract.optimizer_steps if dossier.profile else 0
        return f"{len(dossier.metrics)} of {promised} recorded steps"
    if stop.gate == "eval":
        beat = child.heartbeat
        return f"{beat.done} of {beat.total} evaluation rows" if beat else "no evaluation row"
    return f"the beginning of gate {stop.gate}" if stop.gate else "the opening of the run"


def _asked(dossier: LoadedRun, stop: Stop) -> str:
    """Name who did not answer: the hub, or the storage that it sends to for its files."""
    endpoint = dossier.auth.endpoint if dossier.auth else "the profile's endpoint"
    host = stop.problems[0].where if stop.problems and stop.gate in ("venv", "train-300") else ""
    if not host or host in endpoint:
        return f"The hub at {endpoint}"
    return f"The storage at {host}, where the hub sends for the model's files,"


def _arrived(dossier: LoadedRun, stop: Stop) -> str:
    beat = dossier.download_child.heartbeat
    if stop.gate != "train-300" or beat is None:
        return "before its last answer"
    return f"at {beat.done:,} of {beat.total:,} bytes ({beat.phase})"


def _environment(dossier: LoadedRun, stop: Stop) -> str:
    """Name the environment's folder; where nobody could ask it, by the interpreter it lacks."""
    if dossier.venv is not None and dossier.venv.path:
        return dossier.venv.path
    places = [problem.where for problem in stop.problems if problem.where.endswith(_PYTHON)]
    if places:
        return places[0].removesuffix(_PYTHON)
    return dossier.profile.venv.path if dossier.profile else "(not known)"


def _requirements(dossier: LoadedRun) -> str:
    if dossier.venv is None or dossier.profile is None:
        return "the packages named above"
    unmet = [
        check.expected
        for check in failing(venv_checks(dossier.venv, dossier.profile))
        if check.failure_class is F.PACKAGE_MISMATCH
    ]
    return ", ".join(unmet) or "the packages named above"


def _alternatives(dossier: LoadedRun) -> str:
    if dossier.plan is None or dossier.plan.training is None:
        return "no plan was made that would say what fits"
    return alternatives_words(dossier.plan.training)


def next_name(name: str) -> str:
    """Suggest the name of a further run: m43_v1 gives m43_v2."""
    head, _, number = name.rpartition("_v")
    return f"{head}_v{int(number) + 1}" if head and number.isdigit() else f"{name}_2"


_TOKEN_PAGE = "https://huggingface.co/settings/tokens"
_CARD = "`nvidia-smi` shows the driver, the card, and the programs that hold its memory."
_ROWS = (
    "Correct the rows named above (file, line and reason stand there): {train_rows}, {eval_rows}."
)
_LOG = "Read the end of `{log}` below; the whole log lies in this folder."

ACTIONS: Mapping[F, tuple[str, ...]] = {
    F.NO_TOKEN: (
        f"Make a token with read access at {_TOKEN_PAGE}.",
        "Accept the licence of the model, once, signed in to the same account: "
        "https://huggingface.co/{repo}",
        "In the shell that runs pytest: `export HF_TOKEN=…` (an empty value counts as none; a "
        "token in a file or in another variable is not taken).",
    ),
    F.TOKEN_MALFORMED: (
        "Set it again, as the hub showed it, without quotes, brackets, spaces, line ends or a word "
        "before it: `export HF_TOKEN=…` (`docker run --env-file` hands quotes on as part of the "
        "value; a token that is copied from a document may hold a hyphen, a quote or a mark "
        "without width that only looks right).",
        f"If it is lost, make a new one at {_TOKEN_PAGE}.",
    ),
    F.TOKEN_REFUSED: (
        f"Look at {_TOKEN_PAGE}: is the token still there and not expired?",
        "Make a new one and set it: `export HF_TOKEN=…`, whole, without quotes or spaces in it.",
    ),
    F.LICENCE_NOT_ACCEPTED: (
        "Signed in as {account}, open https://huggingface.co/{repo} and accept the licence. "
        "Access is usually given within minutes.",
        "The token is good and can stay as it is.",
    ),
    F.TOKEN_WITHOUT_GATED_ACCESS: (
        f"At {_TOKEN_PAGE}, edit the token and allow 'Read access to contents of all public "
        "gated repos you can access' (or make a classic token of type read).",
        "Make sure that {account} has accepted the licence: https://huggingface.co/{repo}",
    ),
    F.WRONG_REVISION: (
        "Compare `contract.repo` and `contract.revision` in {profile} with "
        "https://huggingface.co/{repo}/commits/main",
        "Another revision is another contract: it will be listed as a difference from the locked "
        "decisions.",
    ),
    F.FILES_MISSING: (
        "Compare `hub.files` in {profile} with https://huggingface.co/{repo}/tree/{revision}",
    ),
    F.WRONG_MODEL: (
        "Look whether HF_ENDPOINT is set and meant: the hub at {endpoint} was asked.",
        "Compare `contract.architecture`, `contract.parameters`, `contract.file_bytes` and "
        "`contract.file_sha256` in {profile} with https://huggingface.co/{repo}/tree/{revision}",
        "Another model is another contract: write it into a profile of its own, and every document "
        "will name it.",
    ),
    F.HUB_UNREACHABLE: (
        "Try `curl -sI {endpoint}` from this machine.",
        "Look whether HF_ENDPOINT and the proxy variables are meant.",
    ),
    F.NAME_NOT_RESOLVED: (
        "Try `getent hosts` with the host's name, and look at /etc/resolv.conf.",
        "Look whether HF_ENDPOINT is spelt as it is meant.",
    ),
    F.CERTIFICATE_NOT_TRUSTED: (
        "`date` must be right: a certificate is valid between two dates.",
        "`curl -vI {endpoint}` shows who issued the certificate. Where a company's proxy opens "
        "connections, set SSL_CERT_FILE to a file that holds its authority; m43 turns no "
        "check off.",
    ),
    F.PROXY_FAILED: (
        "`env | grep -i _proxy` shows what is set: the scheme, the host, the port and who may use "
        "it. A SOCKS proxy needs a package that m43 does not bring.",
        "Hosts that need no proxy belong into NO_PROXY.",
    ),
    F.OFFLINE_MODE: ("`unset HF_HUB_OFFLINE TRANSFORMERS_OFFLINE`",),
    F.NOT_THE_HUB: (
        "Open {endpoint} in a browser of this machine: a network for guests wants to be signed in "
        "to, a proxy may have a page of its own.",
        "Look whether HF_ENDPOINT is meant.",
    ),
    F.CONNECTION_LOST: (
        "Look at the network: a cable, a wireless link, a proxy with limits of its own.",
        "Files that had arrived whole lie in the Hugging Face cache and are not fetched again.",
    ),
    F.TRANSFER_STALLED: (
        "Try `curl -sI {endpoint}` from this machine, and look at https://status.huggingface.co",
        "`hub.transport` in {profile} chooses between plain HTTP and Xet; another one is a change "
        "of the profile, and will be listed as one.",
        "Files that had arrived whole lie in the Hugging Face cache and are not fetched again.",
    ),
    F.CACHE_UNUSABLE: (
        "Look at the owner, the rights and the file system of the Hugging Face cache (HF_HOME, "
        "HF_HUB_CACHE); a cache that may not be written will do when every pinned file is in it.",
    ),
    F.HUB_CLIENT_FAILED: (
        "Read the error above, and report it with this folder as an issue of m43.",
    ),
    F.RATE_LIMITED: ("Wait an hour, then make a new run.",),
    F.HUB_ERROR: (
        "Look at https://status.huggingface.co, wait until the hub works, then make a new run.",
    ),
    F.DOWNLOAD_CORRUPT: (
        "Look for a full or failing disk below the Hugging Face cache (`hf cache ls`).",
        "Remove this model's folder from the cache yourself, so that it is fetched again.",
    ),
    F.NO_VENV: (
        "Make the environment at {venv}, or correct `venv.path` in {profile}.",
        "`python3.11 -m venv {venv}`, then install m43's extra `cuda13` into it, with this "
        "repository as source: `{venv}/bin/pip install '.[cuda13]'`",
    ),
    F.BROKEN_VENV: (
        "See the error yourself: `{venv}/bin/python -c 'import jax; print(jax.devices())'`",
        "A virtual environment that was moved or whose Python was removed must be made again.",
    ),
    F.PACKAGE_MISMATCH: (
        "Bring the environment to what training needs, yourself: "
        "`{venv}/bin/pip install '.[cuda13]'` from this repository. Unmet: {requirements}",
        "Look at what else uses this environment before you change it.",
    ),
    F.WRONG_DEVICE: (
        _CARD,
        "`{venv}/bin/python -c 'import jax; print(jax.devices())'` must name {promised_device}.",
        "Look at CUDA_VISIBLE_DEVICES and JAX_PLATFORMS in your shell, and whether the plugin "
        "`jax-cuda13-plugin` is installed in the same version as `jax`.",
    ),
    F.DRIVER_TOO_OLD: (
        "Install an NVIDIA driver of 580 or newer (CUDA 13), or the packages of CUDA 12 "
        "(driver 525 or newer).",
        _CARD,
    ),
    F.NATIVE_WINDOWS: ("Open WSL2 (Ubuntu) on the same machine and make the run there.",),
    F.NUMERIC_CANARY: (
        "Do not train on this device as it is. Compare JAX, driver and card with the open issues "
        "of JAX (33910, 32430, 40633).",
        "Try a newer driver, or a newer patch release of JAX, and run `python -m m43 checklist`.",
    ),
    F.PLAN_DOES_NOT_FIT: (
        "Free what the gate says is lacking (memory of the device, of the machine, or disk).",
        "If it cannot be freed: {alternatives}",
        _CARD,
    ),
    F.DATA_INVALID: (_ROWS,),
    F.MODEL_INVALID: (
        "Read which file and which tensor or key is named above, and compare it with the pinned "
        "revision of {repo}.",
    ),
    F.OUT_OF_DEVICE_MEMORY: (
        _CARD + " Close them; a desktop alone holds about 1 GB.",
        "If nothing else was there, the batch of {batch_rows} rows is too large for the card: "
        "that is a change of the profile, and will be listed as one.",
        _LOG,
    ),
    F.OUT_OF_HOST_MEMORY: (
        "`dmesg | grep -i oom` names the process that the kernel ended, and its size.",
        "Close other programs or add memory or swap before a new run.",
    ),
    F.KILLED: (
        "`dmesg | tail` and `journalctl -k -e` may tell who sent the signal.",
        "In a container or a batch system, look at its memory and time limits.",
        _LOG,
    ),
    F.NON_FINITE_LOSS: (
        "Look at the last steps in training_metrics.jsonl: did loss or gradient norm grow first? "
        "Then the learning rate is too high; at step 1 a weight or a row is at fault.",
        "Another learning rate is a change of the profile, and will be listed as one.",
    ),
    F.DIVERGED: (
        "Look at loss and gradient norm in training_metrics.jsonl; a lower learning rate or a "
        "longer warm-up is a change of the profile, and will be listed as one.",
    ),
    F.TIMED_OUT: (
        "Look at the seconds per step in training_metrics.jsonl: slow from the first step (wrong "
        "device, other programs on it), or slower and slower (heat)?",
        _CARD,
    ),
    F.HUNG: (_LOG, _CARD + " A driver that has crashed says so in `dmesg | grep -i xid`."),
    F.DISK_FULL: ("`df -h` shows the full disk; free some room there before a new run.",),
    F.NOT_WRITABLE: (
        "Look at the owner and the mode of the run folder, and whether its file system is mounted "
        "read-only (`findmnt -T submission_runs`): a disk that fails is remounted so.",
    ),
    F.INTERRUPTED: (
        "If you interrupted it yourself, nothing is wrong.",
        "If not: `last -x | head`, `dmesg | tail` and `journalctl -b -1 -e` tell of power loss, "
        "signals and restarts.",
    ),
    F.EVALUATION_INCOMPLETE: (
        "Count the lines of predictions.jsonl against {eval_rows}.",
        _LOG,
    ),
    F.ENVIRONMENT_CHANGED: (
        "Find out what installs into {venv} while a run is on (an editor, a second shell, a cron "
        "job), and stop it.",
    ),
    F.TREE_CHANGED: (
        "`git status` and `git diff` show what changed. Leave the working tree alone while a run "
        "is on.",
    ),
    F.PROMISE_BROKEN: ("Compare expected and measured in the table of promises below.",),
    F.PROFILE_INVALID: ("Correct {profile} as the problems above say.",),
    F.HARNESS_ERROR: (
        "Read the problems and the excerpt; report them with this folder as an issue of m43.",
        "`make rehearsal` tells whether m43 works on this machine at all.",
    ),
}


def next_actions(dossier: LoadedRun, stop: Stop, failure_class: F) -> tuple[str, ...]:
    """List what a person can do, in order, the way to a new run last."""
    facts = words(dossier, stop)
    if dossier.kind == "production":
        again = (
            "Then: `python -m m43 checklist`, and a new run under a new name: "
            "`pytest acceptance -m production --m43-run {next_run}`. This folder stays as it is; "
            "later reports will disclose it."
        )
    else:
        again = "Then: `make rehearsal` makes a new one. This folder stays as it is."
    # The other gates leave no log of a child behind.
    logged = stop.gate in ("train-300", "eval")
    specific = tuple(text for text in ACTIONS[failure_class] if logged or text is not _LOG)
    if dossier.profile and dossier.profile.contract.platform == "cpu":
        # There is no card whose driver or memory could be looked at.
        specific = tuple(text for text in specific if not text.startswith(_CARD))
    if stop.how == "no closing record":
        specific = (
            "If a run is still going on in another shell, let it end.",
            *specific[1:],
        )
    return tuple(action.format_map(facts) for action in (*specific, again))
