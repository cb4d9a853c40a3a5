"""The surroundings: the shell, the disks and the folders that a run is begun in."""

import errno
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from m43.evidence.contract import contract_path, folder_of
from m43.evidence.journal import holds_secret, is_searchable, lines_with_secret
from m43.harness.run.connection import connection_problems
from m43.harness.run.hub_access import HubAccess
from m43.harness.run.items import Item, checked, listed, note
from m43.harness.run.opening import git_files, shown
from m43.harness.run.traces import meets, own_traces
from m43.records import DEFAULT_ENDPOINT, Profile
from m43.text import is_address


def writable(name: str, folder: Path, repository: Path) -> Item:
    """Tell whether a folder is there, or can be made, and takes files."""
    folder = Path.cwd() / folder
    # The nearest folder that exists: what is missing below it, the run makes. Not Path.exists,
    # which raises where a folder above may not be entered.
    there = next(each for each in (folder, *folder.parents) if os.path.exists(each))  # noqa: PTH110
    trouble = _trouble(there)
    found = f"{os.strerror(trouble)}: {shown(there, repository)}" if trouble else "yes"
    action = f"look at the owner, the rights and the room of {there}"
    return checked(name, not trouble, found, "yes", action)


def _trouble(folder: Path) -> int:
    """Give the error that a file made in a folder would meet; 0 when none is foreseen."""
    if not folder.is_dir():
        return errno.ENOTDIR
    if not os.access(folder, os.W_OK | os.X_OK):
        read_only = os.statvfs(folder).f_flag & os.ST_RDONLY
        return errno.EROFS if read_only else errno.EACCES
    return errno.ENOSPC if _is_full(folder) else 0


def _is_full(folder: Path) -> bool:
    room = os.statvfs(folder)
    # File systems that do not count their files say 0 of 0.
    return room.f_bavail == 0 or (room.f_files > 0 and room.f_favail == 0)


def temporary(repository: Path) -> Item:
    """Tell whether there is room for what is thrown away afterwards."""
    name = "temporary files can be written"
    try:
        folder = Path(tempfile.gettempdir())
    except FileNotFoundError as error:
        return checked(name, False, str(error.strerror), "yes", "set TMPDIR to a folder with room")
    return writable(name, folder, repository)


def hubs_items(hub_access: HubAccess, profile: Profile, repository: Path) -> Iterator[Item]:
    """Look at what a hub needs that is not the run's own."""
    yield _cache(hub_access, profile, repository)
    named = hub_access.environment.get("HF_ENDPOINT")
    if profile.hub.endpoint == DEFAULT_ENDPOINT and named is not None:
        # A login in it may be; whatever is at fault, it is not shown.
        scheme, colon, rest = named.rstrip("/").partition("://")
        holds = is_address(f"{scheme}{colon}{rest.rpartition('@')[2]}")
        yield checked(
            "HF_ENDPOINT is the address of a hub",
            holds,
            "yes" if holds else "no" if named else "no, it is empty",
            "an address such as https://huggingface.co",
            "correct HF_ENDPOINT, or unset it",
        )
    if hub_access.hub_is_here:
        return
    problems = connection_problems(hub_access.environment)
    yield checked(
        "the hub's client can use the proxies and certificates",
        not problems,
        "; ".join(f"{each.where}: {each.found}" for each in problems) or "yes",
        "; ".join(dict.fromkeys(each.expected for each in problems)) or "yes",
        "; ".join(each.action for each in problems),
    )
    if (
        "REQUESTS_CA_BUNDLE" in hub_access.environment
        and "SSL_CERT_FILE" not in hub_access.environment
    ):
        yield note(
            "REQUESTS_CA_BUNDLE",
            "set, and not read by the hub's client",
            "SSL_CERT_FILE, where a proxy or a hub has a certificate of its own",
        )


def _cache(hub_access: HubAccess, profile: Profile, repository: Path) -> Item:
    """Look for a cache that has what is pinned, or that can take it.

    Source: huggingface_hub 2.4, file_download.py, repo_folder_name and _get_pointer_path.
    """
    name = "the Hugging Face cache can be written, or holds the pinned files"
    if str(hub_access.cache).startswith("~"):
        found = f"{hub_access.cache.parts[0]}, which is nobody's home folder"
        return checked(name, False, found, "a place for the cache", "set HOME, or HF_HOME")
    contract = profile.contract
    folder = hub_access.cache / f"models--{contract.repo.replace('/', '--')}"
    snapshot = folder / "snapshots" / contract.revision
    # Not Path.is_file, which raises where a folder above may not be entered.
    if all(os.path.isfile(snapshot / file) for file in profile.hub.files):  # noqa: PTH113
        return checked(name, True, "it holds them", "yes", "")
    return writable(name, hub_access.cache, repository)


def innocent(hub_access: HubAccess, profile: Profile, path: Path, repository: Path) -> Item:
    """Look for secrets in what the run copies, or quotes, and would then be refused for."""
    promised = contract_path(repository, folder_of(path, repository))
    found = [
        f"{shown(file, repository)}{f':{line}' if line else ''}: {what}"
        for file in (path, promised, profile.data.train, profile.data.evaluation)
        for line, what in _secrets_in(file, hub_access)
    ]
    texts = {"the path of the checkout": str(repository), "the name of the run": profile.run.name}
    found += [
        f"{place}: {secret.name}"
        for place, text in texts.items()
        for secret in hub_access.named_secrets
        if holds_secret(os.fsencode(text), [secret.value])
    ]
    return checked(
        "no secret stands in what the run writes down",
        not found,
        listed(found) if found else "none",
        "none: a run folder that holds a token or a password is not accepted",
        "take it out of there, and give a token that stood in a file back to the hub",
    )


def _secrets_in(file: Path, hub_access: HubAccess) -> Iterator[tuple[int, str]]:
    named = [
        (each.name, [each.value]) for each in hub_access.named_secrets if is_searchable(each.value)
    ]
    told: set[int] = set()
    # By shape first: what has it is found beside every secret, and is told once.
    for what, values in (("something shaped like a hub token", []), *named):
        try:
            lines = lines_with_secret(file, values)
        except OSError:
            # A file that is missing is the matter of another check.
            return
        yield from ((line, what) for line in lines if line not in told)
        told.update(lines)


def traces(hub_access: HubAccess, profile: Profile, path: Path, repository: Path) -> Iterator[Item]:
    """Name what the watch over the checkout leaves out, unless it would hide the submission."""
    data = (path, profile.data.train, profile.data.evaluation)
    harmless, harmful = [], []
    for trace in own_traces(hub_access.environment, repository, profile):
        within = trace.within(repository)
        hidden = meets(trace, repository, data, git_files(repository, within))
        if hidden:
            harmful.append(f"{within} ({trace.of}), where {hidden} would be hidden")
        else:
            harmless.append(f"{within} ({trace.of})")
    if harmful:
        yield checked(
            "what the run writes leaves the submission alone",
            False,
            listed(harmful),
            "caches, temporary files and output elsewhere, or in a folder of their own",
            "set HF_HOME, HF_HUB_CACHE, TMPDIR or the file of the output to another place",
        )
    if harmless:
        yield note(
            "not watched in the checkout",
            listed(harmless),
            "what the run itself writes there; the documents name it",
        )


def unsearched(hub_access: HubAccess) -> Iterator[Item]:
    """Name the secrets that no file is searched for."""
    if hub_access.unsearched:
        yield note(
            "secrets that are also words",
            f"{listed(hub_access.unsearched)}: too short or too like a word to be searched for; "
            "hidden in addresses only",
            "8 characters or more, of several kinds",
        )


def variables(hub_access: HubAccess) -> Item:
    """Name what may have been set for another purpose."""
    found = ", ".join(hub_access.hub_variables) or "none"
    return note("variables that steer huggingface_hub", found, "HF_TOKEN alone is needed")
