"""The card before a run: memory, compute mode, libraries that lead astray, WSL2."""

from dataclasses import replace
from pathlib import Path

import pytest

from m43.harness.commands.card_checks import card_items
from m43.harness.run.items import Item
from m43.records.profile import Profile
from tests.unit.harness.card.fake_nvml import DRIVER_NOT_LOADED, FakeCard, FakeNvml, install

GIB = 1 << 30
LINUX, WSL = "6.8.0-52-generic", "5.15.167.4-microsoft-standard-WSL2"
MODE, MEMORY = "the card's compute mode", "the card's memory now"


@pytest.fixture
def on_card(profile: Profile) -> Profile:
    """Give a profile that trains on a card."""
    return replace(profile, contract=replace(profile.contract, platform="gpu"))


def by_name(items: tuple[Item, ...]) -> dict[str, Item]:
    """Give items by their names."""
    return {item.name: item for item in items}


def test_a_cpu_has_no_card_to_look_at(profile: Profile) -> None:
    """Nothing is asked."""
    assert card_items(profile, {}, LINUX) == ()


def test_a_card_that_is_free_is_told_with_its_memory(
    monkeypatch: pytest.MonkeyPatch, on_card: Profile
) -> None:
    """What a run could have of it, and how many programs are there."""
    card = FakeCard(total=32 * GIB, used=14 * GIB, compute=(), graphics=((901, GIB),))
    install(monkeypatch, FakeNvml(cards=[card]))
    items = by_name(card_items(on_card, {}, LINUX))
    assert set(items) == {MEMORY, MODE}
    assert items[MEMORY].state == "note"
    assert items[MEMORY].found == (
        "NVIDIA GeForce RTX 5090: 18.00 GiB of 32.00 GiB free, JAX would take 50.0%; "
        "1 programs on it"
    )
    assert (items[MODE].state, items[MODE].found) == ("ok", "default")


@pytest.mark.parametrize(
    ("mode", "compute", "state"),
    [
        (0, ((7, GIB),), "ok"),
        (3, (), "ok"),
        (3, ((7, GIB),), "NO"),
        (2, (), "NO"),
    ],
)
def test_a_mode_in_which_a_run_would_be_refused_is_a_no(
    monkeypatch: pytest.MonkeyPatch,
    on_card: Profile,
    mode: int,
    compute: tuple[tuple[int, int], ...],
    state: str,
) -> None:
    """Exclusive is fine where nobody else is; prohibited never is."""
    card = FakeCard(compute_mode=mode, compute=compute, graphics=())
    install(monkeypatch, FakeNvml(cards=[card]))
    item = by_name(card_items(on_card, {}, LINUX))[MODE]
    assert item.state == state
    assert ("nvidia-smi -c DEFAULT" in item.action) == (state == "NO")


def test_without_a_driver_that_answers_the_reason_is_told(
    monkeypatch: pytest.MonkeyPatch, on_card: Profile
) -> None:
    """And nothing is claimed of a mode."""
    install(monkeypatch, FakeNvml(init=DRIVER_NOT_LOADED))
    items = by_name(card_items(on_card, {}, LINUX))
    assert set(items) == {MEMORY}
    assert items[MEMORY].found == "not told: Driver Not Loaded"


def test_copies_of_cudas_libraries_on_the_path_are_named(
    monkeypatch: pytest.MonkeyPatch, on_card: Profile, tmp_path: Path
) -> None:
    """Each file; a folder without any, one that is not there, and an empty part say nothing."""
    install(monkeypatch, FakeNvml())
    (tmp_path / "libcudnn.so.8").touch()
    (tmp_path / "libgomp.so.1").touch()
    (tmp_path / "other").mkdir()
    path = f"{tmp_path}/other:{tmp_path}::{tmp_path}/none"
    items = by_name(card_items(on_card, {"LD_LIBRARY_PATH": path}, LINUX))
    item = items["CUDA libraries on LD_LIBRARY_PATH"]
    assert (item.state, item.found) == ("note", str(tmp_path / "libcudnn.so.8"))
    assert "unset LD_LIBRARY_PATH" in item.action
    others = card_items(on_card, {"LD_LIBRARY_PATH": f"{tmp_path}/other"}, LINUX)
    assert item.name not in by_name(others)


@pytest.mark.parametrize(
    ("there", "on_path", "searched", "state"),
    [
        (True, True, False, "ok"),
        (True, False, True, "ok"),
        (True, False, False, "note"),
        (False, True, True, "NO"),
    ],
)
def test_wsl_needs_the_drivers_library_on_a_path(
    monkeypatch: pytest.MonkeyPatch,
    on_card: Profile,
    tmp_path: Path,
    there: bool,
    on_path: bool,
    searched: bool,
    state: str,
) -> None:
    """From the variable or from the linker's own files; without it there is no card."""
    install(monkeypatch, FakeNvml())
    wsl, conf = tmp_path / "wsl", tmp_path / "ld.so.conf.d"
    for folder in (wsl, conf):
        folder.mkdir()
    if there:
        (wsl / "libcuda.so.1").touch()
    (conf / "ld.wsl.conf").write_text(f"# automatic\n{wsl}\n" if searched else "/opt/lib\n")
    environment = {"LD_LIBRARY_PATH": str(wsl)} if on_path else {}
    items = by_name(card_items(on_card, environment, WSL, wsl, conf))
    item = items["WSL2 finds the driver's library"]
    assert item.state == state
    assert bool(item.action) == (state != "ok")
    # Windows' own libraries are no copies that lead astray.
    assert "CUDA libraries on LD_LIBRARY_PATH" not in items
