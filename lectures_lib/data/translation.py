"""Sentences with their translations: Multi30k (picture captions) and Tatoeba (everyday sentences)."""

from __future__ import annotations

import gzip
import zipfile
from collections.abc import Iterator
from pathlib import Path

from lectures_lib.data.downloads import data_folder, fetch

SentencePairs = list[tuple[str, str]]

MULTI30K_URL = (
    "https://raw.githubusercontent.com/multi30k/dataset/a3d2e0d26b56f3846f66a952536ffed4e401d05a/data/task1/raw/"
)
MULTI30K_SHA256 = {
    "test_2016_flickr.de": "9204244e408ccb38d2a55cfcd344df15005fc42a07a6e55ca6c52b6ababb8cc8",
    "test_2016_flickr.en": "611d361c6334bc7246101d48097c13cf5c4413c5befc793cc629934359d532d9",
    "test_2016_flickr.fr": "6d326e188d259fb1d04ac19eae3af956559b3a0b93d7635e56c90987c40c8b90",
    "train.de": "726e39b2fa9eb9ffb6dc763fb35a179f80fae06ffc5d28b6ace5faa883de28a6",
    "train.en": "d79cfa999dd4c51d2cb42499b6796d5a882c3a8a961923c25a898c90f8bbd56f",
    "train.fr": "622e75069e9f4c577425c4f277116ce66e63a2401c0a2312d90073cb12379a3c",
    "val.de": "f0cba2f995189cf5770f29a8a9a537a3ad3f51657ad873405082ff6863a5e75a",
    "val.en": "14f7d25ddd868909a9213e361768460edcacdd6ab9d1e77b92560dc10c10dc28",
    "val.fr": "ca3106f1a72390591d25f6c45cb4cd39dec4cd3f123e099748a3ce5256c160e9",
}
TATOEBA_URL = "https://www.manythings.org/anki/cmn-eng.zip"
TATOEBA_ODD = 17  # every seventeenth distinct Chinese sentence is for validation, the next one for testing


def multi30k(split: str, source: str = "de", target: str = "en") -> SentencePairs:
    """Multi30k, task 1: `split` is "train" (29,000 pairs), "val" (1,014) or "test_2016_flickr" (1,000).

    Raises:
        ValueError: no such split or language; a damaged file; a line without its partner (file and line are named).
        FileNotFoundError: a file is neither in the cache nor to be downloaded.

    Source: Elliott et al. 2016. Licence: CC BY-NC-SA 4.0.
    """
    sides = []
    for language in (source, target):
        name = f"{split}.{language}"
        if name not in MULTI30K_SHA256:
            raise ValueError(f"split and language must be one of {sorted(MULTI30K_SHA256)}, got {name!r}")
        path = fetch(f"multi30k/{name}.gz", url=MULTI30K_URL + name + ".gz", sha256=MULTI30K_SHA256[name])
        sides.append((path, _read_gzip(path)))
    return _joined(*sides)


def tatoeba(split: str = "all", source: str = "zh", target: str = "en") -> SentencePairs:
    """Tatoeba's English–Mandarin pairs, as manythings.org distributes them; `split` is "train", "val", "test" or "all".

    The corpus has many translations of the same sentence. Splits are made by the Chinese sentence, so none of them
    stands in two splits. The file grows over time: state the number of pairs beside every result.

    Raises:
        ValueError: no such split or language; a damaged line (file and line are named).
        FileNotFoundError: the file is neither in the cache nor to be downloaded.

    Source: tatoeba.org, CC BY 2.0 FR.
    """
    if split not in ("train", "val", "test", "all"):
        raise ValueError(f'split must be "train", "val", "test" or "all", got {split!r}')
    if sorted((source, target)) != ["en", "zh"]:
        raise ValueError(f'source and target must be "zh" and "en" in either order, got {source!r} and {target!r}')
    path = _tatoeba_file()
    pairs = [(chinese, english) for english, chinese in _read_tatoeba(path)]
    if split != "all":
        rank = {chinese: index for index, chinese in enumerate(dict.fromkeys(zh for zh, _ in pairs))}
        wanted = {"val": {0}, "test": {1}}.get(split, set(range(2, TATOEBA_ODD)))
        pairs = [pair for pair in pairs if rank[pair[0]] % TATOEBA_ODD in wanted]
    return pairs if source == "zh" else [(english, chinese) for chinese, english in pairs]


def _read_gzip(path: Path) -> list[str]:
    try:
        with gzip.open(path, "rb") as file:
            return [_decoded(line, path, number) for number, line in enumerate(file, start=1)]
    except (gzip.BadGzipFile, EOFError) as error:
        raise ValueError(f"{path} is damaged: {error}") from None


def _decoded(line: bytes, path: Path, number: int) -> str:
    try:
        return line.decode("utf-8").strip()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}, line {number}: not UTF-8 ({error})") from None


def _joined(source: tuple[Path, list[str]], target: tuple[Path, list[str]]) -> SentencePairs:
    (source_path, sources), (target_path, targets) = source, target
    if len(sources) != len(targets):
        shorter = min(source, target, key=lambda side: len(side[1]))
        raise ValueError(
            f"{shorter[0]}, line {len(shorter[1]) + 1}: missing; {source_path.name} has {len(sources)} lines, "
            f"{target_path.name} has {len(targets)}"
        )
    for path, lines in (source, target):
        empty = next((number for number, line in enumerate(lines, start=1) if not line), None)
        if empty:
            raise ValueError(f"{path}, line {empty}: empty sentence")
    return list(zip(sources, targets, strict=True))


def _tatoeba_file() -> Path:
    folder = data_folder() / "tatoeba"
    if (folder / "cmn.txt").is_file():
        return folder / "cmn.txt"
    archive = fetch("tatoeba/cmn-eng.zip", url=TATOEBA_URL, sha256=None)
    try:
        with zipfile.ZipFile(archive) as file:
            # Read the one member by its name and write it ourselves: nothing can unpack outside the folder.
            content = file.read("cmn.txt")
    except (zipfile.BadZipFile, KeyError) as error:
        archive.unlink()
        raise ValueError(f"{archive} is not the archive expected, and was deleted: {error}") from None
    temporary = folder / "cmn.txt.part"
    temporary.write_bytes(content)
    temporary.replace(folder / "cmn.txt")
    return folder / "cmn.txt"


def _read_tatoeba(path: Path) -> Iterator[tuple[str, str]]:
    with path.open("rb") as file:
        for number, line in enumerate(file.read().rstrip().split(b"\n"), start=1):  # the file ends with an empty line
            fields = _decoded(line, path, number).removeprefix("\ufeff").split("\t")
            if len(fields) < 2 or not fields[0].strip() or not fields[1].strip():
                raise ValueError(f"{path}, line {number}: expected English, tab, Chinese, got {line[:60]!r}")
            yield fields[0].strip(), fields[1].strip()
