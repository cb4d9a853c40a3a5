"""Compile what the page loads, ahead of time: called by the page's own Python when it is built.

To compile is most of what a start of Python costs in a browser, which keeps nothing between two
visits. What is left out here is compiled when it is imported, as ever.
"""

import json
import py_compile
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from importlib.util import cache_from_source
from pathlib import Path


def compile_loaded(library: str, code: str, code_lies_in: str) -> None:
    """Write the bytecode of every module that is imported now into the archive that it came from.

    Args:
        library: path of the archive of the standard library, from which Python imports. There the
            bytecode takes the place of the source, for which there is no room.
        code: path of the archive of m43's code. There it lies beside the source, which is digested.
        code_lies_in: the folder that it is unpacked into.
    """
    specs = (getattr(module, "__spec__", None) for module in [*sys.modules.values()])
    loaded = {str(spec.origin) for spec in specs if spec is not None}
    library_lies_in = str(Path(json.__file__).parents[1])
    for archive, folder in ((library, library_lies_in), (code, code_lies_in)):
        with zipfile.ZipFile(archive) as packed:
            files = {name: packed.read(name) for name in packed.namelist()}
        write_archive(
            Path(archive),
            dict(_compiled(files, folder, loaded, beside_source=archive == code)),
        )


def write_archive(path: Path, files: dict[str, bytes]) -> None:
    """Pack files; the same bytes for the same files, whenever that is."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as target:
        for name, data in files.items():
            entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            target.writestr(entry, data)


def _compiled(
    files: dict[str, bytes], folder: str, loaded: set[str], *, beside_source: bool
) -> Iterator[tuple[str, bytes]]:
    for name, data in files.items():
        lies_at = f"{folder}/{name}"
        if lies_at not in loaded:
            yield name, data
            continue
        if beside_source:
            yield name, data
        yield cache_from_source(name) if beside_source else f"{name}c", _bytecode(data, lies_at)


def _bytecode(source: bytes, lies_at: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path, written = Path(folder) / "source.py", Path(folder) / "bytecode"
        path.write_bytes(source)
        # By the digest of the source, which nobody compares: a time would differ at every build.
        mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
        py_compile.compile(str(path), str(written), lies_at, doraise=True, invalidation_mode=mode)
        return written.read_bytes()
