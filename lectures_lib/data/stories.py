"""Little stories: scenes in a row with one subject, one place and one time, so that one sentence follows another."""

from __future__ import annotations

from lectures_lib.data.scenes import Scene, sample_scenes

DRAWN_AT_ONCE = 2_000


def sample_stories(n: int, *, seed: int, sentences: int = 2, split: str = "train") -> list[list[str]]:
    """Draw `n` stories of some sentences each, words between spaces.

    Every sentence is a scene of one clause. All sentences of a story have the same subject and, where there is one, the
    same place and the same time; what happens in them is drawn by itself: "a man is riding a horse in the park", "a
    tall man is eating an apple in the park". The same list for the same arguments.

    Raises:
        ValueError: `n` or `sentences` is below 1, or as `sample_scenes`.
    """
    for name, value in (("n", n), ("sentences", sentences)):
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")
    stories: list[list[str]] = []
    drawn = 0
    while len(stories) < n:  # a longer draw begins with the shorter one, so the stories do too
        drawn += max(DRAWN_AT_ONCE, 3 * n * sentences)
        stories = _told(sample_scenes(drawn, seed=seed, clauses=1, split=split), sentences)
    return stories[:n]


def _told(scenes: list[Scene], sentences: int) -> list[list[str]]:
    """The stories that some scenes make up, in the order in which they are finished."""
    unfinished: dict[tuple[str, str | None], list[str]] = {}
    times: dict[tuple[str, str | None], str | None] = {}
    stories = []
    for scene in scenes:
        (clause,) = scene.clauses
        key = (clause.subject, clause.place)
        story = unfinished.setdefault(key, [])
        if not story:
            times[key] = clause.time
        words = Scene((clause._replace(time=times[key]),)).english_tokens
        story.append(" ".join(words))
        if len(story) == sentences:
            stories.append(unfinished.pop(key))
    return stories
