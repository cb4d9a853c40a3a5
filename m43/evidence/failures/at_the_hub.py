"""What is said about the failures of the token, the hub, the way there and the download."""

from collections.abc import Mapping

from m43.errors import FailureClass as F
from m43.evidence.failures.failure import Failure

_TOKEN_PAGE = "https://huggingface.co/settings/tokens"

AT_THE_HUB: Mapping[F, Failure] = {
    F.NO_TOKEN: Failure(
        sentence="There is no token in HF_TOKEN, where it has to be.",
        hint="set HF_TOKEN first",
        unasked="there was no token in HF_TOKEN",
        actions=(
            f"Make a token with read access at {_TOKEN_PAGE}.",
            "Accept the licence of the model, once, signed in to the same account: "
            "https://huggingface.co/{repo}",
            "In the shell that runs pytest: `export HF_TOKEN=…` (an empty value counts as none; a "
            "token in a file or in another variable is not taken).",
        ),
    ),
    F.TOKEN_MALFORMED: Failure(
        sentence="What HF_TOKEN holds is not a token as a hub shows it. Nothing was asked.",
        hint="set HF_TOKEN again first",
        unasked="HF_TOKEN does not hold a token as a hub shows it",
        actions=(
            "Set it again, as the hub showed it, without quotes, brackets, spaces, line ends or a "
            "word before it: `export HF_TOKEN=…` (`docker run --env-file` hands quotes on as part "
            "of the value; a token that is copied from a document may hold a hyphen, a quote or a "
            "mark without width that only looks right).",
            f"If it is lost, make a new one at {_TOKEN_PAGE}.",
        ),
    ),
    F.TOKEN_REFUSED: Failure(
        sentence="The hub at {endpoint} refused the token.",
        hint="make a new token and set HF_TOKEN to it",
        cause="The token is mistyped, expired or revoked; the hub does not say which.",
        confidence="hypothesis",
        actions=(
            f"Look at {_TOKEN_PAGE}: is the token still there and not expired?",
            "Make a new one and set it: `export HF_TOKEN=…`, whole, without quotes or spaces in "
            "it.",
        ),
    ),
    F.LICENCE_NOT_ACCEPTED: Failure(
        sentence="The hub knows the token, but its account may not read {repo}: the licence is not "
        "accepted.",
        hint="accept the licence on the page of {repo}",
        cause="The account that the token belongs to has not accepted the model's licence, or its "
        "request has not been granted yet.",
        confidence="supported",
        actions=(
            "Signed in as {account}, open https://huggingface.co/{repo} and accept the licence. "
            "Access is usually given within minutes.",
            "The token is good and can stay as it is.",
        ),
    ),
    F.TOKEN_WITHOUT_GATED_ACCESS: Failure(
        sentence="The hub knows the token, but the token itself may not read gated repositories "
        "such as {repo}.",
        hint="give the token read access to gated repositories",
        cause="The token is fine-grained and lacks the permission for gated repositories. Licence "
        "and token scope are two independent gates: the licence may well be accepted.",
        confidence="supported",
        actions=(
            f"At {_TOKEN_PAGE}, edit the token and allow 'Read access to contents of all public "
            "gated repos you can access' (or make a classic token of type read).",
            "Make sure that {account} has accepted the licence: https://huggingface.co/{repo}",
        ),
    ),
    F.WRONG_REVISION: Failure(
        sentence="The hub does not have {repo} at revision {revision}.",
        hint="correct the repository or the revision in the profile",
        cause="The repository or the commit in the profile does not exist at this hub.",
        confidence="supported",
        actions=(
            "Compare `contract.repo` and `contract.revision` in {profile} with "
            "https://huggingface.co/{repo}/commits/main",
            "Another revision is another contract: it will be listed as a difference from the "
            "locked decisions.",
        ),
    ),
    F.FILES_MISSING: Failure(
        sentence="The pinned revision of {repo} lacks files that the profile names.",
        hint="correct hub.files in the profile",
        cause="The list of files in the profile is not the list of files of that revision.",
        confidence="supported",
        actions=(
            "Compare `hub.files` in {profile} with https://huggingface.co/{repo}/tree/{revision}",
        ),
    ),
    F.WRONG_MODEL: Failure(
        sentence="What the hub at {endpoint} serves as {repo} is not the model that the contract "
        "describes.",
        cause="This hub serves another model under that name and revision, or the contract "
        "describes another one.",
        confidence="supported",
        promises=(
            "test_auth_finds_weights_of_the_promised_sizes",
            "test_auth_finds_the_promised_digests",
            "test_venv_plans_for_the_promised_model",
            "test_train_trains_the_promised_model",
        ),
        actions=(
            "Look whether HF_ENDPOINT is set and meant: the hub at {endpoint} was asked.",
            "Compare `contract.architecture`, `contract.parameters`, `contract.file_bytes` and "
            "`contract.file_sha256` in {profile} with "
            "https://huggingface.co/{repo}/tree/{revision}",
            "Another model is another contract: write it into a profile of its own, and every "
            "document will name it.",
        ),
    ),
    F.HUB_UNREACHABLE: Failure(
        sentence="{asked} gave no answer.",
        hint="look at the network and the endpoint",
        cause="There is no network, a proxy is in the way, or the endpoint is wrong.",
        confidence="hypothesis",
        actions=(
            "Try `curl -sI {endpoint}` from this machine.",
            "Look whether HF_ENDPOINT and the proxy variables are meant.",
        ),
    ),
    F.NAME_NOT_RESOLVED: Failure(
        sentence="{asked} could not be asked: its name could not be resolved to an address.",
        hint="look at the resolver and the endpoint",
        cause="There is no network, the resolver does not answer, or the endpoint is misspelt.",
        confidence="hypothesis",
        actions=(
            "Try `getent hosts` with the host's name, and look at /etc/resolv.conf.",
            "Look whether HF_ENDPOINT is spelt as it is meant.",
        ),
    ),
    F.CERTIFICATE_NOT_TRUSTED: Failure(
        sentence="{asked} shows a certificate that this machine does not trust. Nothing was sent "
        "to it.",
        hint="look at SSL_CERT_FILE, the clock and the proxy",
        cause="A proxy opens the connection and its authority is not known here, the certificate "
        "has expired, or this machine's clock is wrong.",
        confidence="hypothesis",
        actions=(
            "`date` must be right: a certificate is valid between two dates.",
            "`curl -vI {endpoint}` shows who issued the certificate. Where a company's proxy opens "
            "connections, set SSL_CERT_FILE to a file that holds its authority; m43 turns no "
            "check off.",
        ),
    ),
    F.PROXY_FAILED: Failure(
        sentence="{asked} could not be asked: the proxy that is set for it cannot be used.",
        hint="look at the proxy variables",
        cause="The proxy variables name a proxy that does not answer, refuses, or is of a kind "
        "that the hub's client cannot use.",
        confidence="supported",
        actions=(
            "`env | grep -i _proxy` shows what is set: the scheme, the host, the port and who may "
            "use it. A SOCKS proxy needs a package that m43 does not bring.",
            "Hosts that need no proxy belong into NO_PROXY.",
        ),
    ),
    F.OFFLINE_MODE: Failure(
        sentence="The hub's client was told to stay offline. Nothing was asked.",
        hint="unset HF_HUB_OFFLINE and TRANSFORMERS_OFFLINE",
        cause="HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE was set, which forbids the hub's client "
        "every request.",
        confidence="supported",
        actions=("`unset HF_HUB_OFFLINE TRANSFORMERS_OFFLINE`",),
    ),
    F.NOT_THE_HUB: Failure(
        sentence="{asked} does not answer as it should; something else may answer in its place.",
        hint="look at what answers there: a portal, a proxy, a mirror",
        cause="A network for guests, a proxy or a mirror answers in the hub's place.",
        confidence="hypothesis",
        actions=(
            "Open {endpoint} in a browser of this machine: a network for guests wants to be signed "
            "in to, a proxy may have a page of its own.",
            "Look whether HF_ENDPOINT is meant.",
        ),
    ),
    F.CONNECTION_LOST: Failure(
        sentence="{asked} began to answer, and the connection was lost before the end. Nothing is "
        "asked for a second time.",
        hint="look at the network",
        cause="Who ended the connection is not recorded.",
        confidence="unknown",
        actions=(
            "Look at the network: a cable, a wireless link, a proxy with limits of its own.",
            "Files that had arrived whole lie in the Hugging Face cache and are not fetched again.",
        ),
    ),
    F.TRANSFER_STALLED: Failure(
        sentence="The exchange with {endpoint} did not come to an end in time; m43 ended it "
        "{arrived}.",
        hint="look at the network and the hub's status page",
        cause="Whether the hub, the storage, the network or the transport stood still is not "
        "recorded.",
        confidence="unknown",
        actions=(
            "Try `curl -sI {endpoint}` from this machine, and look at "
            "https://status.huggingface.co",
            "`hub.transport` in {profile} chooses between plain HTTP and Xet; another one is a "
            "change of the profile, and will be listed as one.",
            "Files that had arrived whole lie in the Hugging Face cache and are not fetched again.",
        ),
    ),
    F.CACHE_UNUSABLE: Failure(
        sentence="The Hugging Face cache could not be used.",
        hint="look at the Hugging Face cache and its rights",
        actions=(
            "Look at the owner, the rights and the file system of the Hugging Face cache (HF_HOME, "
            "HF_HUB_CACHE); a cache that may not be written will do when every pinned file is in "
            "it.",
        ),
    ),
    F.HUB_CLIENT_FAILED: Failure(
        sentence="The hub's client ended with an error that is none of the hub's and none of the "
        "network's.",
        hint="read the error; the hub's client ended with it",
        cause="Why the hub's client failed is not recorded.",
        confidence="unknown",
        actions=("Read the error above, and report it with this folder as an issue of m43.",),
    ),
    F.RATE_LIMITED: Failure(
        sentence="{asked} takes no more requests for now.",
        hint="wait until the hub takes requests again",
        cause="This address or account asked the hub too often of late; m43 itself asks at most 4 "
        "times.",
        confidence="supported",
        actions=("Wait an hour, then make a new run.",),
    ),
    F.HUB_ERROR: Failure(
        sentence="{asked} answered with an error of its own.",
        hint="look at the hub's status page",
        cause="Why the hub failed is known to the hub only.",
        confidence="unknown",
        actions=(
            "Look at https://status.huggingface.co, wait until the hub works, then make a new run.",
        ),
    ),
    F.DOWNLOAD_CORRUPT: Failure(
        sentence="The downloaded files of {repo} are not, byte for byte, the pinned ones.",
        hint="remove the file from the cache yourself",
        promises=("test_train_starts_from_the_pinned_files",),
        actions=(
            "Look for a full or failing disk below the Hugging Face cache (`hf cache ls`).",
            "Remove this model's folder from the cache yourself, so that it is fetched again.",
        ),
    ),
}
