"""Memory of NVIDIA graphics processors that a command's processes hold, asked of the driver's own library (NVML)."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterable

_DRIVER = "/proc/driver/nvidia/version"
_NOT_AVAILABLE = (1 << 64) - 1  # NVML_VALUE_NOT_AVAILABLE


class _Held(ctypes.Structure):
    """nvmlProcessInfo_t of nvml.h, since its version 2."""

    _fields_ = [("pid", ctypes.c_uint), ("bytes", ctypes.c_ulonglong), ("instance", ctypes.c_uint), ("compute", ctypes.c_uint)]


class Graphics:
    """The processors of this machine; `peak_bytes` is the most that the asked for processes held at once, None where none can tell."""

    def __init__(self) -> None:
        self.peak_bytes: int | None = None
        self._devices: list[ctypes.c_void_p] = []
        self._library: ctypes.CDLL | None = None
        if os.path.exists(_DRIVER):
            self._open()

    def _open(self) -> None:
        try:
            library = ctypes.CDLL("libnvidia-ml.so.1")
            if library.nvmlInit_v2():
                return
            count = ctypes.c_uint()
            library.nvmlDeviceGetCount_v2(ctypes.byref(count))
            for number in range(count.value):
                device = ctypes.c_void_p()
                if library.nvmlDeviceGetHandleByIndex_v2(number, ctypes.byref(device)) == 0:
                    self._devices.append(device)
            library.nvmlDeviceGetComputeRunningProcesses_v3  # noqa: B018 - an older driver lacks it
            self._library = library
        except (OSError, AttributeError):
            self._devices = []

    def __bool__(self) -> bool:
        return bool(self._devices)

    def read(self, pids: Iterable[int]) -> None:
        """Look at what these processes hold now."""
        wanted, total = set(pids), 0
        for device in self._devices:
            total += sum(held.bytes for held in self._held(device) if held.pid in wanted and held.bytes != _NOT_AVAILABLE)
        self.peak_bytes = max(self.peak_bytes or 0, total)

    def _held(self, device: ctypes.c_void_p) -> list[_Held]:
        found = []
        for kind in ("Compute", "Graphics"):
            room = (_Held * 256)()
            count = ctypes.c_uint(len(room))
            ask = getattr(self._library, f"nvmlDeviceGet{kind}RunningProcesses_v3")
            if ask(device, ctypes.byref(count), room) == 0:
                found += room[: count.value]
        return list({held.pid: held for held in found}.values())
