"""A look at a card through NVML, by the vendor's own bindings (nvidia-ml-py).

Nothing is loaded before it is asked for: most machines that read a run have neither driver nor
bindings. Every question may be refused by itself; the answer then is None, with NVML's word for it.
"""

import platform
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

from m43.records import CardProcess, CardSample, NoCard
from m43.text import one_line

# Source: nvml.h, nvmlClocksEventReasons.
_THROTTLE_REASONS = {
    0x1: "idle",
    0x2: "application clocks",
    0x4: "power cap",
    0x8: "hardware slowdown",
    0x10: "sync boost",
    0x20: "software thermal slowdown",
    0x40: "hardware thermal slowdown",
    0x80: "hardware power brake",
    0x100: "display clocks",
    0x200: "board limit",
    0x400: "reliability",
}
# Source: nvml.h, nvmlComputeMode_t.
_COMPUTE_MODES = ("default", "exclusive thread", "prohibited", "exclusive process")
_WSL = "microsoft"  # in the release of every kernel of WSL
_LONGEST_WORD = 120

# From the library and a handle to the answers, of which most questions have one.
_Question = Callable[[ModuleType, Any], tuple[object, ...]]


def read_card(environment: Mapping[str, str], kind: str = "") -> CardSample | NoCard:
    """Look once at the card that a child with these variables computes on.

    `kind` is as of `Card.open`. A driver that hangs is waited for: call it where that harms
    nobody, or use the series.
    """
    card = Card.open(environment, kind)
    if isinstance(card, NoCard):
        return card
    try:
        return card.look()
    finally:
        card.close()


class Card:
    """A card and the library that answers for it, open until `close`."""

    def __init__(self, nvml: ModuleType, handle: Any, chosen_by: str, under: str) -> None:
        self._nvml, self._handle = nvml, handle
        self._chosen_by, self._under = chosen_by, under

    @classmethod
    def open(
        cls, environment: Mapping[str, str], kind: str = "", release: str = ""
    ) -> "Card | NoCard":
        """Load the library and find the card that a child with these variables computes on.

        Args:
            environment: CUDA_VISIBLE_DEVICES is a number, a UUID (also a MIG instance's), or unset.
            kind: The device's name, by which it is told apart where CUDA may count otherwise.
            release: Of the kernel, WSL's says so; empty asks the system.
        """
        try:
            # Here and not above: see the module's docstring.
            import pynvml
        except ImportError:
            return NoCard(reason="nvidia-ml-py is not installed")
        try:
            pynvml.nvmlInit()
        except pynvml.NVMLError as error:
            return NoCard(reason=_word(error))
        try:
            handle, chosen_by = _choose(pynvml, environment, kind)
        except (pynvml.NVMLError, LookupError, ValueError) as error:
            # ValueError: a variable that is no text, or a number of thousands of digits.
            _shut_down(pynvml)
            return NoCard(reason=_word(error))
        under = ["WSL2"] if _WSL in (release or platform.release()).lower() else []
        if _is_mig(pynvml, handle):
            under.append("MIG")
        return cls(pynvml, handle, chosen_by, " and ".join(under))

    def look(self) -> CardSample:
        """Ask everything once. A card that was lost answers nothing, and that is the answer."""
        told: dict[str, Any] = {}
        not_told: dict[str, str] = {}
        for names, ask in _QUESTIONS.items():
            try:
                told |= zip(names, ask(self._nvml, self._handle), strict=True)
            except (self._nvml.NVMLError, UnicodeDecodeError) as error:
                told |= dict.fromkeys(names)
                not_told |= dict.fromkeys(names, _word(error))
        return CardSample(chosen_by=self._chosen_by, under=self._under, not_told=not_told, **told)

    def close(self) -> None:
        """Let the library go."""
        _shut_down(self._nvml)


def _choose(nvml: ModuleType, environment: Mapping[str, str], kind: str) -> tuple[Any, str]:
    """Return the handle of the card that CUDA counts first, and why it is that one."""
    named = environment.get("CUDA_VISIBLE_DEVICES")
    first = (named or "").split(",")[0].strip()
    if named is not None and (not first or first.startswith("-")):
        # Source: CUDA programming guide, CUDA_VISIBLE_DEVICES: what follows is hidden as well.
        raise LookupError(f"CUDA_VISIBLE_DEVICES={named} hides every card")
    if first and not first.isdecimal():
        return _by_uuid(nvml, first), f"CUDA_VISIBLE_DEVICES={first}"
    count = nvml.nvmlDeviceGetCount()
    index = int(first or 0)
    if index >= count:
        raise LookupError(f"card {index} was asked for, and the driver knows {count}")
    why = f"CUDA_VISIBLE_DEVICES={first}" if first else "the first card"
    if count == 1:
        return nvml.nvmlDeviceGetHandleByIndex(0), "the only card"
    names = [_name(nvml, each) for each in range(count)]
    # Source: CUDA programming guide, CUDA_DEVICE_ORDER: without it CUDA counts the fastest first.
    in_order = environment.get("CUDA_DEVICE_ORDER") == "PCI_BUS_ID"
    if not in_order and names[index] != kind and kind in names:
        index, why = names.index(kind), f"the first {kind}"
    others = [f"{each} {name}" for each, name in enumerate(names) if each != index]
    doubt = "" if in_order else "; CUDA may count in another order than the driver"
    why = f"{why}; also there: {', '.join(others)}{doubt}"
    return nvml.nvmlDeviceGetHandleByIndex(index), why


def _by_uuid(nvml: ModuleType, named: str) -> Any:
    """Return the card of a UUID, or of the beginning of one, which CUDA takes as well."""
    try:
        return nvml.nvmlDeviceGetHandleByUUID(named)
    except (nvml.NVMLError_NotFound, nvml.NVMLError_InvalidArgument):
        handles = map(nvml.nvmlDeviceGetHandleByIndex, range(nvml.nvmlDeviceGetCount()))
        found = [each for each in handles if nvml.nvmlDeviceGetUUID(each).startswith(named)]
    if len(found) != 1:
        raise LookupError(f"{len(found)} cards have a UUID that begins with {named}")
    return found[0]


def _name(nvml: ModuleType, index: int) -> str:
    try:
        return str(nvml.nvmlDeviceGetName(nvml.nvmlDeviceGetHandleByIndex(index)))
    except (nvml.NVMLError, UnicodeDecodeError) as error:
        return _word(error)


def _is_mig(nvml: ModuleType, handle: Any) -> bool:
    """Tell whether it is an instance, or a card that is divided into some."""
    try:
        if nvml.nvmlDeviceIsMigDeviceHandle(handle):
            return True
        return bool(nvml.nvmlDeviceGetMigMode(handle)[0])
    except nvml.NVMLError:
        return False  # a card, or a driver, that knows nothing of MIG


def _one(ask: Callable[[ModuleType, Any], object]) -> _Question:
    return lambda nvml, handle: (ask(nvml, handle),)


def _memory(nvml: ModuleType, handle: Any) -> tuple[object, ...]:
    memory = nvml.nvmlDeviceGetMemoryInfo(handle)
    return memory.total, memory.used, memory.free


def _processes(nvml: ModuleType, handle: Any) -> object:
    # Both lists: what a desktop holds is in the second, and some programs are in both.
    listed = (
        *nvml.nvmlDeviceGetComputeRunningProcesses_v3(handle),
        *nvml.nvmlDeviceGetGraphicsRunningProcesses_v3(handle),
    )
    held = {each.pid: each.usedGpuMemory for each in listed}
    return tuple(CardProcess(pid=pid, memory_bytes=held[pid]) for pid in sorted(held))


def _clocks(nvml: ModuleType, handle: Any) -> tuple[object, ...]:
    ask = nvml.nvmlDeviceGetClockInfo
    return ask(handle, nvml.NVML_CLOCK_SM), ask(handle, nvml.NVML_CLOCK_MEM)


def _temperature(nvml: ModuleType, handle: Any) -> object:
    try:
        return nvml.nvmlDeviceGetTemperatureV(handle, nvml.NVML_TEMPERATURE_GPU)
    except nvml.NVMLError_FunctionNotFound:  # a driver below 570
        return nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU)


def _throttle_reasons(nvml: ModuleType, handle: Any) -> object:
    try:
        bits = nvml.nvmlDeviceGetCurrentClocksEventReasons(handle)
    except nvml.NVMLError_FunctionNotFound:  # a driver below 535
        bits = nvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle)
    each = (1 << place for place in range(64) if bits >> place & 1)
    return tuple(_THROTTLE_REASONS.get(bit, f"reason {bit:#x}") for bit in each)


def _compute_mode(nvml: ModuleType, handle: Any) -> object:
    mode = nvml.nvmlDeviceGetComputeMode(handle)
    return _COMPUTE_MODES[mode] if mode < len(_COMPUTE_MODES) else f"mode {mode}"


def _ecc(nvml: ModuleType, handle: Any) -> tuple[object, ...]:
    ask, since = nvml.nvmlDeviceGetTotalEccErrors, nvml.NVML_VOLATILE_ECC
    kinds = (nvml.NVML_MEMORY_ERROR_TYPE_CORRECTED, nvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED)
    return tuple(ask(handle, kind, since) for kind in kinds)


# By the fields that the answers fill.
_QUESTIONS: Mapping[tuple[str, ...], _Question] = {
    ("name",): _one(lambda nvml, handle: nvml.nvmlDeviceGetName(handle)),
    ("uuid",): _one(lambda nvml, handle: nvml.nvmlDeviceGetUUID(handle)),
    ("driver_version",): _one(lambda nvml, _: nvml.nvmlSystemGetDriverVersion()),
    ("compute_mode",): _one(_compute_mode),
    ("power_mw",): _one(lambda nvml, handle: nvml.nvmlDeviceGetPowerUsage(handle)),
    ("power_limit_mw",): _one(lambda nvml, handle: nvml.nvmlDeviceGetEnforcedPowerLimit(handle)),
    ("energy_mj",): _one(lambda nvml, handle: nvml.nvmlDeviceGetTotalEnergyConsumption(handle)),
    ("utilisation_percent",): _one(
        lambda nvml, handle: nvml.nvmlDeviceGetUtilizationRates(handle).gpu
    ),
    ("memory_total_bytes", "memory_used_bytes", "memory_free_bytes"): _memory,
    ("processes",): _one(_processes),
    ("sm_clock_mhz", "memory_clock_mhz"): _clocks,
    ("sm_clock_max_mhz",): _one(
        lambda nvml, handle: nvml.nvmlDeviceGetMaxClockInfo(handle, nvml.NVML_CLOCK_SM)
    ),
    ("temperature_c",): _one(_temperature),
    ("throttle_reasons",): _one(_throttle_reasons),
    ("ecc_corrected", "ecc_uncorrected"): _ecc,
}


def _word(error: Exception) -> str:
    return one_line(str(error), _LONGEST_WORD)


def _shut_down(nvml: ModuleType) -> None:
    try:
        nvml.nvmlShutdown()
    except nvml.NVMLError:
        return  # a card that is gone; the process goes on without it
