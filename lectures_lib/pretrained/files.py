"""The files of a checkpoint, from a folder or from the Hugging Face Hub, and what can be wrong with them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from pickle import UnpicklingError as _UnpicklingError
from typing import Any

import torch
from huggingface_hub import hf_hub_download
from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor


class CheckpointFiles:
    """The files of a folder, or of a repository on the Hub."""

    def __init__(self, source: str | Path, revision: str) -> None:
        self.source, self.revision = source, revision
        self.folder = Path(source) if Path(source).is_dir() else None
        if self.folder is None and (isinstance(source, Path) or str(source).count("/") != 1):
            raise FileNotFoundError(f"there is no folder {str(source)!r}, nor is that a name on the Hub (owner/model)")

    def get(self, name: str) -> Path:
        """The file's path. Raises FileNotFoundError where there is none."""
        path = self.find(name)
        if path is None:
            raise FileNotFoundError(f"{str(self.source)!r} has no file {name}")
        return path

    def first(self, names: Sequence[str]) -> Path:
        """The first of these files that there is."""
        for name in names:
            path = self.find(name)
            if path is not None:
                return path
        raise FileNotFoundError(f"{str(self.source)!r} has none of the files {', '.join(names)}")

    def find(self, name: str) -> Path | None:
        """The file's path, or None where the folder or the repository has no such file."""
        if self.folder is not None:
            return self.folder / name if (self.folder / name).is_file() else None
        try:
            return Path(hf_hub_download(str(self.source), name, revision=self.revision))
        except LocalEntryNotFoundError as error:
            raise self._unreachable(error) from None
        except EntryNotFoundError:
            return None
        except (HfHubHTTPError, HFValidationError, OSError) as error:
            raise self._unreachable(error) from None

    def _unreachable(self, error: Exception) -> FileNotFoundError:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        return FileNotFoundError(
            f"{str(self.source)!r} (revision {self.revision!r}) is no folder here, and the Hugging Face Hub "
            f"did not give it: {reason}"
        )


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file. Raises ValueError where there is none, with the file's name."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path.name} is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise ValueError(f"{path.name} must hold an object, got {type(value).__name__}")
    return value


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a file by their names, in float32 whatever precision they are stored in.

    Raises:
        ValueError: the file holds no weights.
    """
    try:
        if path.suffix == ".safetensors":
            tensors = load_file(path)
        else:
            tensors = torch.load(path, map_location="cpu", weights_only=True)  # only tensors: never code
    except (SafetensorError, RuntimeError, EOFError, ValueError, _UnpicklingError) as error:
        raise ValueError(f"{path.name} holds no weights: {str(error).splitlines()[0]}") from None
    if not isinstance(tensors, Mapping) or not all(isinstance(t, Tensor) for t in tensors.values()):
        raise ValueError(f"{path.name} must hold tensors by their names")
    return {name: tensor.float() for name, tensor in tensors.items()}
