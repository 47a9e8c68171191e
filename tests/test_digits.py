"""The digits and their small net: data as recorded, labels corrupted as asked, training repeatable."""

import torch

from kfaclib.toy import digits


def test_the_split_is_fixed_and_complete():
    d = digits.load()
    assert d.x.shape == (1000, 64) and d.x_test.shape == (797, 64)
    assert set(d.y.tolist()) == set(range(10))
    assert torch.equal(d.x, digits.load().x)
    assert not (d.x[:, None] == d.x_test[None, :100]).all(-1).any()  # no image is on both sides


def test_corrupted_labels_are_wrong_and_exactly_as_many_as_asked():
    labels = digits.load().y
    for share in (0, 0.1, 1):
        new, wrong = digits.corrupt(labels, share, seed=3)
        assert wrong.sum() == round(share * len(labels))
        assert torch.equal(new != labels, wrong)


def test_training_learns_and_repeats_itself():
    d = digits.load()
    seen = []
    one, two = (digits.train(digits.make_net(1), d.x, d.y, epochs=4, seed=1, watch=seen.append) for _ in range(2))
    assert digits.accuracy(one, d.x_test, d.y_test) > 0.8
    assert all(torch.equal(p, q) for p, q in zip(one.parameters(), two.parameters()))
    assert seen == [0, 1, 2, 3, 4] * 2
