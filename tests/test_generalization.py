"""The watched training: lengths, bounds, and what cannot be."""

import pytest

from kfaclib.toy import generalization


def test_a_watch_has_a_row_per_epoch_and_repeats_itself():
    first, again = (generalization.watch(0.3, seed=1, images=100, epochs=3) for _ in range(2))
    assert first == again and first != generalization.watch(0.3, seed=2, images=100, epochs=3)
    for row in (first.train, first.validation, first.test, first.memorized, first.true):
        assert len(row) == 4 and all(0 <= value <= 1 for value in row)


def test_without_wrong_labels_there_is_nothing_to_memorize():
    clean = generalization.watch(0.0, images=50, epochs=2)
    assert clean.memorized == clean.true == [0.0, 0.0, 0.0]


def test_two_labels_of_one_image_exclude_each_other():
    both = generalization.watch(1.0, images=100, epochs=3)
    assert all(m + t <= 1 + 1e-6 for m, t in zip(both.memorized, both.true))
    assert both.memorized == both.train  # every label is a wrong one


@pytest.mark.parametrize("images", [0, 601])
def test_images_are_limited(images):
    with pytest.raises(ValueError, match="between 1 and 600"):
        generalization.watch(0.0, images=images)


def test_decay_shrinks_what_is_fitted():
    plain, decayed = (generalization.watch(1.0, images=200, epochs=40, shrink=s) for s in (0.0, 0.2))
    assert decayed.train[-1] < plain.train[-1]
