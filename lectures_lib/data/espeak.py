"""Speech without a network: eSpeak NG, which the package `espeakng-loader` brings along, through `ctypes`.

A robot's voice, but the same one everywhere, in milliseconds a sentence, and with the phonemes it says. The package has
wheels for Linux (glibc), macOS and Windows; where it is missing, everything else in the course still works.

The engine's flutter goes on from one sentence to the next, so a sentence would sound a little different after another
one. A fresh copy of the library speaks each sentence; loading it takes a few milliseconds.
"""

from __future__ import annotations

import _ctypes
import ctypes
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

RATE = 22_050  # hertz; eSpeak NG's own
LANGUAGES = ("en-us", "cmn")

_SYNCHRONOUS = 2  # sound goes to the callback, before the call returns
_UTF8 = 1
_IPA = 2
_RATE, _PITCH = 1, 3  # numbers of its parameters
_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)
_lock = threading.Lock()  # one sentence at a time


class SpeechUnavailable(ImportError):
    """There is no speech library here; the message says what to do."""


class Speech(NamedTuple):
    """A spoken sentence: `samples` (time,) float32 in [-1, 1] at `rate` hertz, and its phonemes in IPA."""

    samples: Tensor
    phonemes: str
    rate: int


def speech_available() -> bool:
    """Whether `speak` can speak on this machine."""
    try:
        with _engine(LANGUAGES[0]):
            return True
    except SpeechUnavailable:
        return False


def speak(text: str, language: str = "en-us", *, words_per_minute: int = 160, pitch: int = 50) -> Speech:
    """Say a sentence in English ("en-us") or Mandarin ("cmn"); the same sound for the same arguments.

    `words_per_minute` lies between 80 and 450, `pitch` between 0 and 99.

    Raises:
        ValueError: no text, nothing in it that can be said, an unknown language, an argument out of range.
        SpeechUnavailable: the speech library is not installed, or cannot be loaded.
    """
    _check(text, language)
    if not 80 <= words_per_minute <= 450:
        raise ValueError(f"words_per_minute must lie between 80 and 450, got {words_per_minute}")
    if not 0 <= pitch <= 99:
        raise ValueError(f"pitch must lie between 0 and 99, got {pitch}")
    with _engine(language) as library:
        library.espeak_SetParameter(_RATE, words_per_minute, 0)
        library.espeak_SetParameter(_PITCH, pitch, 0)
        phonemes = _phonemes(library, text)
        if not phonemes:
            raise ValueError(f"text must hold something that can be said in {language}, got {text!r}")
        samples = _sound(library, text)
    return Speech(torch.from_numpy(samples), phonemes, RATE)


def phonemes(text: str, language: str = "en-us") -> str:
    """How a sentence is said, in the International Phonetic Alphabet; words apart by spaces.

    Raises:
        ValueError: no text, nothing in it that can be said, an unknown language.
        SpeechUnavailable: the speech library is not installed, or cannot be loaded.
    """
    _check(text, language)
    with _engine(language) as library:
        said = _phonemes(library, text)
    if not said:
        raise ValueError(f"text must hold something that can be said in {language}, got {text!r}")
    return said


def _check(text: str, language: str) -> None:
    if language not in LANGUAGES:
        raise ValueError(f"language must be one of {LANGUAGES}, got {language!r}")
    if not text.strip():
        raise ValueError(f"text must not be empty, got {text!r}")
    if "\0" in text:
        raise ValueError("text must not hold the character 0")


@contextmanager
def _engine(language: str) -> Iterator[ctypes.CDLL]:
    """A fresh engine with a voice, for one sentence."""
    with _lock:
        library = _library()
        try:
            if library.espeak_SetVoiceByName(language.encode()) != 0:
                raise SpeechUnavailable(f"eSpeak NG has no voice {language!r} in its data")
            yield library
        finally:
            library.espeak_Terminate()
            # Python keeps a library for ever: only the system's own call forgets what the engine remembers.
            unload = getattr(_ctypes, "dlclose", None) or _ctypes.FreeLibrary
            unload(library._handle)


def _library() -> ctypes.CDLL:
    """The library, ready to speak into the callback."""
    try:
        import espeakng_loader
    except ImportError:
        raise SpeechUnavailable(
            "speech needs the package espeakng-loader (pip install espeakng-loader), which has wheels for Linux with "
            "glibc, macOS and Windows"
        ) from None
    try:
        library = ctypes.CDLL(str(espeakng_loader.get_library_path()))
    except OSError as error:
        raise SpeechUnavailable(f"the library of espeakng-loader cannot be loaded on this machine: {error}") from None
    library.espeak_TextToPhonemes.restype = ctypes.c_char_p
    library.espeak_TextToPhonemes.argtypes = [ctypes.POINTER(ctypes.c_void_p), ctypes.c_int, ctypes.c_int]
    library.espeak_Synth.argtypes = [
        ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint, ctypes.c_int, ctypes.c_uint, ctypes.c_uint, ctypes.c_void_p,
        ctypes.c_void_p,
    ]  # fmt: skip
    data = str(espeakng_loader.get_data_path()).encode()
    rate = library.espeak_Initialize(_SYNCHRONOUS, 0, data, 0)
    if rate != RATE:
        raise SpeechUnavailable(f"eSpeak NG did not start as it should with the data in {data.decode()}: got {rate}")
    library.espeak_SetSynthCallback(_collect)
    return library


_pieces: list[np.ndarray] = []


@_CALLBACK
def _collect(samples, count, events):
    if samples and count > 0:
        _pieces.append(np.ctypeslib.as_array(samples, (count,)).copy())
    return 0  # go on


def _sound(library: ctypes.CDLL, text: str) -> np.ndarray:
    _pieces.clear()
    content = text.encode()
    status = library.espeak_Synth(content, len(content) + 1, 0, 1, 0, _UTF8, None, None)
    library.espeak_Synchronize()
    if status != 0 or not _pieces:
        raise RuntimeError(f"eSpeak NG could not say {text!r} (status {status})")
    whole = np.concatenate(_pieces).astype(np.float32) / 32_768
    _pieces.clear()
    return whole


def _phonemes(library: ctypes.CDLL, text: str) -> str:
    content = ctypes.create_string_buffer(text.encode())
    rest = ctypes.c_void_p(ctypes.addressof(content))
    clauses = []
    while rest.value:  # one clause a call; the pointer moves on, and is empty at the end
        clauses.append((library.espeak_TextToPhonemes(ctypes.byref(rest), _UTF8, _IPA) or b"").decode())
    return " ".join(" ".join(clauses).split())
