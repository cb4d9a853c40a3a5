"""An NVML library for tests: C functions with the signatures and structs of nvml.h.

They take the place where the bindings keep the library that they loaded, so that all that lies
between (signatures, structs, versions of functions, error codes) is the real thing. What the
bindings declare is not used here: a wrong layout there would be a wrong layout here.
"""

import ctypes
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pynvml
import pytest

SUCCESS, INVALID_ARGUMENT, NOT_SUPPORTED, NO_PERMISSION, NOT_FOUND = 0, 2, 3, 4, 6
INSUFFICIENT_SIZE, DRIVER_NOT_LOADED, GPU_IS_LOST, LIB_RM_VERSION_MISMATCH = 7, 9, 15, 18
NOT_AVAILABLE = 2**64 - 1  # NVML_VALUE_NOT_AVAILABLE of an unsigned long long


class _Utilisation(ctypes.Structure):
    _fields_ = (("gpu", ctypes.c_uint), ("memory", ctypes.c_uint))


class _Memory(ctypes.Structure):
    _fields_ = (
        ("total", ctypes.c_ulonglong),
        ("free", ctypes.c_ulonglong),
        ("used", ctypes.c_ulonglong),
    )


class _ProcessInfo(ctypes.Structure):
    _fields_ = (
        ("pid", ctypes.c_uint),
        ("used_gpu_memory", ctypes.c_ulonglong),
        ("gpu_instance_id", ctypes.c_uint),
        ("compute_instance_id", ctypes.c_uint),
    )


class _Temperature(ctypes.Structure):
    _fields_ = (
        ("version", ctypes.c_uint),
        ("sensor_type", ctypes.c_int),
        ("temperature", ctypes.c_int),
    )


@dataclass
class FakeCard:
    """A card that works: an RTX 5090 in the middle of a step."""

    name: str = "NVIDIA GeForce RTX 5090"
    uuid: str = "GPU-5c4a1d2e-0000-4000-8000-000000000001"
    power_mw: int = 512_345
    power_limit_mw: int = 575_000
    energy_mj: int = 7_000_000_123
    utilisation: int = 97
    total: int = 34_190_917_632
    used: int = 29_400_000_000
    compute: tuple[tuple[int, int], ...] = ((4242, 28_000_000_000),)
    graphics: tuple[tuple[int, int], ...] = ((901, 900_000_000),)
    clocks: tuple[int, int] = (2580, 14_001)  # SM, memory
    max_clocks: tuple[int, int] = (3090, 14_001)
    temperature: int = 71
    reasons: int = 0x4
    ecc: tuple[int, int] = (0, 0)
    compute_mode: int = 0
    mig: int | None = None  # None: a card that knows nothing of MIG
    is_instance: bool = False
    fails: dict[str, int] = field(default_factory=dict)  # a function's name to its error code


@dataclass
class FakeNvml:
    """The library, with its cards; `missing` are functions that an older driver does not have."""

    cards: list[FakeCard] = field(default_factory=lambda: [FakeCard()])
    driver: str = "580.95.05"
    init: int = SUCCESS
    unknown_uuid: int = NOT_FOUND
    missing: frozenset[str] = frozenset()
    hangs: threading.Event | None = None  # power is not answered until it is set
    calls: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Make every function; those of the bindings' own names for versions of them."""
        for name, answer in _functions(self).items():
            if name not in self.missing:
                setattr(self, name, answer)


def install(monkeypatch: pytest.MonkeyPatch, library: FakeNvml) -> FakeNvml:
    """Put the library where the bindings keep theirs."""
    monkeypatch.setattr(pynvml, "nvmlLib", library)
    monkeypatch.setattr(pynvml, "_nvmlGetFunctionPointer_cache", {})
    return library


def _put(address: int, kind: type, value: Any) -> None:
    ctypes.cast(address, ctypes.POINTER(kind))[0] = value


def _put_text(address: int, size: int, text: str) -> int:
    raw = text.encode() + b"\0"
    if len(raw) > size:
        return INSUFFICIENT_SIZE
    ctypes.memmove(address, raw, len(raw))
    return SUCCESS


_UINT, _PLACE, _ULL = ctypes.c_uint, ctypes.c_void_p, ctypes.c_ulonglong


def _functions(library: FakeNvml) -> dict[str, Any]:
    """Write the library's functions: by name the arguments after the handle, and the answer."""
    kept: dict[str, Any] = {}

    def add(name: str, arguments: tuple[type, ...], body: Callable[..., int]) -> None:
        def called(*given: Any) -> int:
            library.calls.append(name)
            return body(*given)

        # A C function: what is called through it has been marshalled both ways.
        kept[name] = ctypes.CFUNCTYPE(ctypes.c_int, *arguments)(called)

    def of_card(name: str, arguments: tuple[type, ...], body: Callable[..., int]) -> None:
        def answer(handle: int, *given: Any) -> int:
            # A handle is an address in C; here the card's number, from 1.
            card = library.cards[handle - 1]
            code = card.fails.get(name, card.fails.get("*", SUCCESS))
            return code or body(card, *given)

        add(name, (_PLACE, *arguments), answer)

    def one(name: str, kind: type, value: Callable[[FakeCard], Any]) -> None:
        def body(card: FakeCard, place: int) -> int:
            _put(place, kind, value(card))
            return SUCCESS

        of_card(name, (_PLACE,), body)

    add("nvmlInitWithFlags", (_UINT,), lambda flags: library.init)
    add("nvmlShutdown", (), lambda: SUCCESS)
    add("nvmlSystemGetDriverVersion", (_PLACE, _UINT), lambda *at: _put_text(*at, library.driver))
    add("nvmlDeviceGetCount_v2", (_PLACE,), lambda at: _count(library, at))
    add("nvmlDeviceGetHandleByIndex_v2", (_UINT, _PLACE), lambda *given: _by_index(library, *given))
    add("nvmlDeviceGetHandleByUUID", (ctypes.c_char_p, _PLACE), lambda *at: _by_uuid(library, *at))
    of_card("nvmlDeviceGetName", (_PLACE, _UINT), lambda card, *at: _put_text(*at, card.name))
    of_card("nvmlDeviceGetUUID", (_PLACE, _UINT), lambda card, *at: _put_text(*at, card.uuid))
    one("nvmlDeviceGetPowerUsage", _UINT, lambda card: _power(library, card))
    one("nvmlDeviceGetEnforcedPowerLimit", _UINT, lambda card: card.power_limit_mw)
    one("nvmlDeviceGetTotalEnergyConsumption", _ULL, lambda card: card.energy_mj)
    one("nvmlDeviceGetUtilizationRates", _Utilisation, lambda card: _Utilisation(
        card.utilisation, card.utilisation // 2))  # fmt: skip
    one("nvmlDeviceGetMemoryInfo", _Memory, lambda card: _Memory(
        card.total, card.total - card.used, card.used))  # fmt: skip
    listing = (_PLACE, _PLACE)
    of_card("nvmlDeviceGetComputeRunningProcesses_v3", listing,
            lambda card, *at: _listed(card.compute, *at))  # fmt: skip
    of_card("nvmlDeviceGetGraphicsRunningProcesses_v3", listing,
            lambda card, *at: _listed(card.graphics, *at))  # fmt: skip
    clock = (_UINT, _PLACE)
    of_card("nvmlDeviceGetClockInfo", clock, lambda card, *at: _clock(card.clocks, *at))
    of_card("nvmlDeviceGetMaxClockInfo", clock, lambda card, *at: _clock(card.max_clocks, *at))
    of_card("nvmlDeviceGetTemperature", clock, _old_temperature)
    of_card("nvmlDeviceGetTemperatureV", (_PLACE,), _temperature)
    one("nvmlDeviceGetCurrentClocksEventReasons", _ULL, lambda card: card.reasons)
    one("nvmlDeviceGetCurrentClocksThrottleReasons", _ULL, lambda card: card.reasons)
    of_card("nvmlDeviceGetTotalEccErrors", (_UINT, _UINT, _PLACE), _ecc)
    one("nvmlDeviceGetComputeMode", ctypes.c_int, lambda card: card.compute_mode)
    one("nvmlDeviceIsMigDeviceHandle", _UINT, lambda card: card.is_instance)
    of_card("nvmlDeviceGetMigMode", (_PLACE, _PLACE), _mig)
    return kept


def _count(library: FakeNvml, place: int) -> int:
    _put(place, _UINT, len(library.cards))
    return SUCCESS


def _by_index(library: FakeNvml, index: int, place: int) -> int:
    if index >= len(library.cards):
        return INVALID_ARGUMENT
    if library.cards[index].fails.get("*") == GPU_IS_LOST:
        return GPU_IS_LOST
    _put(place, _PLACE, index + 1)
    return SUCCESS


def _by_uuid(library: FakeNvml, uuid: bytes, place: int) -> int:
    for index, card in enumerate(library.cards):
        if card.uuid.encode() == uuid:
            return _by_index(library, index, place)
    return library.unknown_uuid


def _power(library: FakeNvml, card: FakeCard) -> int:
    if library.hangs is not None:
        library.hangs.wait()
    return card.power_mw


def _listed(held: tuple[tuple[int, int], ...], count: int, place: int | None) -> int:
    """As nvml.h says: too little room is answered with how much is needed; none is a success."""
    room = ctypes.cast(count, ctypes.POINTER(_UINT))
    room_for, room[0] = room[0], len(held)
    if len(held) > room_for or (held and place is None):
        return INSUFFICIENT_SIZE
    for number, (pid, size) in enumerate(held):
        at = place or 0
        _put(at + number * ctypes.sizeof(_ProcessInfo), _ProcessInfo, _ProcessInfo(pid, size, 0, 0))
    return SUCCESS


def _clock(clocks: tuple[int, int], kind: int, place: int) -> int:
    # nvmlClockType_t: graphics 0, SM 1, memory 2.
    if kind not in (1, 2):
        return INVALID_ARGUMENT
    _put(place, _UINT, clocks[kind - 1])
    return SUCCESS


def _old_temperature(card: FakeCard, sensor: int, place: int) -> int:
    if sensor:
        return INVALID_ARGUMENT
    _put(place, _UINT, card.temperature)
    return SUCCESS


def _temperature(card: FakeCard, place: int) -> int:
    asked = ctypes.cast(place, ctypes.POINTER(_Temperature))[0]
    # The version holds the struct's size, as NVML_STRUCT_VERSION writes it.
    if asked.version != ctypes.sizeof(_Temperature) | 1 << 24 or asked.sensor_type:
        return INVALID_ARGUMENT
    asked.temperature = card.temperature
    return SUCCESS


def _ecc(card: FakeCard, kind: int, counter: int, place: int) -> int:
    if counter:  # volatile is 0
        return INVALID_ARGUMENT
    _put(place, _ULL, card.ecc[kind])
    return SUCCESS


def _mig(card: FakeCard, current: int, pending: int) -> int:
    if card.mig is None:
        return NOT_SUPPORTED
    _put(current, _UINT, card.mig)
    _put(pending, _UINT, card.mig)
    return SUCCESS
