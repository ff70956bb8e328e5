"""Clocks that wait for the device, its peaks, and what machine this is."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from itertools import pairwise

import torch
from sizes import WARM_UP, Size

# Dense bfloat16 with float32 accumulation, TFLOP/s, from the makers' data sheets.
PEAKS: Mapping[str, float] = {
    "H200": 989.0,
    "H100 PCIe": 756.0,
    "H100": 989.0,
    "A100": 312.0,
    "L40S": 362.0,
    "A40": 150.0,
    "RTX A6000": 155.0,
    "RTX 4090": 165.0,
}
"""Part of a device's name to its peak; the first that fits counts."""

_PACKAGES = ("torch", "transformers", "peft", "bitsandbytes", "flwr")


def find_device(size: Size) -> torch.device:
    """Give the GPU if there is one.

    Raises
    ------
    SystemExit
        If there is none and the size needs one.
    """
    if torch.cuda.is_available():
        return torch.device("cuda", 0)
    if size.name != "tiny":
        raise SystemExit(
            f"--size {size.name} needs a CUDA device and torch sees none. Run it where there is "
            "one, or take --size tiny."
        )
    return torch.device("cpu")


def wait(device: torch.device) -> None:
    """Wait until the device has done all it was told to."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


class StepClock:
    """Seconds between the ends of steps, see ``median``; call it at the end of each."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._ends: list[float] = []

    def __call__(self, *_: object) -> None:
        """Note that a step has ended."""
        wait(self._device)
        self._ends.append(time.perf_counter())

    @property
    def median(self) -> float:
        """Median seconds of a step, the first ``WARM_UP`` left out."""
        return statistics.median(b - a for a, b in pairwise(self._ends[WARM_UP - 1 :]))


def median_seconds(call: Callable[[], object], device: torch.device, repeats: int) -> float:
    """Median seconds of a call, after ``WARM_UP`` calls that are not counted."""
    taken = []
    for _ in range(WARM_UP + repeats):
        wait(device)
        started = time.perf_counter()
        call()
        wait(device)
        taken.append(time.perf_counter() - started)
    return statistics.median(taken[WARM_UP:])


def forget_memory(device: torch.device) -> None:
    """Give unused memory back and begin to look for the next peak."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def most_memory(device: torch.device) -> float | None:
    """GiB of tensors at the peak since ``forget_memory``; None on a CPU."""
    if device.type != "cuda":
        return None
    return round(torch.cuda.max_memory_allocated(device) / 2**30, 2)


def stated_peak(name: str) -> float | None:
    """TFLOP/s of a device by its name, None if it is not in ``PEAKS``."""
    return next((peak for part, peak in PEAKS.items() if part in name), None)


def measured_peak(size: Size, device: torch.device) -> float:
    """TFLOP/s of one large product of random bfloat16 matrices."""
    one, other = (
        torch.randn(size.matrix, size.matrix, device=device, dtype=torch.bfloat16) for _ in range(2)
    )
    return 2 * size.matrix**3 / median_seconds(lambda: one @ other, device, 10) / 1e12


def describe(size: Size, device: torch.device) -> dict[str, str]:
    """Describe the machine; only the entries ``date`` and ``commit`` change from run to run."""
    facts = {"size": size.name, "device": device_name(device)}
    if device.type == "cuda":
        facts["memory"] = f"{torch.cuda.get_device_properties(device).total_memory / 2**30:.0f} GiB"
        facts["driver"] = _said("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader")
        facts["CUDA"] = str(torch.version.cuda)
    facts["cores"] = str(os.cpu_count())
    facts["python"] = platform.python_version()
    facts |= {name: _version(name) for name in _PACKAGES}
    facts["commit"] = _said("git", "rev-parse", "--short", "HEAD")
    facts["date"] = datetime.now(UTC).strftime("%Y-%m-%d")
    return facts


def device_name(device: torch.device) -> str:
    """Name of the GPU, or of the processor's architecture."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU ({platform.machine()})"


def _said(*command: str) -> str:
    """First line of what a command prints; "unknown" if it cannot be run."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    return (done.stdout.splitlines() or ["unknown"])[0] if done.returncode == 0 else "unknown"


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
