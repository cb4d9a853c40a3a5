"""The environment, the device, the hub and the working tree, as more than one record has them."""

import re
from collections.abc import Iterator
from functools import partial
from itertools import zip_longest
from pathlib import Path

from m43.errors import Problem, differences, problem
from m43.evidence.run import LoadedRun, devices_snapshot, env_snapshot
from m43.evidence.verify.agreements.software import project_table
from m43.files import file_sha256
from m43.records import (
    DEFAULT_ENDPOINT,
    DEFAULT_HUB,
    LOOPBACK_ENDPOINT,
    SELF_VENV,
    TIME_IN_NAME,
    AuthRecord,
    ProbeRecord,
    Profile,
    RunDir,
    VenvRecord,
)

_problem = partial(problem, action="")
_COMMIT = re.compile(r"[0-9a-f]{40}(\+changes)?|none")


# --- the device --------------------------------------------------------------------------------


def device(loaded_run: LoadedRun) -> Iterator[Problem]:
    """Hold what ran where against the devices, the memory and the interpreter that were seen."""
    venv, profile, where = loaded_run.venv, loaded_run.profile, RunDir.venv.name
    if venv is None:
        return
    probe = venv.probe
    seen = [f"{each.platform}:{each.kind}" for each in probe.devices]
    errors = (probe.numerics.product_relative_error, probe.numerics.softmax_relative_error)
    ran = bool(probe.default_device)
    if ran and probe.default_device not in seen:
        yield _problem(probe.default_device, f"one of {', '.join(seen) or 'none'}", where)
    if ran == bool(probe.import_error) or ran != (min(errors) >= 0):
        found = f"{probe.default_device or 'no device'} and the error {probe.import_error!r}"
        yield _problem(found, "a computation that ran, or why none did", where)
    for each in probe.devices:
        whole = probe.host_memory_bytes if each.platform == "cpu" else each.memory_bytes
        if each.memory_bytes != whole or whole <= 0:
            found = f"{each.platform}:{each.kind} with {each.memory_bytes:,} bytes"
            yield _problem(found, f"{whole:,}, which the host has", where)
    if not 0 <= probe.numerics.duration_s <= venv.duration_s:
        found = f"a numerics check of {probe.numerics.duration_s} s"
        yield _problem(found, f"{venv.duration_s} s at most, which the gate took", where)
    if probe.disk_free_bytes < 0:
        yield _problem(f"{probe.disk_free_bytes:,} bytes free", "none below 0", where)
    if profile is not None and profile.venv.path not in (SELF_VENV, venv.path):
        yield _problem(venv.path, f"{profile.venv.path}, as in contract.lock.json", where)
    yield from _places(venv)


def _places(venv: VenvRecord) -> Iterator[Problem]:
    probe, where = venv.probe, RunDir.venv.name
    if probe.executable != venv.interpreter:
        yield _problem(probe.executable, f"{venv.interpreter}, which was called", where)
    folders = (venv.interpreter, *probe.site_packages)
    outside = [each for each in folders if not Path(each).is_relative_to(venv.path)]
    # An environment may be the system's own, or read the system's packages.
    if outside and venv.path == probe.prefix and len(outside) == len(folders):
        yield _problem(f"{outside[0]}", f"something in {venv.path}", where)
    if _major_minor(probe) not in "".join(probe.site_packages) and probe.site_packages:
        found = f"Python {probe.python_version}"
        yield _problem(found, f"that of {probe.site_packages[0]}", f"{where}, python_version")


def _major_minor(probe: ProbeRecord) -> str:
    # Debian's system Python keeps its packages under python3.
    minor = ".".join(probe.python_version.split(".")[:2])
    return f"python{minor}" if "python3." in "".join(probe.site_packages) else ""


def snapshots(run: RunDir, loaded_run: LoadedRun) -> Iterator[Problem]:
    """Write both snapshots again from venv.json; what nvidia-smi said is in no record."""
    if loaded_run.venv is None:
        return
    wanted = {
        run.env_snapshot: env_snapshot(loaded_run.venv),
        run.gpu_snapshot: devices_snapshot(loaded_run.venv),
    }
    for path, text in wanted.items():
        found = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
        begins = found if path == run.env_snapshot else found[: len(text)]
        if begins != text:
            lines = zip_longest(begins.splitlines(), text.splitlines(), fillvalue="the end")
            line, other = next((pair for pair in lines if pair[0] != pair[1]), ("", "the end"))
            yield _problem(repr(line), f"{other!r}, as venv.json has it", path.name)


# --- the hub -----------------------------------------------------------------------------------


def hub(loaded_run: LoadedRun) -> Iterator[Problem]:
    """Hold the hub that was asked, its answers and the download against the profile."""
    auth, profile, where = loaded_run.auth, loaded_run.profile, RunDir.auth.name
    if auth is None or profile is None:
        return
    yield from _endpoint(auth, profile)
    if auth.token_source == "HF_TOKEN" and "HF_TOKEN" not in auth.hub_variables:
        found = f"the variables {', '.join(auth.hub_variables) or 'none'}"
        yield _problem(found, "HF_TOKEN among them", f"{where}, hub_variables")
    if auth.token_flaw and auth.responses:
        yield _problem("answers to a token that was not sent", "none", where)
    for each in auth.responses:
        if each.status in (200, 302) and not each.error and each.causes:
            yield _problem(f"{each.step} granted, by {each.causes[0]}", "no exception", where)
    told_who = any(each.step == "whoami" and each.status == 200 for each in auth.responses)
    if auth.account and not told_who:
        yield _problem(f"the account {auth.account!r}", "none: whoami named none", where)
    names = {each.name for each in auth.files} | set(auth.missing_files)
    if auth.revision and names != set(profile.hub.files):
        yield _problem(f"files {', '.join(sorted(names))}", "those of the profile", where)
    yield from _download(loaded_run)


def _endpoint(auth: AuthRecord, profile: Profile) -> Iterator[Problem]:
    named, where = profile.hub.endpoint, f"{RunDir.auth.name}, endpoint"
    expected = DEFAULT_HUB if named == DEFAULT_ENDPOINT else named
    # HF_ENDPOINT may hold a login, which no profile does.
    asked = re.sub("(?<=://)[^/]*@", "", auth.endpoint).rstrip("/")
    if named == LOOPBACK_ENDPOINT:
        if not re.fullmatch(r"http://127\.0\.0\.1:\d{1,5}", auth.endpoint):
            yield _problem(auth.endpoint, "a hub on this machine", where)
    elif asked != expected.rstrip("/"):
        yield _problem(auth.endpoint, f"{expected}, as the profile names", where)


def _download(loaded_run: LoadedRun) -> Iterator[Problem]:
    record, profile, where = loaded_run.download, loaded_run.profile, RunDir.download.name
    if record is None or profile is None:
        return
    contract = profile.contract
    cache = Path(f"models--{contract.repo.replace('/', '--')}", "snapshots", record.revision)
    if record.cache.parts[-3:] != cache.parts:
        yield _problem(record.cache, f"{cache} of a cache", f"{where}, cache")
    if record.transport == "xet" and profile.hub.transport != "xet":
        yield _problem(
            "xet", f"{profile.hub.transport}, as the profile has it", f"{where}, transport"
        )
    whole = sum(each.size_bytes for each in record.files)
    if not 0 <= record.bytes_moved <= whole or record.requests < 0:
        found = f"{record.requests} requests, {record.bytes_moved:,} bytes moved"
        yield _problem(found, f"{whole:,} at most, which the files have", where)
    process = loaded_run.download_child.process
    if process is not None and (process.exit_status != 0 or process.ended_by_parent != "no"):
        found = f"status {process.exit_status}, ended by parent: {process.ended_by_parent}"
        yield _problem(found, "a download that ended well, for it has a record", where)


# --- before and after --------------------------------------------------------------------------


def before_and_after(loaded_run: LoadedRun) -> Iterator[Problem]:
    """Hold the closing against what it is compared with: one digest, one number of files."""
    opening, closing, venv = loaded_run.opening, loaded_run.closing, loaded_run.venv
    if opening is None or closing is None:
        return
    same_tree = opening.tree_sha256 == closing.tree_sha256
    pairs: dict[str, tuple[object, object]] = {
        "left_out": (closing.left_out, opening.left_out),
        "changed_paths": (bool(closing.changed_paths), not same_tree),
    }
    if same_tree:
        pairs["tree_files"] = (closing.tree_files, opening.tree_files)
    # What of M42 is another one is among the paths that changed.
    changed = {line.partition("  ")[2] for line in {*opening.m42} ^ {*closing.m42}}
    pairs["m42"] = (tuple(sorted(changed - {*closing.changed_paths})), ())
    if venv is not None and closing.packages_sha256:
        same = closing.packages_sha256 == venv.packages_sha256
        pairs["changed_packages"] = (bool(closing.changed_packages), not same)
    yield from differences(pairs, RunDir.closing.name, "")


def opening_words(run: RunDir, loaded_run: LoadedRun, repository: Path) -> Iterator[Problem]:
    """Hold what the opening says of the call against the profile and the code of the run."""
    opening, where = loaded_run.opening, RunDir.opening.name
    if opening is None:
        return
    listed = run.code.read_text(encoding="utf-8", errors="replace") if run.code.is_file() else ""
    lines = (line.partition("  ") for line in listed.split("\n"))
    digests = {name: digest for digest, _, name in lines}
    own = digests.get(opening.profile)
    if own is not None and own != opening.profile_sha256:
        expected = f"{own}, as in {run.code.name}"
        yield _problem(opening.profile_sha256, expected, f"{where}, profile_sha256")
    words, bundled = opening.command, f"{opening.contract}/{opening.kind}.toml"
    own_profile = any(word.startswith("--m43-profile") for word in words)
    if opening.profile != bundled and not own_profile and not opening.profile_differences:
        yield _problem(opening.profile, f"{bundled}, as none was named", f"{where}, profile")
    asked = words[words.index("-m") + 1] if "-m" in words[:-1] else ""
    if asked in ("production", "rehearsal") and asked != opening.kind:
        yield _problem(f"-m {asked}", opening.kind, f"{where}, command")
    named = words[words.index("--m43-run") + 1] if "--m43-run" in words[:-1] else opening.run
    if named != opening.run and TIME_IN_NAME not in named:
        yield _problem(f"--m43-run {named}", opening.run, f"{where}, command")
    version = project_table(repository).get("version")
    from_here = version and digests.get("pyproject.toml") == file_sha256(
        repository / "pyproject.toml"
    )
    if from_here and opening.m43_version not in (version, "not installed"):
        yield _problem(opening.m43_version, version, f"{where}, m43_version")
    if not _COMMIT.fullmatch(opening.commit):
        yield _problem(opening.commit, "a commit", f"{where}, commit")
    tree = opening.tree_commit
    if tree and (opening.commit != "none" or not _COMMIT.fullmatch(tree)):
        expected = "a commit of the tree, where m43 was installed and has none"
        yield _problem(f"{tree} beside commit {opening.commit}", expected, f"{where}, tree_commit")
    vitals = loaded_run.vitals
    if vitals is not None and (vitals.pid <= 0 or vitals.oom_kills < 0):
        yield _problem(
            f"pid {vitals.pid}, {vitals.oom_kills} kills", "a process", RunDir.vitals.name
        )
