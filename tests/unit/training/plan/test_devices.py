"""The devices that a plan is made for: described, or measured here."""

from itertools import count
from pathlib import Path
from types import SimpleNamespace

import pytest

from m43.training.device import free_host_bytes, host_memory_bytes
from m43.training.plan import devices
from m43.training.plan.devices import (
    FOLDER,
    NoCompilerError,
    TargetError,
    devices_of,
    known_targets,
    measure_limits,
    read_target,
    target_of,
)


def test_every_bundled_card_can_be_read_and_found_by_its_name() -> None:
    """What XLA is told and what the plan divides by are the same card."""
    assert known_targets() == ("h100", "rtx5090", "v5e")
    for name in known_targets():
        target = read_target(name)
        assert target_of(target.device_kind) == target
        if target.topology:
            continue
        assert f"device_memory_size: {target.memory_bytes}\n" in target.target_config
        assert f"memory_bandwidth: {int(target.bytes_per_s)}\n" in target.target_config.replace(
            "3352320000000", "3352000000000"
        )
        assert f'device_description_str: "{target.device_kind}"' in target.target_config
        assert 0 < target.limits.memory_bytes < target.memory_bytes


def test_the_rtx_5090_is_the_one_of_the_facts() -> None:
    """209.5 TFLOP/s, 1.79 TB/s, 32,607 MiB of which a run takes nine tenths."""
    card = read_target("rtx5090")
    assert (card.flops_per_s, card.bytes_per_s) == (209.5e12, 1792e9)
    assert card.memory_bytes >> 20 == 32_606
    assert card.limits.memory_bytes == int(0.9 * card.memory_bytes)


def test_a_tpu_is_described_by_its_slices() -> None:
    """A chip of 16 GiB; libtpu itself knows what XLA has to be told of a card."""
    chip = read_target("v5e")
    assert (chip.topology, chip.target_config) == ("v5e", "")
    assert chip.limits.device == "tpu:TPU v5 lite"
    assert chip.memory_bytes == 16 << 30
    assert (chip.flops_per_s, chip.bytes_per_s, chip.link_bytes_per_s) == (197e12, 819e9, 200e9)


@pytest.mark.parametrize(
    ("count", "name", "given"), [(1, "v5e:2x2", 1), (8, "v5e:2x4", 8), (256, "v5e:16x16", 256)]
)
def test_chips_are_those_of_a_slice(
    monkeypatch: pytest.MonkeyPatch, count: int, name: str, given: int
) -> None:
    """A square or half of one; fewer than the smallest slice has are taken from it."""
    asked = []

    def topology(name: str, *, platform: str) -> SimpleNamespace:
        asked.append((name, platform))
        return SimpleNamespace(devices=range(256))

    monkeypatch.setattr(devices, "_installed", lambda package: package == "libtpu")
    monkeypatch.setattr(devices.topologies, "get_topology_desc", topology)
    assert len(devices_of(read_target("v5e"), count)) == given
    assert asked == [(name, "tpu")]
    with pytest.raises(TargetError, match="found 12 devices, expected 4, 8, 16"):
        devices_of(read_target("v5e"), 12)


def test_a_tpu_without_its_compiler_says_which_one_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of the release that goes with this JAX."""
    monkeypatch.setattr(devices, "_installed", lambda package: False)
    with pytest.raises(NoCompilerError, match=r"found no libtpu, expected libtpu==0.0.42"):
        devices_of(read_target("v5e"), 16)


def test_a_card_of_ones_own_is_read_from_its_file(tmp_path: Path) -> None:
    """A path in the place of a name."""
    path = tmp_path / "mine.toml"
    text = (FOLDER / "h100.toml").read_text()
    path.write_text(text.replace('"NVIDIA H100 80GB HBM3"\nmemory', '"My card"\nmemory'))
    assert read_target(str(path)).device_kind == "My card"
    assert target_of("My card") is None


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("usable_share = 0.9", "usable_share = 1.5", "usable_share"),
        ("flops_per_s = 989.4e12", "flops_per_s = 0.0", "flops_per_s"),
        ("bytes_per_s", "byte_rate", "byte_rate"),
        ("device_kind =", "device_kind", "Expected"),
        ("link_bytes_per_s", 'topology = "v5e"\nlink_bytes_per_s', "target_config"),
    ],
)
def test_a_wrong_card_is_refused(tmp_path: Path, old: str, new: str, told: str) -> None:
    """The key, or the line, is named."""
    path = tmp_path / "wrong.toml"
    path.write_text((FOLDER / "h100.toml").read_text().replace(old, new, 1))
    with pytest.raises(TargetError, match=told):
        read_target(str(path))


def test_an_unknown_card_is_told_which_ones_there_are() -> None:
    """Neither a name of m43 nor a file."""
    with pytest.raises(TargetError, match="cpu, h100, rtx5090, v5e"):
        read_target("rtx9090")


def test_the_cpu_is_measured_and_says_how() -> None:
    """With a clock that goes on by a second, one product of 1024 x 1024 takes one."""
    seconds = count()
    found = measure_limits(clock=lambda: float(next(seconds)))
    assert found.device == "cpu:cpu"
    assert found.flops_per_s == 2 * 1024**3
    assert found.bytes_per_s == 2 * 2**26
    assert 0 < found.memory_bytes <= host_memory_bytes()
    assert "measured when the plan was made" in found.source


@pytest.mark.parametrize(
    ("limit", "used", "expected"),
    [("max", "5", 3 * 1024), ("2048", "48", 2000), ("999999", "0", 3 * 1024)],
)
def test_free_memory_is_the_kernels_estimate_or_what_a_container_leaves(
    tmp_path: Path, limit: str, used: str, expected: int
) -> None:
    """Whichever is less."""
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal:  9 kB\nMemAvailable:  3 kB\n")
    (tmp_path / "memory.max").write_text(limit + "\n")
    (tmp_path / "memory.current").write_text(used + "\n")
    assert free_host_bytes(meminfo, tmp_path) == expected


def test_without_a_kernel_that_says_so_all_of_the_memory_counts(tmp_path: Path) -> None:
    """As on a system without /proc."""
    nothing = tmp_path / "none"
    assert free_host_bytes(nothing, tmp_path, nothing) == host_memory_bytes()
