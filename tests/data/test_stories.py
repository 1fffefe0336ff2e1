"""Stories: one subject each, the same for the same seed."""

import pytest

from lectures_lib.data.scenes import parse_english
from lectures_lib.data.stories import sample_stories


def test_all_sentences_of_a_story_have_one_subject_and_are_scenes():
    stories = sample_stories(200, seed=0, sentences=3)
    assert len(stories) == 200
    subjects = []
    for story in stories:
        assert len(story) == 3
        (subject,) = {parse_english(sentence).clauses[0].subject for sentence in story}
        subjects.append(subject)
    assert len(set(subjects)) > 10


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
