"""What a person can do after each failure. m43 does none of it: no fixes, no retries."""

from collections.abc import Mapping

from m43.errors import FailureClass as F
from m43.evidence.dossier import Dossier
from m43.evidence.explanations import words
from m43.evidence.stop import Stop

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


def next_actions(dossier: Dossier, stop: Stop, failure_class: F) -> tuple[str, ...]:
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
