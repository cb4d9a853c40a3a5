"""Build the verifier for a browser: `python -m tools.verifier FOLDER`; `make verifier` calls it.

The folder holds the page, m43's own code and the Python of the npm package pyodide, whose archive
is pinned by its digest. It can lie on any static host, also `python -m http.server`.
"""

import base64
import gzip
import hashlib
import html
import io
import json
import shutil
import subprocess
import sys
import tarfile
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from string import Template

from m43.evidence.verify import LISTINGS, checkout_of, files, git, listed_commit
from m43.evidence.verify.claims import CLAIMS
from tools.verifier.bytecode import write_archive

REPOSITORY = Path(__file__).resolve().parents[2]
HERE = Path(__file__).parent
PACKAGE, INTEGRITY = (
    "pyodide@314.0.7",
    "sha512-0YvXxEhfEdpLfb/XkM2BFAeMROq0iMUX2bzzH9pOttyMcWkwq+HbE5uyuGD82LN7y2q+SNvi/6V5JEsOlD2R1A==",
)
WASM, PACKED_WASM = "pyodide.asm.wasm", "pyodide.asm.wasm.gz"
LOCK = "pyodide-lock.json"
RUNTIME = ("pyodide.mjs", "pyodide.asm.mjs", WASM, "python_stdlib.zip")
MOST_BYTES = 16_000_000
_NOTICE = """m43 verify for a browser.

m43: Apache License 2.0, see LICENSE.
Pyodide 314.0.7, in runtime/: Mozilla Public License 2.0. Its source: github.com/pyodide/pyodide.
CPython 3.14, in Pyodide: Python Software Foundation License. Its source: github.com/python/cpython.
"""


def main() -> int:
    """Build the folder, and say how large it is."""
    if len(sys.argv) != 2:
        sys.stderr.write("usage: python -m tools.verifier FOLDER\n")
        return 2
    folder = Path(sys.argv[1])
    archive = fetch(REPOSITORY / ".verifier-cache")
    shutil.rmtree(folder, ignore_errors=True)
    size = build(folder, archive)
    sys.stdout.write(
        f"{folder}: {size:,} bytes; put it on any static host, or\n"
        f"  python3 -m http.server -b 127.0.0.1 -d {folder}    and open http://127.0.0.1:8000\n"
    )
    return 0


def fetch(cache: Path) -> bytes:
    """Return the archive of the runtime, from the cache or by npm, held against its digest."""
    kept = cache / "runtime.tgz"
    if not kept.is_file() or _integrity(kept.read_bytes(), "sha512") != INTEGRITY:
        cache.mkdir(exist_ok=True)
        npm = shutil.which("npm")
        if npm is None:
            raise SystemExit(
                f"found no npm on the PATH, expected it to fetch {PACKAGE}; install Node.js, or "
                f"put that package's archive at {kept}"
            )
        command = [npm, "pack", "--ignore-scripts", "--silent", "--pack-destination", str(cache)]
        done = subprocess.run([*command, PACKAGE], check=False, capture_output=True, text=True)
        found = cache / f"{PACKAGE.replace('@', '-')}.tgz"
        if done.returncode != 0 or not found.is_file():
            said = done.stderr.strip().rpartition("\n")[2] or f"status {done.returncode}"
            raise SystemExit(
                f"found {said}, expected {PACKAGE} by npm pack; is its registry there?"
            )
        found.replace(kept)
    data = kept.read_bytes()
    digest = _integrity(data, "sha512")
    if digest != INTEGRITY:
        kept.unlink()
        raise SystemExit(f"found {digest} for {PACKAGE}, expected {INTEGRITY}; it was not used")
    return data


def compile_code(folder: Path) -> None:
    """Have the page's own Python compile what the page loads, by the Node.js that npm came with."""
    node = shutil.which("node")
    if node is None:
        raise SystemExit("found no node on the PATH, expected it beside npm; install Node.js")
    command = [node, str(HERE / "bytecode.mjs"), str(folder.resolve())]
    done = subprocess.run(command, check=False, capture_output=True, text=True, errors="replace")
    if done.returncode != 0:
        said = done.stderr.strip().rpartition("\n")[2] or f"status {done.returncode}"
        raise SystemExit(f"found {said}, expected bytecode by {node}; is it version 20 or newer?")


def build(folder: Path, archive: bytes, compile_code: Callable[[Path], None] = compile_code) -> int:
    """Write the folder from the runtime's archive; return its size in bytes."""
    runtime = folder / "runtime"
    runtime.mkdir(parents=True)
    with tarfile.open(fileobj=io.BytesIO(archive)) as packed:
        for name in RUNTIME:
            (runtime / name).write_bytes(_member(packed, name))
        lock = json.loads(_member(packed, LOCK))
    # The standard library is all that verify needs.
    (runtime / LOCK).write_text(json.dumps({"info": lock["info"], "packages": {}}))
    write_archive(folder / "m43.zip", _code())
    compile_code(folder)
    # Not every host packs what it sends; the worker unpacks it.
    wasm = runtime / WASM
    (runtime / PACKED_WASM).write_bytes(gzip.compress(wasm.read_bytes(), mtime=0))
    wasm.unlink()
    for name in ("page.js", "worker.js", "verifier.css"):
        shutil.copyfile(HERE / name, folder / name)
    shutil.copyfile(REPOSITORY / "m43/evidence/documents/report.css", folder / "report.css")
    shutil.copyfile(REPOSITORY / "LICENSE", folder / "LICENSE")
    (folder / "NOTICE.txt").write_text(_NOTICE, encoding="utf-8")
    (folder / "index.html").write_text(_page(folder), encoding="utf-8")
    written = sorted(path for path in folder.rglob("*") if path.is_file())
    sums = "".join(
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(folder).as_posix()}\n"
        for path in written
    )
    (folder / "SHA256SUMS").write_text(sums, encoding="utf-8")
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    if size > MOST_BYTES:
        raise SystemExit(f"found {size:,} bytes in {folder}, expected {MOST_BYTES:,} at most")
    return size


def _member(packed: tarfile.TarFile, name: str) -> bytes:
    file = packed.extractfile(f"package/{name}")
    if file is None:
        raise SystemExit(f"found no file {name} in {PACKAGE}, expected one")
    return file.read()


def _code() -> dict[str, bytes]:
    """Read what verify needs of this repository."""
    own = (HERE / name for name in ("__init__.py", "bytecode.py", "check.py"))
    needed = sorted((*files(REPOSITORY).values(), REPOSITORY / "tools/__init__.py", *own))
    code = {path.relative_to(REPOSITORY).as_posix(): path.read_bytes() for path in needed}
    return code | {LISTINGS: "".join(_listings()).encode()}


def _listings() -> Iterator[str]:
    """List the code of each commit whose runs this version judges: those of its minor version.

    Raises:
        SystemExit: if git does not answer in the middle: a run of a commit that is not listed would
            be held against the code of another, and an honest one called changed.
    """
    minor = _minor(_project(REPOSITORY.joinpath("pyproject.toml").read_bytes()))
    if not REPOSITORY.joinpath(".git").exists():
        # A copy without a history knows no commit, and says so on the page.
        return
    for commit in _ask("HEAD", "rev-list", "HEAD").decode().split():
        file = _ask(commit, "ls-tree", "--name-only", commit, "pyproject.toml").decode().strip()
        if not file:
            break
        if _minor(_project(_ask(commit, "show", f"{commit}:{file}"))) != minor:
            break
        code = checkout_of(REPOSITORY, commit)
        if code.place != f"commit {commit[:12]}":
            raise _unanswered(commit)
        yield listed_commit(commit, code.digests)


def _ask(commit: str, *words: str) -> bytes:
    answer = git(REPOSITORY, *words)
    if answer is None:
        raise _unanswered(commit)
    return answer


def _unanswered(commit: str) -> SystemExit:
    return SystemExit(
        f"found no answer of git about {commit[:12]} in {REPOSITORY}, expected its files; "
        "see what `git status` says there, and make it again"
    )


def _project(data: bytes) -> str:
    return str(tomllib.loads(data.decode())["project"]["version"])


def _minor(version: str) -> list[str]:
    return version.split(".")[:2]


def _page(folder: Path) -> str:
    style = (folder / "report.css").read_bytes()
    policy = (
        # The report in its frame is under this policy too, and its own style is known by digest.
        "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; connect-src 'self'; "
        f"style-src 'self' '{_integrity(style)}'; img-src data:; worker-src blob:; "
        # The links within it are its own, whatever the address of the page around it.
        "base-uri about:; form-action 'none'"
    )
    parts = [
        {"name": name, "size": len(data), "integrity": _integrity(data)}
        for name in (*_runtime(folder), "m43.zip", "worker.js")
        for data in [(folder / name).read_bytes()]
    ]
    head = (git(REPOSITORY, "rev-parse", "HEAD") or b"of unknown commit").decode().strip()
    changed = " with changes" if git(REPOSITORY, "status", "--porcelain") else ""
    version = _project(REPOSITORY.joinpath("pyproject.toml").read_bytes())
    return Template((HERE / "index.html").read_text(encoding="utf-8")).substitute(
        policy=policy,
        parts=json.dumps(parts),
        claims=CLAIMS,
        version=html.escape(f"m43 {version}, commit {head}{changed}"),
        report_css=_integrity(style),
        verifier_css=_integrity((folder / "verifier.css").read_bytes()),
        page_js=_integrity((folder / "page.js").read_bytes()),
    )


def _runtime(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.glob("runtime/*"))


def _integrity(data: bytes, name: str = "sha256") -> str:
    return f"{name}-{base64.b64encode(hashlib.new(name, data).digest()).decode()}"


if __name__ == "__main__":
    sys.exit(main())
