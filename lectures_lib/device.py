"""The one place that chooses where tensors live."""

from __future__ import annotations

import os

import torch


def choose_device() -> torch.device:
    """The device named by the environment variable `LECTURES_DEVICE`, else the best there is: CUDA, MPS, CPU.

    Raises:
        ValueError: `LECTURES_DEVICE` names no device that PyTorch knows, or one that is not present here.
    """
    name = os.environ.get("LECTURES_DEVICE", "")
    if not name:
        return torch.device(_best_available())
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ValueError(f"LECTURES_DEVICE must name a PyTorch device, such as cpu or cuda, got {name!r}") from None
    if not _is_present(device):
        raise ValueError(f"LECTURES_DEVICE={name} asks for a device that this machine does not have")
    return device


def _best_available() -> str:
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _is_present(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.is_available() and (device.index or 0) < torch.cuda.device_count()
    if device.type == "mps":
        return torch.backends.mps.is_available()
    return device.type == "cpu"
