"""The checks of the card before a run: what its driver tells, and what would lead JAX astray."""

import os
import platform
from collections.abc import Iterator, Mapping
from pathlib import Path

from m43.evidence.contract import EXCLUSIVE
from m43.evidence.failures import is_wsl
from m43.harness.card import look_at_card, share_of
from m43.harness.run import Item, checked, listed, note
from m43.records import CardSample, NoCard, Profile
from m43.text import size_words

_PATHS = "LD_LIBRARY_PATH"
# What JAX's own wheels bring: of these another copy may be taken first.
_OWN = ("libcudart.so", "libcudnn", "libcublas", "libcusolver", "libcusparse", "libcufft")
_WSL_LIBRARIES = Path("/usr/lib/wsl/lib")
_SEARCHED = Path("/etc/ld.so.conf.d")


def card_items(
    profile: Profile,
    environment: Mapping[str, str],
    release: str = "",
    wsl: Path = _WSL_LIBRARIES,
    searched: Path = _SEARCHED,
) -> tuple[Item, ...]:
    """Look at the card that the run will use; for a CPU there is nothing to look at.

    Args:
        profile: says where training will compute.
        environment: The engineer's variables.
        release: Of the kernel; empty asks the system.
        wsl: Where Windows lays the driver's library in WSL2.
        searched: The files that tell the linker where libraries lie.
    """
    if profile.contract.platform != "gpu":
        return ()
    found = look_at_card(environment, profile.contract.device_kind)
    in_wsl = is_wsl(release or platform.release())
    return (
        _memory(found),
        *((_mode(found),) if isinstance(found, CardSample) else ()),
        *_libraries(environment),
        *((_of_windows(environment, wsl, searched),) if in_wsl else ()),
    )


def _memory(card: CardSample | NoCard) -> Item:
    name, expected = "the card's memory now", "what is free is what a run can have"
    memory = share_of(card)
    if isinstance(card, NoCard) or memory.not_told:
        return note(name, f"not told: {memory.not_told}", expected)
    held = f"; {len(card.processes)} programs on it" if card.processes is not None else ""
    free = f"{size_words(memory.free_bytes)} of {size_words(memory.total_bytes)} free"
    return note(name, f"{card.name}: {free}, JAX would take {memory.share:.1%}{held}", expected)


def _mode(card: CardSample) -> Item:
    """A mode in which one program may use the card is none in which a run alone would fail."""
    mode = card.compute_mode or f"not told: {card.not_told.get('compute_mode', 'no word')}"
    taken = mode in EXCLUSIVE and bool(card.processes)
    return checked(
        "the card's compute mode",
        mode != "prohibited" and not taken,
        f"{mode}{f', and {len(card.processes or ())} programs on it' if taken else ''}",
        "default, or a card that nobody else uses",
        "sudo nvidia-smi -c DEFAULT, or end what is on the card",
    )


def _libraries(environment: Mapping[str, str]) -> Iterator[Item]:
    """Name the copies of CUDA's libraries that the linker would take before those of the wheels."""
    folders = [Path(each) for each in environment.get(_PATHS, "").split(os.pathsep) if each]
    copies = [
        str(path)
        for folder in folders
        if folder.is_dir()
        for path in sorted(folder.iterdir())
        if path.name.startswith(_OWN)
    ]
    if copies:
        yield note(
            f"CUDA libraries on {_PATHS}",
            listed(copies),
            "none: JAX's wheels bring their own, and these may be taken first",
            f"unset {_PATHS} in the shell that runs pytest, if training fails to start",
        )


def _of_windows(environment: Mapping[str, str], wsl: Path, searched: Path) -> Item:
    library = wsl / "libcuda.so.1"
    name, expected = "WSL2 finds the driver's library", f"{library}, on a path that is searched"
    if not library.exists():
        action = "install the NVIDIA driver in Windows, then `wsl --shutdown` and open WSL2 again"
        return checked(name, False, f"no {library}", expected, action)
    on_path = str(wsl) in environment.get(_PATHS, "").split(os.pathsep)
    texts = (path.read_text(errors="replace") for path in sorted(searched.glob("*.conf")))
    if on_path or any(str(wsl) in text.split() for text in texts):
        return checked(name, True, str(library), expected, "")
    found = f"{library}, but neither {_PATHS} nor {searched} names its folder"
    return note(name, found, expected, f"export {_PATHS}={wsl}")
