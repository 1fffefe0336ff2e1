"""Little stories: scenes in a row about one subject, so that one sentence follows another, or visibly does not."""

from __future__ import annotations

from lectures_lib.data.scenes import NOUNS, sample_scenes


def sample_stories(n: int, *, seed: int, sentences: int = 2, split: str = "train") -> list[list[str]]:
    """Draw `n` stories of some sentences each, words between spaces: ["a man is riding a horse", "an old man is …"].

    Every sentence is a scene of one clause, and all sentences of a story have the same subject. What else happens in
    them is independent. The same list for the same arguments.

    Raises:
        ValueError: `n` or `sentences` is below 1, or as `sample_scenes`.
    """
    for name, value in (("n", n), ("sentences", sentences)):
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")
    # Of each subject fewer than `sentences` scenes can be left over.
    scenes = sample_scenes((n + len(NOUNS)) * sentences, seed=seed, clauses=1, split=split)
    unfinished: dict[str, list[str]] = {}
    stories = []
    for scene in scenes:
        story = unfinished.setdefault(scene.clauses[0].subject, [])
        story.append(" ".join(scene.english_tokens))
        if len(story) == sentences:
            stories.append(unfinished.pop(scene.clauses[0].subject))
    return stories[:n]
