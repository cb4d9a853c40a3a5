"""One look at a card: everything that a driver tells, and what it does not, by name."""

import ctypes
import dataclasses
import importlib
import subprocess
import sys

import pynvml
import pytest

from m43.harness.card import Card, read_card
from m43.records import CardProcess, CardSample, NoCard
from m43.typed_json import dump_line, parse
from tests.unit.harness.card import fake_nvml
from tests.unit.harness.card.fake_nvml import FakeCard, FakeNvml, install

LINUX, WSL = "6.8.0-45-generic", "5.15.167.4-microsoft-standard-WSL2"


def look(
    environment: dict[str, str] | None = None, release: str = LINUX, kind: str = ""
) -> CardSample:
    """Open the card, look once, close it."""
    card = Card.open(environment or {}, kind, release)
    assert isinstance(card, Card), card
    sample = card.look()
    card.close()
    return sample


def test_a_card_that_works_tells_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each value is the one that the library gave, in the unit that its field names."""
    install(monkeypatch, FakeNvml())
    assert look() == CardSample(
        chosen_by="the only card",
        under="",
        name="NVIDIA GeForce RTX 5090",
        uuid="GPU-5c4a1d2e-0000-4000-8000-000000000001",
        driver_version="580.95.05",
        compute_mode="default",
        power_mw=512_345,
        power_limit_mw=575_000,
        energy_mj=7_000_000_123,
        utilisation_percent=97,
        memory_total_bytes=34_190_917_632,
        memory_used_bytes=29_400_000_000,
        memory_free_bytes=4_790_917_632,
        processes=(
            CardProcess(pid=901, memory_bytes=900_000_000),
            CardProcess(pid=4242, memory_bytes=28_000_000_000),
        ),
        sm_clock_mhz=2580,
        sm_clock_max_mhz=3090,
        memory_clock_mhz=14_001,
        temperature_c=71,
        throttle_reasons=("power cap",),
        ecc_corrected=0,
        ecc_uncorrected=0,
        not_told={},
    )


def test_a_sample_is_read_back_as_it_was_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also one with nothing in it but words."""
    library = install(monkeypatch, FakeNvml())
    for fails in ({}, {"*": fake_nvml.NOT_SUPPORTED}):
        library.cards[0].fails = fails
        sample = look()
        assert parse(CardSample, dump_line(sample), "a line") == (sample, ())


@pytest.mark.parametrize(
    ("function", "names"),
    [
        ("nvmlDeviceGetName", {"name"}),
        ("nvmlDeviceGetUUID", {"uuid"}),
        ("nvmlDeviceGetPowerUsage", {"power_mw"}),
        ("nvmlDeviceGetEnforcedPowerLimit", {"power_limit_mw"}),
        ("nvmlDeviceGetTotalEnergyConsumption", {"energy_mj"}),
        ("nvmlDeviceGetUtilizationRates", {"utilisation_percent"}),
        (
            "nvmlDeviceGetMemoryInfo",
            {"memory_total_bytes", "memory_used_bytes", "memory_free_bytes"},
        ),
        ("nvmlDeviceGetComputeRunningProcesses_v3", {"processes"}),
        ("nvmlDeviceGetGraphicsRunningProcesses_v3", {"processes"}),
        ("nvmlDeviceGetClockInfo", {"sm_clock_mhz", "memory_clock_mhz"}),
        ("nvmlDeviceGetMaxClockInfo", {"sm_clock_max_mhz"}),
        ("nvmlDeviceGetTemperatureV", {"temperature_c"}),
        ("nvmlDeviceGetCurrentClocksEventReasons", {"throttle_reasons"}),
        ("nvmlDeviceGetTotalEccErrors", {"ecc_corrected", "ecc_uncorrected"}),
        ("nvmlDeviceGetComputeMode", {"compute_mode"}),
    ],
)
def test_what_is_refused_alone_is_not_told_alone(
    monkeypatch: pytest.MonkeyPatch, function: str, names: set[str]
) -> None:
    """The other answers stand; of this one there is None and NVML's word."""
    install(monkeypatch, FakeNvml(cards=[FakeCard(fails={function: fake_nvml.NOT_SUPPORTED})]))
    sample = look()
    assert sample.not_told == dict.fromkeys(names, "Not Supported")
    assert {
        each.name for each in dataclasses.fields(sample) if getattr(sample, each.name) is None
    } == names


def test_wsl2_tells_neither_energy_nor_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is said by name; memory by process is not counted there even where one is listed."""
    fails = dict.fromkeys(
        ("nvmlDeviceGetTotalEnergyConsumption", "nvmlDeviceGetGraphicsRunningProcesses_v3"),
        fake_nvml.NOT_SUPPORTED,
    )
    install(monkeypatch, FakeNvml(cards=[FakeCard(fails=fails)]))
    sample = look(release=WSL)
    assert sample.under == "WSL2"
    assert sample.not_told == dict.fromkeys(("energy_mj", "processes"), "Not Supported")
    assert (sample.energy_mj, sample.processes, sample.power_mw) == (None, None, 512_345)


def test_memory_that_is_not_counted_by_process_is_not_a_number(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """NVML_VALUE_NOT_AVAILABLE is 2**64 - 1, which is more than any card has."""
    install(monkeypatch, FakeNvml(cards=[FakeCard(compute=((7, fake_nvml.NOT_AVAILABLE),))]))
    assert (look().processes or ())[0] == CardProcess(pid=7, memory_bytes=None)


@pytest.mark.parametrize("count", [0, 1, 40])
def test_any_number_of_processes_is_listed(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """A program that computes and draws is in both lists, and is one process."""
    held = tuple((pid, pid << 20) for pid in range(1, count + 1))
    install(monkeypatch, FakeNvml(cards=[FakeCard(compute=held, graphics=held[:1])]))
    assert look().processes == tuple(CardProcess(pid=p, memory_bytes=size) for p, size in held)


def test_an_instance_of_a_divided_card_is_found_by_its_uuid(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """MIG: memory is the instance's, and what belongs to the whole card is not told of it."""
    names = ("PowerUsage", "EnforcedPowerLimit", "TotalEnergyConsumption", "ClockInfo")
    fails = {f"nvmlDeviceGet{name}": fake_nvml.INVALID_ARGUMENT for name in names}
    instance = FakeCard(uuid="MIG-77", is_instance=True, total=10 << 30, used=0, fails=fails)
    install(monkeypatch, FakeNvml(cards=[FakeCard(mig=1), instance]))
    sample = look({"CUDA_VISIBLE_DEVICES": "MIG-77"})
    assert (sample.under, sample.memory_free_bytes) == ("MIG", 10 << 30)
    assert sample.not_told["power_mw"] == "Invalid Argument"
    assert look({"CUDA_VISIBLE_DEVICES": "0"}).under == "MIG"


def test_a_card_that_fell_off_the_bus_says_so_of_everything(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """While it is watched every answer is the same word; before, there is no card."""
    library = install(monkeypatch, FakeNvml())
    card = Card.open({}, release=LINUX)
    assert isinstance(card, Card)
    library.cards[0].fails["*"] = fake_nvml.GPU_IS_LOST
    sample = card.look()
    told = {name for name in vars(sample) if getattr(sample, name) is not None}
    assert told == {"chosen_by", "under", "not_told", "driver_version"}
    assert set(sample.not_told.values()) == {"GPU is lost"}
    assert read_card({}) == NoCard(reason="GPU is lost")


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (fake_nvml.LIB_RM_VERSION_MISMATCH, "RM has detected an NVML/RM version mismatch."),
        (fake_nvml.DRIVER_NOT_LOADED, "Driver Not Loaded"),
        (fake_nvml.NO_PERMISSION, "Insufficient Permissions"),
    ],
)
def test_a_library_that_does_not_start_gives_its_reason(
    monkeypatch: pytest.MonkeyPatch, code: int, reason: str
) -> None:
    """A driver that was updated under a running kernel is the first."""
    install(monkeypatch, FakeNvml(init=code))
    assert read_card({}) == NoCard(reason=reason)


def test_without_a_driver_there_is_no_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bindings look for it themselves."""
    monkeypatch.setattr(pynvml, "nvmlLib", None)

    def absent(name: str) -> None:
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(pynvml, "CDLL", absent)
    assert read_card({}) == NoCard(reason="NVML Shared Library Not Found")


def test_without_the_bindings_there_is_nothing_to_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment that was made before they were needed."""
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert read_card({}) == NoCard(reason="nvidia-ml-py is not installed")


def test_an_older_driver_is_asked_in_its_own_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """Functions that it does not have are found under their earlier names."""
    newer = {"nvmlDeviceGetCurrentClocksEventReasons", "nvmlDeviceGetTemperatureV"}
    install(monkeypatch, FakeNvml(missing=frozenset(newer)))
    sample = look()
    assert (sample.temperature_c, sample.throttle_reasons) == (71, ("power cap",))
    assert sample.not_told == {}


def test_a_reason_that_is_not_known_is_told_by_its_number(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """All of them, in the order of their bits."""
    install(monkeypatch, FakeNvml(cards=[FakeCard(reasons=0x4 | 0x20 | 1 << 40)]))
    expected = ("power cap", "software thermal slowdown", "reason 0x10000000000")
    assert look().throttle_reasons == expected


ONE, TWO = FakeCard(name="RTX 5090"), FakeCard(name="RTX 4090", uuid="GPU-abcd")
DOUBT = "; CUDA may count in another order than the driver"


@pytest.mark.parametrize(
    ("environment", "name", "why"),
    [
        ({}, "RTX 5090", f"the first card; also there: 1 RTX 4090{DOUBT}"),
        ({"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}, "RTX 5090", "the first card; also there: 1 RTX 4090"),
        (
            {"CUDA_VISIBLE_DEVICES": "1,0", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"},
            "RTX 4090",
            "CUDA_VISIBLE_DEVICES=1; also there: 0 RTX 5090",
        ),
        ({"CUDA_VISIBLE_DEVICES": "GPU-abcd"}, "RTX 4090", "CUDA_VISIBLE_DEVICES=GPU-abcd"),
        ({"CUDA_VISIBLE_DEVICES": "GPU-ab"}, "RTX 4090", "CUDA_VISIBLE_DEVICES=GPU-ab"),
    ],
)
def test_the_card_is_the_one_that_the_child_computes_on(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], name: str, why: str
) -> None:
    """By the variable that chooses it for CUDA; the others are named."""
    install(monkeypatch, FakeNvml(cards=[ONE, TWO]))
    sample = look(environment)
    assert (sample.name, sample.chosen_by) == (name, why)


@pytest.mark.parametrize("code", [fake_nvml.NOT_FOUND, fake_nvml.INVALID_ARGUMENT])
def test_the_beginning_of_a_uuid_is_enough(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    """For CUDA it is; a driver says in one way or another that it is no whole one."""
    install(monkeypatch, FakeNvml(cards=[ONE, TWO], unknown_uuid=code))
    assert look({"CUDA_VISIBLE_DEVICES": "GPU-ab"}).uuid == "GPU-abcd"


def test_where_cuda_may_count_otherwise_the_promised_card_is_watched(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """CUDA counts the fastest first; an order that is set, or no such card, changes nothing."""
    install(monkeypatch, FakeNvml(cards=[TWO, ONE]))
    sample = look(kind="RTX 5090")
    assert sample.name == "RTX 5090"
    assert sample.chosen_by == f"the first RTX 5090; also there: 0 RTX 4090{DOUBT}"
    assert look({"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}, kind="RTX 5090").name == "RTX 4090"
    assert look(kind="H100").name == "RTX 4090"


@pytest.mark.parametrize(
    ("named", "reason"),
    [
        ("", "CUDA_VISIBLE_DEVICES= hides every card"),
        ("-1", "CUDA_VISIBLE_DEVICES=-1 hides every card"),
        ("2", "card 2 was asked for, and the driver knows 2"),
        ("GPU-", "2 cards have a UUID that begins with GPU-"),
        ("GPU-x", "0 cards have a UUID that begins with GPU-x"),
        ("\udcff", "'utf-8' codec can't encode character '\\udcff' in position 0"),
        ("9" * 5000, "Exceeds the limit (4300 digits) for integer string conversion"),
    ],
)
def test_a_choice_that_names_no_card_is_told(
    monkeypatch: pytest.MonkeyPatch, named: str, reason: str
) -> None:
    """The library is let go, as after every look."""
    library = install(monkeypatch, FakeNvml(cards=[ONE, TWO]))
    found = read_card({"CUDA_VISIBLE_DEVICES": named})
    assert isinstance(found, NoCard)
    assert found.reason.startswith(reason)
    assert library.calls.count("nvmlInitWithFlags") == library.calls.count("nvmlShutdown") == 1


def test_a_name_that_is_no_text_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A driver's buffer may hold anything."""
    library = install(monkeypatch, FakeNvml())
    raw = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint)

    def answer(handle: int, place: int, size: int) -> int:
        ctypes.memmove(place, b"\xff\xfe\0", 3)
        return fake_nvml.SUCCESS

    monkeypatch.setattr(library, "nvmlDeviceGetName", raw(answer))
    assert look().name is None
    assert "utf-8" in look().not_told["name"]


def test_nothing_is_loaded_before_it_is_asked_for() -> None:
    """Importing the room loads neither bindings nor library."""
    module = importlib.import_module("m43.harness.card").__name__
    code = f"import sys, {module}; sys.exit('pynvml' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
