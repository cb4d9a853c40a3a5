"""The stage: inside the namespaces, the outside is set up, and commands are run in it.

Run by `tests.world.namespace` as `python -m tests.world.stage ORDER REPORT`.
"""

import contextlib
import json
import os
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

from m43.rehearsal.reply import ServedRepository
from m43.rehearsal.toy_gemma import REPO, REVISION
from tests.world.certificates import write_certificates
from tests.world.circumstances import BAD, CAS, GOOD, HUB, NAMES, STORAGE, TRANSFER, Circumstance
from tests.world.network import Elsewhere, Proxy, black_hole, silent_resolver
from tests.world.servers import Outside, Server
from tests.world.xet import XetStorage

ADDRESSES = {HUB: "127.0.1.1", STORAGE: "127.0.1.2", CAS: "127.0.1.3", TRANSFER: "127.0.1.4"}
# Where the same servers are found by a proxy that must be used: no name leads there.
BEHIND = {name: address.replace("127.0.1.", "127.0.2.") for name, address in ADDRESSES.items()}
_PATIENCE_S = 300.0


def main(order_path: Path, report_path: Path) -> None:
    """Set the outside up, run every command of the order in it, and report."""
    order = json.loads(order_path.read_text())
    circumstance = next(each for each in (*GOOD, *BAD) if each.name == order["circumstance"])
    folder = order_path.parent
    model = Path(order["model"])
    outside = Outside(
        circumstance=circumstance,
        repository=_repository(model, **order.get("served_as", {})),
        token=order["token"],
        xet=XetStorage(
            {path.name: path.read_bytes() for path in model.glob("*.safetensors")},
            cas_url=f"https://{CAS}",
            storage_url=f"https://{TRANSFER}",
        ),
    )
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    elsewhere = Elsewhere()
    kept, variables, asked = _set_up(circumstance, outside, folder)
    ended = []
    for number, words in enumerate(order["commands"]):
        ended.append(_run(words, order, variables, folder / f"output-{number}.txt"))
    report: dict[str, Any] = {
        "ended": ended,
        "seen": [[seen.host, seen.method, seen.path] for seen in outside.seen],
        "asked_resolver": asked,
        "elsewhere": elsewhere.count(),
        "left": _left_running(),
    }
    report_path.write_text(json.dumps(report))
    del kept


def _repository(
    model: Path, name: str = REPO, revision: str = REVISION, sizes: dict[str, int] | None = None
) -> ServedRepository:
    """Describe what is served: under another name, with sizes that are not true, if one says so."""
    honest = ServedRepository.from_folder(model, name=name, revision=revision)
    sizes = sizes or {}
    files = [
        replace(file, size_bytes=sizes.get(file.name, file.size_bytes)) for file in honest.files
    ]
    return replace(honest, files=tuple(files))


def _set_up(
    circumstance: Circumstance, outside: Outside, folder: Path
) -> tuple[list[object], dict[str, str], list[str]]:
    """Start everything; give what must be kept, what the engineer has set, what was looked up."""
    certificates = write_certificates(folder / "tls", NAMES, circumstance.certificate)
    asked: list[str] = []
    kept: list[object] = []
    listener, asked = silent_resolver()
    kept.append(listener)
    hidden = circumstance.proxy != "none" or circumstance.resolver == "silent"
    addresses = BEHIND if circumstance.proxy == "needed" else ADDRESSES
    if circumstance.ipv6:
        kept.append(_serve(("::1", 443), outside, certificates.chain))
        addresses = dict.fromkeys(NAMES, "::1")
    for name, address in addresses.items():
        if name in circumstance.black_holes:
            kept.append(black_hole(address))
        elif not circumstance.ipv6:
            kept.append(_serve((address, 443), outside, certificates.chain))
    if circumstance.proxy != "none":
        password = "another one" if circumstance.proxy == "refuses" else ""
        kept.append(Proxy(addresses, password=password))
    _bind_over("/etc/hosts", folder / "hosts", _hosts({} if hidden else addresses))
    # A name that is not in the file is asked of a resolver: here, of one that is silent.
    quick = "" if circumstance.resolver == "silent" else "options timeout:1 attempts:1\n"
    _bind_over("/etc/resolv.conf", folder / "resolv", f"nameserver 127.0.0.53\n{quick}")
    variables = dict(circumstance.variables)
    if circumstance.certificate != "unknown":
        variables["SSL_CERT_FILE"] = str(certificates.authority)
    return kept, variables, asked


def _serve(address: tuple[str, int], outside: Outside, chain: Path) -> Server:
    server = Server(address, outside, chain)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    return server


def _hosts(addresses: dict[str, str]) -> str:
    lines = [f"{address} {name}" for name, address in addresses.items()]
    return "\n".join(["127.0.0.1 localhost", "::1 localhost", *lines, ""])


def _bind_over(target: str, source: Path, text: str) -> None:
    source.write_text(text)
    subprocess.run(["mount", "--bind", str(source), os.path.realpath(target)], check=True)


def _run(
    words: list[str], order: dict[str, Any], variables: dict[str, str], output: Path
) -> dict[str, Any]:
    home = Path(order["home"])
    home.mkdir(exist_ok=True)
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "HF_HOME": str(home / "hf"),
        "HF_TOKEN": order["token"],
        "LANG": "C.UTF-8",
        **variables,
    }
    with output.open("wb") as printed:
        process = subprocess.Popen(
            words,
            cwd=order["folder"],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=printed,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_PATIENCE_S)
        status = process.poll()
        if status is None:
            process.kill()
            process.wait()
    return {"status": status, "output": output.read_text(errors="replace")}


def _left_running() -> list[str]:
    """List what else runs in this process namespace: everything but this stage."""
    left = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and int(folder.name) != os.getpid():
            with contextlib.suppress(OSError):
                words = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                left.append(words)
    return [words for words in left if words.strip()]


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
    # The servers' threads still answer: an interpreter that takes itself down under them can crash.
    os._exit(0)
