"""Why the hub's client failed: the class that its exceptions and a status point to."""

import errno
from collections.abc import Mapping, Sequence

from m43.errors import FailureClass as F
from m43.errors import causes
from m43.records import HubResponse, HubStep

# The error of a step that m43 itself ended.
DEADLINE, CHILD_ENDED = "DeadlineError", "ChildEndedError"

CLASS_OF_CAUSE: Mapping[str, F] = {
    # huggingface_hub.errors; a refusal that is gated is also a repository that is not found.
    "GatedRepoError": F.LICENCE_NOT_ACCEPTED,
    "RevisionNotFoundError": F.WRONG_REVISION,
    "EntryNotFoundError": F.FILES_MISSING,
    "RemoteEntryNotFoundError": F.FILES_MISSING,
    "OfflineModeIsEnabled": F.OFFLINE_MODE,
    "FileMetadataError": F.NOT_THE_HUB,
    # m43's own bounds.
    DEADLINE: F.TRANSFER_STALLED,
    CHILD_ENDED: F.HUB_CLIENT_FAILED,
    "RedirectedError": F.NOT_THE_HUB,
    "AnswerTooLargeError": F.NOT_THE_HUB,
    "CompressedAnswerError": F.NOT_THE_HUB,
    "OtherCommitError": F.HUB_ERROR,
    # What lies behind a connection that is not made, before the connection's own error.
    "SSLCertVerificationError": F.CERTIFICATE_NOT_TRUSTED,
    "SSLError": F.CERTIFICATE_NOT_TRUSTED,
    "gaierror": F.NAME_NOT_RESOLVED,
    "ProxyError": F.PROXY_FAILED,
    "UnsupportedProtocol": F.PROXY_FAILED,
    "ImportError": F.PROXY_FAILED,
    "ConnectError": F.HUB_UNREACHABLE,
    "ConnectTimeout": F.HUB_UNREACHABLE,
    "ReadTimeout": F.HUB_UNREACHABLE,
    "WriteTimeout": F.HUB_UNREACHABLE,
    "PoolTimeout": F.HUB_UNREACHABLE,
    "RemoteProtocolError": F.CONNECTION_LOST,
    "ReadError": F.CONNECTION_LOST,
    "WriteError": F.CONNECTION_LOST,
    # The cache's file system.
    **{errno.errorcode[code]: F.DISK_FULL for code in (errno.ENOSPC, errno.EDQUOT)},
    **{
        errno.errorcode[code]: F.CACHE_UNUSABLE
        for code in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOLCK, errno.ENOTDIR,
                     errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP, errno.EIO, errno.EMFILE)
    },
    "NoHomeError": F.CACHE_UNUSABLE,
    # A yes that is no JSON, or JSON of another form.
    "JSONDecodeError": F.NOT_THE_HUB,
    "NotATableError": F.NOT_THE_HUB,
    "UnicodeDecodeError": F.NOT_THE_HUB,
    "DecodingError": F.NOT_THE_HUB,
}  # fmt: skip
"""By the name of an exception's type or the symbol of its errno; the first that is there counts."""


def class_of_causes(causes: Sequence[str]) -> F | None:
    """Name the failure that a chain of exceptions shows; None when it shows none of these."""
    return next((known for name, known in CLASS_OF_CAUSE.items() if name in causes), None)


def cause_names(error: BaseException) -> tuple[str, ...]:
    """List what an exception and those behind it are: each one's type, and its errno's symbol."""
    names: list[str] = []
    for part in causes(error):
        names.append(type(part).__name__)
        # getaddrinfo and ssl number their errors otherwise.
        own_numbers = type(part).__name__ == "gaierror" or "SSL" in type(part).__name__
        if isinstance(part, OSError) and not own_numbers:
            names.extend({errno.errorcode.get(part.errno or 0, "")} - {""})
        if isinstance(part, RuntimeError) and "home directory" in str(part):
            names.append("NoHomeError")
    return tuple(dict.fromkeys(names))


def granting(step: str) -> tuple[int, ...]:
    """Return the statuses by which the hub says yes to a step."""
    # 302: large files lie in a storage, and the hub sends there whom it grants them.
    return (200, 302) if step == "weights_head" else (200,)


def response_class(response: HubResponse) -> F | None:
    """Name what an answer of the hub means; None when it is a yes.

    Source: huggingface_hub.errors. `GatedRepoError` comes with 401 or 403 and is told by its name;
    a fine-grained token without the permission gives a plain 403.
    """
    # A yes that could not be read is none: a hotel's page for guests comes with 200 as well.
    if response.status in granting(response.step) and not response.error:
        return None
    return hub_answer_class(response.step, response.status, response.causes)


def hub_answer_class(step: HubStep, status: int, causes: Sequence[str]) -> F:
    """Name what a refusal or a failure of the hub, of the way there or of its client means.

    Args:
        step: What was asked.
        status: The HTTP status, 0 when no answer came.
        causes: The exception of the client and those behind it, as `cause_names` lists them.
    """
    forbidden = F.TOKEN_REFUSED if step == "whoami" else F.TOKEN_WITHOUT_GATED_ACCESS
    not_found = F.FILES_MISSING if step == "weights_head" else F.WRONG_REVISION
    by_status = {
        401: F.TOKEN_REFUSED,
        403: forbidden,
        404: not_found,
        429: F.RATE_LIMITED,
    }
    # A redirect is an answer; what m43 makes of it is its own refusal to follow.
    of_client = class_of_causes(causes) or by_status.get(status)
    if of_client is not None:
        return of_client
    return F.HUB_ERROR if status else F.HUB_CLIENT_FAILED
