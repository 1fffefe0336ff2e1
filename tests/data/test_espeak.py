"""The speech library: two languages, the same sound every time, and an explanation where there is none."""

import builtins
import ctypes
import sys

import pytest
import torch

from lectures_lib.audio import MelConfig, check_audio, mel_spectrogram
from lectures_lib.data.espeak import RATE, SpeechUnavailable, phonemes, speak, speech_available
from lectures_lib.data.scenes import LECTURE, sample_scenes


def test_there_is_speech_here():
    assert speech_available()


def test_the_lectures_sentence_can_be_heard_in_both_languages():
    for language, seconds in (("english", (1.0, 3.0)), ("chinese", (0.6, 2.5))):
        speech = LECTURE.speech(language)
        check_audio(speech.samples, speech.rate, RATE)
        assert speech.samples.dtype == torch.float32
        assert seconds[0] < len(speech.samples) / RATE < seconds[1]
        assert speech.samples.abs().max() > 0.1
        loudness = mel_spectrogram(speech.samples, MelConfig()).mean(dim=0)
        assert loudness.max() - loudness.min() > 3  # words and the silence around them


def test_the_phonemes_are_those_of_the_sentence():
    said = LECTURE.speech().phonemes
    for sound in ("m", "æ", "n", "ɹ", "h", "s"):  # man, riding, horse
        assert sound in said
    assert LECTURE.speech("chinese").phonemes.startswith("ʐ")  # 人, rén
    assert phonemes("horse") != phonemes("zebra")


def test_the_same_words_sound_the_same_whatever_was_said_before():
    first = speak("A man is riding a horse")
    speak("一个男人在骑马", "cmn", words_per_minute=300, pitch=80)
    again = speak("A man is riding a horse")
    assert torch.equal(first.samples, again.samples)
    assert first.phonemes == again.phonemes


def test_faster_is_shorter_and_pitch_changes_the_sound():
    slow, fast = (len(speak("a man and a horse", words_per_minute=w).samples) for w in (100, 300))
    assert fast < 0.7 * slow
    low, high = (speak("a man", pitch=p).samples for p in (10, 90))
    assert low.shape != high.shape or not torch.equal(low, high)


def test_every_sentence_of_the_world_can_be_said():
    for scene in sample_scenes(10, seed=0, clauses=(1, 3)):
        for language in ("english", "chinese"):
            speech = scene.speech(language)
            assert len(speech.samples) > RATE // 2
            assert speech.phonemes


# Bad input


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(text=""), "text must not be empty"),
        (dict(text="  "), "text must not be empty"),
        (dict(text="a\0b"), "character 0"),
        (dict(text="...", language="en-us"), r"something that can be said in en-us, got '\.\.\.'"),
        (dict(text="a", language="de"), "language must be one of .* got 'de'"),
        (dict(text="a", words_per_minute=10), "words_per_minute must lie between 80 and 450, got 10"),
        (dict(text="a", pitch=100), "pitch must lie between 0 and 99, got 100"),
    ],
)
def test_what_cannot_be_said_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        speak(**arguments)


def test_a_scene_knows_two_languages():
    with pytest.raises(ValueError, match="language must be one of .* got 'cmn'"):
        LECTURE.speech("cmn")


def test_without_the_package_the_message_says_what_to_install(monkeypatch):
    right = builtins.__import__

    def without(name, *arguments, **options):
        if name == "espeakng_loader":
            raise ImportError(name)
        return right(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    monkeypatch.delitem(sys.modules, "espeakng_loader", raising=False)
    with pytest.raises(SpeechUnavailable, match="pip install espeakng-loader"):
        LECTURE.speech()
    assert not speech_available()


def test_a_library_that_cannot_be_loaded_is_explained(monkeypatch):
    def broken(path):
        raise OSError("wrong ELF class")

    monkeypatch.setattr(ctypes, "CDLL", broken)
    with pytest.raises(SpeechUnavailable, match="cannot be loaded on this machine: wrong ELF class"):
        speak("a man")
