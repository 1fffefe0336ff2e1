"""Stories: one subject, place and time each, the same for the same seed."""

import pytest

from lectures_lib.data.scenes import parse_english
from lectures_lib.data.stories import sample_stories


def test_all_sentences_of_a_story_have_one_subject_one_place_and_one_time_and_are_scenes():
    stories = sample_stories(200, seed=0, sentences=3)
    assert len(stories) == 200
    settings = set()
    verbs = []
    for story in stories:
        assert len(story) == 3
        clauses = [parse_english(sentence).clauses[0] for sentence in story]
        (setting,) = {(clause.subject, clause.place, clause.time) for clause in clauses}
        settings.add(setting)
        verbs.append(len({clause.verb for clause in clauses}))
    assert len(settings) > 100
    assert sum(verbs) / len(verbs) > 2.3  # what happens is drawn by itself


def test_more_stories_begin_with_the_fewer():
    assert sample_stories(600, seed=0)[:500] == sample_stories(500, seed=0)


def test_the_same_seed_tells_the_same_stories_and_splits_differ():
    one = sample_stories(50, seed=1)
    assert one == sample_stories(50, seed=1)
    assert one != sample_stories(50, seed=2)
    assert one != sample_stories(50, seed=1, split="test")


def test_there_is_at_least_one_story_of_one_sentence():
    assert len(sample_stories(1, seed=0, sentences=1)) == 1
    with pytest.raises(ValueError, match="n must be at least 1, got 0"):
        sample_stories(0, seed=0)
    with pytest.raises(ValueError, match="sentences must be at least 1, got 0"):
        sample_stories(3, seed=0, sentences=0)
