"""The origins: which files this process runs, as its parent is told at the end of the work."""

import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from m43.records import Origins

_MAPS = Path("/proc/self/maps")
_STARTUP = ("sitecustomize", "usercustomize")


def origins() -> Origins:
    """Name what was imported so far; functions that were put somewhere afterwards are not seen."""
    loaded = {name: module for name, module in sys.modules.copy().items() if module is not None}
    # The first finder, where this process was begun as a run begins it.
    own = getattr(sys.meta_path[0], "digests", {})
    given = {name for name, module in loaded.items() if _loader(module) is sys.meta_path[0]}
    others = (module for name, module in loaded.items() if name not in given)
    modules = {file for module in others for file in _files(module)}
    return Origins(
        own=tuple(f"{digest}  {name}" for name, digest in sorted(own.items())),
        modules=tuple(sorted(modules)),
        libraries=tuple(sorted(set(_mapped(_MAPS)) - modules)),
        standard=sysconfig.get_path("stdlib"),
        startup=tuple(name for name in _STARTUP if name in loaded),
    )


def _loader(module: ModuleType) -> object:
    return getattr(getattr(module, "__spec__", None), "loader", None)


def _files(module: ModuleType) -> Iterator[str]:
    """Name a module's file, by what it says itself and by what the import system says of it.

    Modules that are made in memory say nothing, or name a file that nobody can find, as torch.ops
    does ("_ops.py"); what made them came from a file.
    """
    spec, named = getattr(module, "__spec__", None), getattr(module, "__file__", None)
    located = getattr(spec, "has_location", False)
    names = (named, getattr(spec, "origin", None) if located else None)
    for path in (Path.cwd() / name for name in names if isinstance(name, str)):
        if located or path.is_file():
            yield str(path)


def _mapped(maps: Path) -> Iterator[str]:
    """Name the files that are mapped to be executed; systems without /proc tell nothing.

    Source: proc(5), /proc/PID/maps: address, permissions, offset, device, inode, path.
    """
    try:
        lines = maps.read_text(errors="surrogateescape").splitlines()
    except OSError:
        return
    for line in lines:
        _, permissions, _, _, _, *rest = line.split(maxsplit=5)
        # What drivers unmake at once has no file any more, nor have regions of the kernel.
        if "x" in permissions and rest and Path(rest[0]).is_file():
            yield rest[0]
