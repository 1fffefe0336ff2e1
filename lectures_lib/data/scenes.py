"""A little world of scenes: "A man is riding a horse", and all that its grammar can say beside it.

A `Scene` holds meaning: who does what to whom, where and when, one `Clause` after another. Its
sentences are read off that meaning, so English, Chinese and the links between them always agree:

    A man is riding a brown horse in the park in the morning
    一个男人 早上 在公园里 骑 一匹棕色的马   (a man, morning, in the park, ride, a brown horse)

Chinese puts time and place before the verb: translating is reordering, not only looking words up.

The alignment links each content word with its translation; "a" with the classifier (一匹), or with
nothing where Chinese has none (骑马); "is" with the progressive 在, which stands where no place
does; "in" with both halves of 在…里; the words of a time phrase with the time; "and" with "，".
"the" is linked with nothing. Every Chinese token has a link.

To add a word, add a row to a table below, and name a new noun in the rows of `INTRANSITIVE` and
`TRANSITIVE` it may take part in. The tests hold two rules: no word of either language has two
meanings, and written Chinese cuts into words again. A new row changes what a seed gives. Draw a new noun in
`data.sprites`, and give a new verb or place its look in `data.pictures`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, no_type_check
from zlib import crc32

import numpy as np

if TYPE_CHECKING:  # pictures are drawn from scenes, and speech needs a library: both are read when they are asked for
    from lectures_lib.data.espeak import Speech
    from lectures_lib.data.pictures import Picture

Split = Literal["train", "test", "composition"]
SPLITS = ("train", "test", "composition")
MAX_CLAUSES = 6


class Noun(NamedTuple):
    """Something that can stand in a scene, and what may be said of it (words between spaces)."""

    english: str
    chinese: str
    classifier: str  # 一 and the measure word that fits: "a" in Chinese
    colours: str = ""  # drawn for it as an object: "a brown horse"
    adjectives: str = ""  # drawn for it as a subject: "an old man"


class Verb(NamedTuple):
    """Who may do what to whom, and where. A verb may have several rows."""

    english: str
    chinese: str
    places: Mapping[str, str]
    subjects: str
    objects: str = ""  # none: the verb takes no object


def _table(rows: str) -> dict[str, str]:
    words = rows.split()
    return dict(zip(words[::2], words[1::2], strict=True))


def _places(rows: str) -> dict[str, str]:
    """{"in the park": "公园里"}: the last character says in (里), on (上) or beside (边)."""
    return {key.replace("_", " the "): chinese for key, chinese in _table(rows).items()}


ADJECTIVES = _table("young 年轻的  old 年老的  tall 高个子的  happy 快乐的  tired 疲惫的  small 小  big 大")
COLOURS = _table(
    "red 红色的  blue 蓝色的  green 绿色的  yellow 黄色的  black 黑色的  white 白色的  "
    "brown 棕色的  grey 灰色的  orange 橙色的  purple 紫色的  pink 粉色的"
)
TIMES = {
    "at dawn": "清晨",
    "in the morning": "早上",
    "at noon": "中午",
    "in the afternoon": "下午",
    "at dusk": "傍晚",
    "in the evening": "晚上",
    "at night": "夜里",
    "today": "今天",
}

_COAT = "black white brown grey"
_PAINT = "red blue green yellow black white"
_BRIGHT = "red blue green yellow orange purple pink"
_ADULT, _CHILD, _SIZE = "young old tall happy tired", "tall happy tired", "small big"

_ROWS = (
    Noun("man", "男人", "一个", adjectives=_ADULT),
    Noun("woman", "女人", "一个", adjectives=_ADULT),
    Noun("boy", "男孩", "一个", adjectives=_CHILD),
    Noun("girl", "女孩", "一个", adjectives=_CHILD),
    Noun("farmer", "农民", "一个", adjectives=_ADULT),
    Noun("doctor", "医生", "一位", adjectives=_ADULT),
    Noun("teacher", "老师", "一位", adjectives=_ADULT),
    Noun("cook", "厨师", "一名", adjectives=_ADULT),
    Noun("policeman", "警察", "一名", adjectives=_ADULT),
    Noun("king", "国王", "一位", adjectives=_ADULT),
    Noun("horse", "马", "一匹", _COAT, f"{_COAT} {_SIZE}"),
    Noun("zebra", "斑马", "一匹", "", _SIZE),
    Noun("camel", "骆驼", "一头", "white brown", f"white brown {_SIZE}"),
    Noun("elephant", "大象", "一头", "grey white", "grey white"),
    Noun("donkey", "驴", "一头", _COAT, f"{_COAT} {_SIZE}"),
    Noun("cow", "奶牛", "一头", "black white brown", f"black white brown {_SIZE}"),
    Noun("sheep", "绵羊", "一只", "black white", f"black white {_SIZE}"),
    Noun("dog", "狗", "一只", _COAT, f"{_COAT} {_SIZE}"),
    Noun("cat", "猫", "一只", f"{_COAT} orange", f"{_COAT} orange {_SIZE}"),
    Noun("rabbit", "兔子", "一只", _COAT, f"{_COAT} {_SIZE}"),
    Noun("monkey", "猴子", "一只", "brown black", f"brown black {_SIZE}"),
    Noun("bear", "熊", "一头", "black white brown", f"black white brown {_SIZE}"),
    Noun("tiger", "老虎", "一只", "orange white", f"orange white {_SIZE}"),
    Noun("bird", "鸟", "一只", f"{_PAINT} brown", f"{_PAINT} brown {_SIZE}"),
    Noun("duck", "鸭子", "一只", "white yellow brown", f"white yellow brown {_SIZE}"),
    Noun("fish", "鱼", "一条", "red blue orange yellow black", _SIZE),
    Noun("butterfly", "蝴蝶", "一只", f"{_BRIGHT} white", f"{_BRIGHT} white {_SIZE}"),
    Noun("bicycle", "自行车", "一辆", _PAINT),
    Noun("motorcycle", "摩托车", "一辆", _PAINT),
    Noun("car", "汽车", "一辆", f"{_PAINT} grey"),
    Noun("bus", "公共汽车", "一辆", _PAINT),
    Noun("truck", "卡车", "一辆", _PAINT),
    Noun("boat", "船", "一条", _PAINT),
    Noun("sled", "雪橇", "一架", "red blue brown"),
    Noun("book", "书", "一本", f"{_BRIGHT} black"),
    Noun("newspaper", "报纸", "一份", "white grey"),
    Noun("letter", "信", "一封", "white yellow blue pink"),
    Noun("map", "地图", "一张", "yellow green blue"),
    Noun("box", "箱子", "一个", f"{_PAINT} brown"),
    Noun("chair", "椅子", "一把", f"{_PAINT} brown"),
    Noun("table", "桌子", "一张", "white black brown yellow"),
    Noun("umbrella", "雨伞", "一把", f"{_BRIGHT} black"),
    Noun("ball", "球", "一个", f"{_BRIGHT} white"),
    Noun("apple", "苹果", "一个", "red green yellow"),
    Noun("banana", "香蕉", "一根", "yellow green"),
    Noun("carrot", "胡萝卜", "一根", "orange purple yellow"),
    Noun("cake", "蛋糕", "一个", "white pink yellow brown"),
    Noun("flower", "花", "一朵", f"{_BRIGHT} white"),
    Noun("tree", "树", "一棵", "green yellow"),
    Noun("cup", "杯子", "一个", f"{_PAINT} pink"),
    Noun("hat", "帽子", "一顶", f"{_BRIGHT} black white brown"),
)
NOUNS = {noun.english: noun for noun in _ROWS}
SHORT = {"man": "人"}  # a plain "a man" is sometimes said with this word alone: 人在骑马

_STREETS = _places(
    "on_street 街上  on_bridge 桥上  on_square 广场上  in_city 城市里  in_village 村子里  on_farm 农场里"
)
_SHORES = _places("by_river 河边  by_lake 湖边  on_beach 海滩上")
_GREEN = _places(
    "in_park 公园里  in_garden 花园里  on_grass 草地上  in_field 田野里  in_forest 森林里  on_mountain 山上"
)
_WILD = _places("in_desert 沙漠里  in_snow 雪地里")
_INDOORS = _places(
    "in_kitchen 厨房里  in_room 房间里  in_classroom 教室里  in_library 图书馆里  in_shop 商店里  in_station 车站里"
)
_WATER = _places("in_lake 湖里  in_river 河里  in_sea 大海里  in_pool 游泳池里")
_AFLOAT = _places("on_lake 湖上  on_river 河上  on_sea 大海上")
_OUTDOORS = _STREETS | _SHORES | _GREEN | _WILD
_ANYWHERE = _OUTDOORS | _INDOORS
PLACES = _ANYWHERE | _WATER | _AFLOAT

_ADULTS = "man woman farmer doctor teacher cook policeman king"
_PEOPLE = f"{_ADULTS} boy girl"
_WALKERS = "horse zebra camel elephant donkey cow sheep dog cat rabbit monkey bear tiger"
_ANIMALS = f"{_WALKERS} bird duck fish butterfly"
_MOUNTS = "horse zebra camel elephant donkey bicycle motorcycle"
_CATTLE = "horse camel donkey cow sheep"
_VEHICLES = "bicycle motorcycle car bus truck boat sled"
_THINGS = "book newspaper letter map box chair table umbrella ball cup hat apple banana carrot cake flower tree"

INTRANSITIVE = (
    Verb("sleeping", "睡觉", _GREEN | _INDOORS, f"{_PEOPLE} dog cat"),
    Verb("sleeping", "睡觉", _GREEN, f"{_WALKERS} bird duck"),
    Verb("running", "奔跑", _OUTDOORS, f"{_PEOPLE} {_WALKERS}"),
    Verb("jogging", "慢跑", _OUTDOORS, _PEOPLE),
    Verb("walking", "散步", _OUTDOORS, f"{_PEOPLE} dog"),
    Verb("swimming", "游泳", _WATER, f"{_PEOPLE} duck fish dog bear elephant"),
    Verb("fishing", "钓鱼", _SHORES, _PEOPLE),
    Verb("dancing", "跳舞", _ANYWHERE, f"{_PEOPLE} monkey bear"),
    Verb("singing", "唱歌", _ANYWHERE, f"{_PEOPLE} bird"),
    Verb("crying", "哭", _ANYWHERE, _PEOPLE),
    Verb("laughing", "笑", _ANYWHERE, _PEOPLE),
    Verb("resting", "休息", _ANYWHERE, f"{_PEOPLE} {_WALKERS}"),
    Verb("working", "工作", _STREETS | _GREEN | _INDOORS, _ADULTS),
    Verb("playing", "玩耍", _ANYWHERE, "boy girl dog cat monkey"),
    Verb("grazing", "吃草", _GREEN, "horse zebra donkey cow sheep rabbit"),
    Verb("flying", "飞", _OUTDOORS, "bird duck butterfly"),
)
TRANSITIVE = (
    Verb("riding", "骑", _OUTDOORS, _PEOPLE, _MOUNTS),
    Verb("driving", "开", _STREETS, _ADULTS, "car bus truck"),
    Verb("rowing", "划", _AFLOAT, _PEOPLE, "boat"),
    Verb("reading", "读", _ANYWHERE, _PEOPLE, "book newspaper letter map"),
    Verb("writing", "写", _INDOORS | _GREEN, _PEOPLE, "book letter"),
    Verb("drawing", "画", _INDOORS | _GREEN, _PEOPLE, f"{_ANIMALS} {_VEHICLES} {_THINGS}"),
    Verb("watching", "看", _GREEN | _SHORES, _PEOPLE, f"{_ANIMALS} boat"),
    Verb("watching", "看", _GREEN, "cat dog monkey", "bird fish butterfly duck"),
    Verb("feeding", "喂", _GREEN | _SHORES, _PEOPLE, f"{_WALKERS} bird duck fish"),
    Verb("leading", "牵", _OUTDOORS, _PEOPLE, "horse camel elephant donkey cow dog"),
    Verb("stroking", "抚摸", _GREEN, _PEOPLE, "horse donkey cow sheep dog cat rabbit"),
    Verb("chasing", "追", _OUTDOORS, "man woman boy girl", "bus dog duck rabbit butterfly"),
    Verb("chasing", "追", _GREEN, "dog cat", "rabbit bird duck butterfly ball"),
    Verb("chasing", "追", _GREEN | _WILD, "tiger bear", "horse zebra donkey sheep rabbit monkey"),
    Verb("catching", "抓", _SHORES | _GREEN, f"{_PEOPLE} cat", "fish bird butterfly"),
    Verb("catching", "抓", _SHORES | _GREEN, "bear", "fish rabbit"),
    Verb("eating", "吃", _ANYWHERE, _PEOPLE, "apple banana carrot cake"),
    Verb("eating", "吃", _GREEN, "monkey elephant bear", "apple banana"),
    Verb("eating", "吃", _GREEN, "horse donkey rabbit", "apple carrot"),
    Verb("eating", "吃", _SHORES, "cat bear", "fish"),
    Verb("cutting", "切", _INDOORS, _PEOPLE, "apple banana carrot cake"),
    Verb("picking", "摘", _GREEN, f"{_PEOPLE} monkey", "apple banana flower"),
    Verb("planting", "种", _GREEN | _STREETS, _PEOPLE, "flower tree"),
    Verb("watering", "浇", _GREEN | _STREETS, _PEOPLE, "flower tree"),
    Verb("buying", "买", _STREETS | _INDOORS, _PEOPLE, _THINGS),
    Verb("buying", "买", _STREETS, _ADULTS, f"{_VEHICLES} {_CATTLE}"),
    Verb("selling", "卖", _STREETS | _INDOORS, _ADULTS, _THINGS),
    Verb("selling", "卖", _STREETS, _ADULTS, f"{_VEHICLES} {_CATTLE}"),
    Verb("repairing", "修", _STREETS, _ADULTS, f"{_VEHICLES} chair table umbrella"),
    Verb("washing", "洗", _ANYWHERE, _PEOPLE, "car bicycle cup apple carrot hat"),
    Verb("pushing", "推", _STREETS, _PEOPLE, "bicycle motorcycle car box"),
    Verb("pulling", "拉", _STREETS | _WILD, f"{_PEOPLE} horse donkey dog", "sled box"),
    Verb("carrying", "搬", _ANYWHERE, _PEOPLE, "box chair table"),
    Verb("wiping", "擦", _INDOORS, _PEOPLE, "table chair cup"),
    Verb("opening", "打开", _ANYWHERE, _PEOPLE, "box book letter umbrella"),
    Verb("throwing", "扔", _OUTDOORS, _PEOPLE, "ball apple"),
    Verb("kicking", "踢", _OUTDOORS, f"{_PEOPLE} horse donkey elephant", "ball"),
)
_FREQUENT = ("man", "woman", "boy", "girl")  # drawn three times as often as other subjects

# ---- end of the tables ----

_QUALITIES = ADJECTIVES | COLOURS
_INTRANSITIVE = {verb.english: verb.chinese for verb in INTRANSITIVE}
_TRANSITIVE = {verb.english: verb.chinese for verb in TRANSITIVE}


class Clause(NamedTuple):
    """One happening, in the English words of the tables; a place or time is a whole phrase."""

    subject: str  # "man"
    verb: str  # "riding"
    object: str | None = None  # "horse"
    adjective: str | None = None  # of the subject: "old", "black"
    colour: str | None = None  # of the object: "brown"
    place: str | None = None  # "in the park"
    time: str | None = None  # "in the morning"
    short: bool = False  # 人 for 一个男人

    @property
    def triple(self) -> tuple[str, str, str | None]:
        """(subject, verb, object): what the composition split holds out."""
        return self.subject, self.verb, self.object


class _Phrase(NamedTuple):
    english: tuple[str, ...] = ()
    chinese: tuple[str, ...] = ()
    links: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Scene:
    """One to six clauses; sentences, tokens and alignment are read off them.

    Raises:
        ValueError: not 1 to 6 clauses, a word that is in no table, a verb without its object.
    """

    clauses: tuple[Clause, ...]
    _english: tuple[str, ...] = field(init=False, repr=False, compare=False)
    _chinese: tuple[str, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not isinstance(self.clauses, tuple) or not 1 <= len(self.clauses) <= MAX_CLAUSES:
            raise ValueError(f"clauses must be 1 to {MAX_CLAUSES} in a tuple, got {self.clauses!r}")
        english: list[str] = []
        chinese: list[str] = []
        for clause in self.clauses:
            if english:
                english.append("and")
                chinese.append("，")
            subject, predicate, place, time = _phrases(clause)
            english += subject.english + predicate.english + place.english + time.english
            chinese += subject.chinese + time.chinese + place.chinese + predicate.chinese
        object.__setattr__(self, "_english", tuple(english))
        object.__setattr__(self, "_chinese", tuple(chinese))

    @property
    def english_tokens(self) -> list[str]:
        """Lower-case words, a new list at each call: ["a", "man", "is", "riding", "a", "horse"]."""
        return list(self._english)

    @property
    def chinese_tokens(self) -> list[str]:
        """Words, not characters, a new list at each call: ["一个", "男人", "在", "骑", "马"]."""
        return list(self._chinese)

    @property
    def english(self) -> str:
        """The sentence, with a capital and no full stop."""
        sentence = " ".join(self._english)
        return sentence[0].upper() + sentence[1:]

    @property
    def chinese(self) -> str:
        """The sentence as it is written, without spaces or full stop."""
        return "".join(self._chinese)

    @property
    def alignment(self) -> tuple[tuple[int, int], ...]:
        """Gold links (index into `english_tokens`, index into `chinese_tokens`), sorted."""
        links: list[tuple[int, int]] = []
        english = chinese = 0  # where the clause starts
        for subject, predicate, place, time in map(_phrases, self.clauses):
            if english:
                links.append((english - 1, chinese - 1))  # the "and" and the "，" before it
            at_time = chinese + len(subject.chinese)
            at_place = at_time + len(time.chinese)
            at_predicate = at_place + len(place.chinese)
            starts = (chinese, at_predicate, at_place, at_time)
            for phrase, start in zip((subject, predicate, place, time), starts, strict=True):
                links += [(english + e, start + c) for e, c in phrase.links]
                english += len(phrase.english)
            english, chinese = english + 1, at_predicate + len(predicate.chinese) + 1
        return tuple(sorted(links))

    @no_type_check  # Picture and Speech are names for readers here, not for the runtime type checker
    def image(self, *, clause: int = 0, night: bool | None = None) -> Picture:
        """One clause as a picture of 32 × 32 pixels, with a box for every object; see `data.pictures.picture`."""
        from lectures_lib.data.pictures import picture

        return picture(self, clause=clause, night=night)

    @no_type_check
    def speech(self, language: str = "english") -> Speech:
        """The sentence spoken in "english" or "chinese" at 22,050 Hz, with its phonemes; see `data.espeak.speak`.

        Raises:
            ValueError: another language.
            SpeechUnavailable: there is no speech library here.
        """
        from lectures_lib.data.espeak import speak

        said = {"english": (self.english, "en-us"), "chinese": (self.chinese, "cmn")}
        if language not in said:
            raise ValueError(f"language must be one of {', '.join(said)}, got {language!r}")
        return speak(*said[language])


def _phrases(clause: Clause) -> tuple[_Phrase, _Phrase, _Phrase, _Phrase]:
    """Subject, predicate, place, time: the order of English."""
    subject, verb, object_, adjective, colour, place, time, short = clause
    return (
        _subject(subject, adjective, short),
        _predicate(verb, object_, colour, place is None),
        _place(place),
        _time(time),
    )


@cache
def _subject(subject: str, adjective: str | None, short: bool) -> _Phrase:
    if not short:
        return _noun_phrase("subject", subject, "adjective", adjective, _QUALITIES)
    if subject not in SHORT or adjective is not None:
        raise ValueError(f"short is for a plain {', '.join(SHORT)}, got {adjective} {subject}")
    return _Phrase(("a", subject), (SHORT[subject],), ((1, 0),))


@cache
def _predicate(verb: str, object_: str | None, colour: str | None, progressive: bool) -> _Phrase:
    if object_ is None and (verb in _TRANSITIVE or colour is not None):
        needy = repr(verb) if verb in _TRANSITIVE else f"colour {colour!r}"
        raise ValueError(f"object is missing: {needy} needs one")
    if object_ is not None and verb in _INTRANSITIVE:
        raise ValueError(f"verb {verb!r} takes no object, got {object_!r}")
    english, chinese = ("is", verb), (_look_up("verb", verb, _INTRANSITIVE | _TRANSITIVE),)
    links: tuple[tuple[int, int], ...] = ((1, 0),)
    if progressive:
        chinese, links = ("在", *chinese), ((0, 0), (1, 1))
    if object_ is None:
        return _Phrase(english, chinese, links)
    thing = _noun_phrase("object", object_, "colour", colour, COLOURS)
    if colour is None:  # bare: 骑马
        thing = _Phrase(thing.english, thing.chinese[1:], ((1, 0),))
    links += tuple((len(english) + e, len(chinese) + c) for e, c in thing.links)
    return _Phrase(english + thing.english, chinese + thing.chinese, links)


def _noun_phrase(role: str, word: str, kind: str, quality: str | None, qualities: Mapping[str, str]) -> _Phrase:
    noun = _look_up(role, word, NOUNS)
    english, chinese = (word,), (noun.chinese,)
    if quality is not None:
        english, chinese = (quality, word), (_look_up(kind, quality, qualities), noun.chinese)
    article = "an" if english[0][0] in "aeiou" else "a"  # by letter: right for every word above
    links = tuple((i, i) for i in range(len(english) + 1))
    return _Phrase((article, *english), (noun.classifier, *chinese), links)


@cache
def _place(place: str | None) -> _Phrase:
    if place is None:
        return _Phrase()
    chinese = _look_up("place", place, PLACES)
    return _Phrase(tuple(place.split()), ("在", chinese[:-1], chinese[-1]), ((0, 0), (0, 2), (2, 1)))


@cache
def _time(time: str | None) -> _Phrase:
    if time is None:
        return _Phrase()
    chinese, words = _look_up("time", time, TIMES), tuple(time.split())
    return _Phrase(words, (chinese,), tuple((i, 0) for i, w in enumerate(words) if w != "the"))


def _look_up(name: str, word: str, table: Mapping[str, Any]) -> Any:
    if word in table:
        return table[word]
    near = get_close_matches(str(word), table, cutoff=0.5) or list(table)[:8]
    raise ValueError(f"{name} must be a word of this world, got {word!r}; near: {', '.join(near)}")


LECTURE = Scene((Clause("man", "riding", "horse", short=True),))
"""The lecture's own sentence: "A man is riding a horse", 人在骑马."""

# ---- drawing scenes ----


class _Action(NamedTuple):
    subject: str
    verb: str
    object: str | None
    places: Mapping[str, str]


def _actions(verbs: Iterable[Verb]) -> list[_Action]:
    """Everything the rows allow, in the order of the tables."""
    return [
        _Action(subject, verb.english, object_, verb.places)
        for verb in verbs
        for subject in verb.subjects.split()
        for object_ in verb.objects.split() or [None]
    ]


def _hold_out() -> frozenset[tuple[str, str, str]]:
    """About a tenth of the triples, by checksum; their (subject, verb) and (verb, object) stay."""
    triples = sorted({action[:3] for action in _actions(TRANSITIVE)})
    left = Counter(pair for s, v, o in triples for pair in ((s, v), (v, o)))
    held = set()
    for s, v, o in triples:
        drawn = crc32(f"{s} {v} {o}".encode()) % 9 == 0 and (s, v, o) != LECTURE.clauses[0].triple
        if drawn and min(left[s, v], left[v, o]) > 1:
            held.add((s, v, o))
            left.subtract([(s, v), (v, o)])
    return frozenset(held)


HELD_OUT = _hold_out()
"""(subject, verb, object) combinations that train and test never contain, whatever the seed."""


class _Options:
    """A list to choose from for each row; `pick` chooses for many rows at once."""

    def __init__(self, lists: Iterable[Sequence[Any]]) -> None:
        lists = list(lists)
        self.flat = np.array([item for items in lists for item in items], dtype=object)
        self.count = np.array([len(items) for items in lists])
        self.start = self.count.cumsum() - self.count

    def pick(self, rows: np.ndarray | int, numbers: np.ndarray) -> np.ndarray:
        return self.flat[self.start[rows] + numbers % self.count[rows]]


def _maybe(words: Iterable[str], plain: int = 1) -> list[str | None]:
    """The words, and None `plain` times as often as all of them."""
    words = list(words)
    return [None] * max(1, plain * len(words)) + words


class _Pool:
    """What a split may draw: a verb (each alike), then who does it to what, then the rest."""

    numbers = 7  # that one clause takes

    def __init__(self, actions: Sequence[_Action]) -> None:
        by_verb: dict[str, list[int]] = {}
        for row, action in enumerate(actions):
            times = 3 if action.subject in _FREQUENT else 1
            by_verb.setdefault(action.verb, []).extend([row] * times)
        self.rows = _Options(by_verb.values())
        self.triples = np.array([action[:3] for action in actions], dtype=object)
        self.can_be_short = np.array([action.subject in SHORT for action in actions])
        colours = [NOUNS[action.object].colours if action.object else "" for action in actions]
        self.adjectives = _Options(_maybe(NOUNS[a.subject].adjectives.split(), 2) for a in actions)
        self.colours = _Options(_maybe(words.split()) for words in colours)
        self.places = _Options(_maybe(action.places) for action in actions)
        self.times = _Options([_maybe(TIMES)])

    def clauses(self, numbers: np.ndarray) -> list[Clause]:
        """One clause for each row of `numbers`, (clauses, 7)."""
        verb, action, adjective, colour, place, time, short = numbers.T
        row = self.rows.pick(verb % len(self.rows.count), action).astype(int)
        subjects, verbs, objects = self.triples[row].T
        adjectives = self.adjectives.pick(row, adjective)
        plain = self.can_be_short[row] & np.equal(adjectives, None).astype(bool)
        rest = (self.colours.pick(row, colour), self.places.pick(row, place))
        columns = (subjects, verbs, objects, adjectives, *rest, self.times.pick(0, time))
        lists = [column.tolist() for column in (*columns, plain & (short % 8 == 0))]
        return list(map(Clause._make, zip(*lists, strict=True)))


@cache
def _pool(held_out: bool) -> _Pool:
    verbs = TRANSITIVE if held_out else INTRANSITIVE + TRANSITIVE
    return _Pool([action for action in _actions(verbs) if (action[:3] in HELD_OUT) == held_out])


@no_type_check  # a wrong type gets the ValueError below, not the runtime type checker's error
def sample_scenes(n: int, *, seed: int, clauses: int | tuple[int, int] = (1, 2), split: Split = "train") -> list[Scene]:
    """Draw `n` scenes: the same list for the same arguments, on every platform.

    A longer list starts with the shorter one. (PCG64's raw numbers: NumPy keeps that stream.)

    Args:
        n: how many scenes.
        seed: 0 or more.
        clauses: how many clauses a scene has, or (low, high): every count from low to high alike.
        split: "train" and "test" draw from the same distribution, without the combinations in
            `HELD_OUT`, and differ in their random numbers. From two clauses on they share next to
            no sentence; of single clauses, a quarter of the test set is in 20,000 training ones.
            In "composition" every clause is a combination from `HELD_OUT`.

    Raises:
        ValueError: an argument of the wrong type or out of range.
    """
    for name, value in (("n", n), ("seed", seed)):
        if not _is_whole(value) or value < 0:
            raise ValueError(f"{name} must be a whole number, 0 or more, got {value!r}")
    pair = clauses if isinstance(clauses, tuple) and len(clauses) == 2 else (clauses, clauses)
    if not all(map(_is_whole, pair)) or not 1 <= pair[0] <= pair[1] <= MAX_CLAUSES:
        raise ValueError(f"clauses must be 1 to {MAX_CLAUSES}, or (low, high) within that, got {clauses!r}")
    if not isinstance(split, str) or split not in SPLITS:
        raise ValueError(f"split must be one of {', '.join(SPLITS)}, got {split!r}")
    low, high = pair
    width = 1 + high * _Pool.numbers
    stream = np.random.PCG64(np.random.SeedSequence([int(seed), SPLITS.index(split)]))
    raw = stream.random_raw(int(n) * width) >> np.uint64(33)
    numbers = raw.astype(np.int64).reshape(n, width)
    counts = low + numbers[:, 0] % (high - low + 1)
    used = np.arange(high) < counts[:, None]  # (n, high)
    drawn = _pool(split == "composition").clauses(numbers[:, 1:].reshape(n, high, _Pool.numbers)[used])
    ends = counts.cumsum()
    spans = zip((ends - counts).tolist(), ends.tolist(), strict=True)
    return [Scene(tuple(drawn[start:end])) for start, end in spans]


def _is_whole(value: object) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


# ---- reading what someone typed ----


@cache
def english_words() -> tuple[str, ...]:
    """Every token an English sentence can hold, sorted."""
    phrases = " ".join([*PLACES, *TIMES]).split()
    verbs = [*_INTRANSITIVE, *_TRANSITIVE]
    return tuple(sorted({"a", "an", "is", "and", *NOUNS, *_QUALITIES, *verbs, *phrases}))


@cache
def chinese_words() -> tuple[str, ...]:
    """Every token a Chinese sentence can hold, sorted by code point."""
    nouns = {word for noun in NOUNS.values() for word in (noun.chinese, noun.classifier)}
    places = {part for place in PLACES.values() for part in (place[:-1], place[-1])}
    verbs = {*_INTRANSITIVE.values(), *_TRANSITIVE.values()}
    others = {"在", "，", *SHORT.values(), *_QUALITIES.values(), *TIMES.values()}
    return tuple(sorted(nouns | places | verbs | others))


@no_type_check
def parse_english(sentence: str) -> Scene:
    """The scene a sentence describes, also one that `sample_scenes` would never draw.

    Capitals and a final full stop do not matter: "A cat is reading a red book." is a scene.

    Raises:
        ValueError: a word that is in no table (near ones are named), or another sentence pattern.
    """
    _check_text("sentence", sentence)
    words = sentence.lower().strip().removesuffix(".").split()
    for position, word in enumerate(words, start=1):
        if word not in english_words():
            near = get_close_matches(word, english_words()) or ["all are in english_words()"]
            raise ValueError(f"sentence has an unknown word {position}, {word!r}; near: {', '.join(near)}")
    matches = [_pattern().fullmatch(part) for part in " ".join(words).split(" and ")]
    if None in matches:
        raise ValueError(
            "sentence must read like 'A man is riding a brown horse in the park in the morning', "
            f"clauses joined by 'and', got {sentence!r}"
        )
    return Scene(tuple(Clause(**match.groupdict()) for match in matches))


@cache
def _pattern() -> re.Pattern[str]:
    def one(name: str, words: Iterable[str]) -> str:
        return f"(?P<{name}>{'|'.join(words)})"

    return re.compile(
        f"an? (?:{one('adjective', _QUALITIES)} )?{one('subject', NOUNS)}"
        f" is {one('verb', _INTRANSITIVE | _TRANSITIVE)}"
        f"(?: an? (?:{one('colour', COLOURS)} )?{one('object', NOUNS)})?"
        f"(?: {one('place', PLACES)})?(?: {one('time', TIMES)})?"
    )


@no_type_check
def segment_chinese(text: str) -> list[str]:
    """Cut written Chinese into words, always the longest that fits.

    Spaces and a final full stop are left out.

    Raises:
        ValueError: a character that starts no known word, with its position (from 1).
    """
    _check_text("text", text)
    tokens, position, end = [], 0, len(text.rstrip().removesuffix("。"))
    while position < end:
        match = _chinese_word().match(text, position)
        if match is None:
            character = text[position]
            near = [word for word in chinese_words() if character in word]
            raise ValueError(
                f"text has {character!r} at character {position + 1}, where no known word starts; "
                f"near: {', '.join(near[:8]) or 'all are in chinese_words()'}"
            )
        tokens.append(match.group())
        position = match.end()
    return [token for token in tokens if not token.isspace()]


@cache
def _chinese_word() -> re.Pattern[str]:
    return re.compile("|".join([*sorted(chinese_words(), key=len, reverse=True), r"\s+"]))


def _check_text(name: str, value: object) -> None:
    if not isinstance(value, str):
        raise ValueError(f"{name} must be a string, got {value!r}")
