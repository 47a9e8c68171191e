"""Exercises of chapter 07: counting recovered labels, the lottery by pencil, the exact expectation over classes,
surprises, choosing, a fair control, and a fair price.
"""

import math

import torch

from kfcourse import Exercise
from kfcourse.learning.results import numbers, parts

KEYS = {"memorized_before", "memorized_after", "recovered", "recovered_of_memorized"}


def _answers(seed, n=60):
    """(before, after, given, true) [n] each, with images of every kind among them."""
    generator = torch.Generator().manual_seed(seed)
    true = torch.randint(0, 4, (n,), generator=generator)
    given = torch.where(
        torch.rand(n, generator=generator) < 0.5, (true + torch.randint(1, 4, (n,), generator=generator)) % 4, true
    )
    draw = lambda wrong, right: torch.where(
        torch.rand(n, generator=generator) < wrong,
        given,
        torch.where(torch.rand(n, generator=generator) < right, true, torch.randint(0, 4, (n,), generator=generator)),
    )
    return draw(0.7, 0.6), draw(0.3, 0.6), given, true


def _share(mask):
    return mask.double().mean().item()


def check_recovery(function):
    for seed in range(3):
        before, after, given, true = _answers(seed)
        result = function(before, after, given, true)
        assert isinstance(result, dict) and set(result) == KEYS, f"a dict with the keys {sorted(KEYS)} is wanted"
        wrong = given != true
        learned = wrong & (before == given)
        right = {
            "memorized_before": _share((before == given)[wrong]),
            "memorized_after": _share((after == given)[wrong]),
            "recovered": _share((after == true)[wrong]),
            "recovered_of_memorized": _share((after == true)[learned]),
        }
        for key in ("memorized_before", "memorized_after", "recovered"):
            said = before if key == "memorized_before" else after
            target = true if key == "recovered" else given
            assert not math.isclose(result[key], _share(said == target)), (
                f"{key} counts every image: only those whose given label differs from the true one matter"
            )
        assert not math.isclose(result["recovered"], _share((after != given)[wrong])), (
            "recovered: no longer saying the wrong label is not enough, the answer must be the *true* label"
        )
        assert not math.isclose(result["recovered_of_memorized"], right["recovered"]), (
            "recovered_of_memorized divides by all mislabelled images: take only those whose wrong label was "
            "repeated before the edit"
        )
        assert not math.isclose(result["recovered_of_memorized"], _share((after == true)[wrong & (after == given)])), (
            "recovered_of_memorized: memorized means memorized *before* the edit, not after it"
        )
        for key, value in right.items():
            assert math.isclose(float(result[key]), value, abs_tol=1e-6), (
                f"{key} should be {value:.3f} here, yours is {float(result[key]):.3f}"
            )


def check_exact_g(function):
    logits = 2 * torch.randn(9, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    p = torch.softmax(logits, -1)
    right = torch.diag(p.mean(0)) - p.T @ p / len(p)
    G = function(logits)
    assert torch.is_tensor(G) and G.shape == (4, 4), f"G is [C, C] = [4, 4], yours is {list(getattr(G, 'shape', []))}"
    residual = p[:, None, :] - torch.eye(4, dtype=p.dtype)
    unweighted = torch.einsum("ncj,nck->jk", residual, residual) / len(p)
    assert not torch.allclose(G, unweighted), (
        "every class counts the same here: weight class c's outer product by its probability p_c"
    )
    assert not torch.allclose(G, unweighted / 4), (
        "the classes are averaged evenly: weight class c's outer product by its probability p_c"
    )
    assert not torch.allclose(G, right * len(p)), "this is the sum over images: divide by their number"
    top = torch.stack([r[y] for r, y in zip(residual, p.argmax(-1))])
    assert not torch.allclose(G, top.T @ top / len(p)), (
        "only the model's favourite class is used: that is the label one would nearly always draw, not the expectation"
    )
    assert not torch.allclose(G, p.T @ p / len(p)), (
        "p p^T alone is not it: the gradient of -log p(y) at the logits is p minus the unit vector of y"
    )
    assert torch.allclose(G, right, atol=1e-9), (
        "G is not the expectation of (p - e_y)(p - e_y)^T over y drawn from p, averaged over the images"
    )


def check_expected_surprises(function):
    logits = torch.tensor([[8.0, 0.0, 0.0], [0.0, 2.0, 0.0], [1.0, 1.0, 1.0]], dtype=torch.float64)
    for temperature in (1.0, 4.0):
        right = (1 - torch.softmax(logits / temperature, -1).max(-1)[0]).sum().item()
        value = float(function(logits, temperature))
        assert not math.isclose(value, right / 3, rel_tol=1e-6), "this is the share: add the chances up over the images"
        assert not math.isclose(value, 3 - right, rel_tol=1e-6), (
            "this counts the draws that *are* the favourite class: take one minus that"
        )
        assert temperature == 1 or not math.isclose(
            value, (1 - torch.softmax(logits * temperature, -1).max(-1)[0]).sum().item(), rel_tol=1e-6
        ), "a temperature divides the logits: above one it must make surprises more likely"
        assert temperature == 1 or not math.isclose(
            value, (1 - torch.softmax(logits, -1).max(-1)[0]).sum().item(), rel_tol=1e-6
        ), "the temperature is not used"
        assert math.isclose(value, right, rel_tol=1e-6), (
            f"at temperature {temperature:g} it should be {right:.4f} here, yours is {value:.4f}"
        )


def _trial(name, choose, report):
    return {
        "name": name,
        **{half: {"clean": c, "recovered": r} for half, (c, r) in (("choose", choose), ("report", report))},
    }


def check_choose_edit(function):
    trials = [
        _trial("gentle", (0.999, 0.30), (0.999, 0.32)),
        _trial("good", (0.985, 0.61), (0.978, 0.55)),
        _trial("lucky", (0.984, 0.58), (0.990, 0.66)),
        _trial("harsh", (0.90, 0.80), (0.985, 0.82)),
    ]
    picked = function(trials, 0.98)
    assert isinstance(picked, dict) and picked in trials, "return one of the trials, the dict itself"
    assert picked["name"] != "lucky", (
        "this is the winner on the *reporting* half: what is reported may not choose, look at trial['choose'] only"
    )
    assert picked["name"] != "harsh", (
        "this trial damages too many clean images: its clean accuracy must be at least the floor, on the choosing half"
    )
    assert picked["name"] != "gentle", (
        "this is the cleanest trial, not the one that recovers most: the floor is a condition, not the goal"
    )
    assert picked["name"] == "good", (
        "take the trial that recovers most on the choosing half among those that are clean enough there"
    )
    edge = [_trial("at the floor", (0.98, 0.5), (0.9, 0.1)), _trial("above", (0.99, 0.4), (1, 1))]
    assert function(edge, 0.98)["name"] == "at the floor", "a clean accuracy equal to the floor is clean enough"
    assert function(list(reversed(trials)), 0.98)["name"] == "good", "the order of the trials must not matter"


def check_equal_norm(function):
    W = torch.randn(6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    W_edited = 0.8 * W
    rng = lambda: torch.Generator().manual_seed(1)
    result = function(W, W_edited, rng())
    assert torch.is_tensor(result) and result.shape == W.shape, f"a weight of shape {list(W.shape)} is wanted"
    moved, goal = (result - W).norm().item(), (W_edited - W).norm().item()
    assert not math.isclose(result.norm().item(), goal, rel_tol=1e-5), "this is the noise alone: add it to W"
    assert not torch.allclose(result, W_edited) and not torch.allclose(result, 2 * W - W_edited), (
        "this is the edit itself or its mirror image: the direction must be random"
    )
    assert not math.isclose(moved, W_edited.norm().item(), rel_tol=1e-5), (
        "the perturbation has the norm of the edited weight: it should have that of the *change*"
    )
    assert math.isclose(moved, goal, rel_tol=1e-5), (
        f"the weight moved by {moved:.3f} instead of {goal:.3f}: scale the noise to the norm of W_edited - W"
    )
    assert torch.equal(result, function(W, W_edited, rng())), (
        "the same generator gives another result: pass it to torch.randn"
    )


def check_rare_label(function):
    expected, share = parts(function(), 2, "the expectation, and the rarer label's share of it")
    expected = numbers(expected, [], "the expectation").item()
    share = numbers(share, [], "the share").item()
    assert not math.isclose(expected, 0.82, abs_tol=1e-3), (
        "this is the mean of the two squares: each label counts with its own probability"
    )
    assert not math.isclose(expected, 1.62, abs_tol=1e-3), "this is |g|^2 of one label: the expectation is over both"
    assert not math.isclose(expected, 0.02, abs_tol=1e-3), "this is |g|^2 of one label: the expectation is over both"
    assert not math.isclose(expected, 0, abs_tol=1e-9), "the expectation of g is zero, that of its square is not"
    assert math.isclose(expected, 0.18, abs_tol=1e-3), (
        "the expectation is not right: compute |g|^2 for each label by (07.1), with p_y the probability of that label"
    )
    assert not math.isclose(share, 0.1, abs_tol=1e-3) and not math.isclose(share, 10, abs_tol=1e-2), (
        "the expectation is right. The share is not that of the draws: of the expectation, how much is due to the "
        "rarer label?"
    )
    assert not math.isclose(share, 0.162, abs_tol=1e-3), (
        "this is the rarer label's part of the expectation: divide it by the whole"
    )
    assert math.isclose(share, 0.9, abs_tol=1e-3), "the expectation is right, the rarer label's share of it is not"


def _measured(strength):
    """An edit whose clean accuracy rises with its strength."""
    return {"clean": 0.5 + 0.5 * strength**2, "recovered": 0.9 - 0.8 * strength**3}


def check_at_one_price(function):
    for size, target in ((9, 0.9), (40, 0.73), (200, 0.98)):
        grid, asked = [(k + 1) / size for k in range(size)], []

        def measure(strength, asked=asked):
            asked.append(strength)
            return _measured(strength)

        result = function(measure, list(grid), target)
        assert isinstance(result, dict) and set(result) == {"clean", "recovered"}, (
            'a dict with the keys of what measure returns is wanted, here "clean" and "recovered"'
        )
        assert all(any(math.isclose(s, g, abs_tol=1e-12) for g in grid) for s in asked), (
            "measure was called with a strength that is not on the grid: a rank of 36.5 does not exist"
        )
        assert len(asked) <= 2 + size.bit_length(), (
            f"measure was called {len(asked)} times for a grid of {size}; {2 + size.bit_length()} are enough, since "
            "clean accuracy never falls along the grid: look in the middle"
        )
        above = next(g for g in grid if _measured(g)["clean"] >= target)
        low, high = _measured(grid[grid.index(above) - 1]), _measured(above)
        recovered = float(result["recovered"])
        nearest = min((low, high), key=lambda m: abs(m["clean"] - target))
        for neighbour in (low, high):
            assert not math.isclose(recovered, neighbour["recovered"], rel_tol=1e-9), (
                f"this is what one neighbour recovers, at a clean accuracy of {neighbour['clean']:.4f}: the agreed "
                f"one is {target}, so mix the two neighbours"
            )
        part = (target - low["clean"]) / (high["clean"] - low["clean"])
        mixture = lambda p: (1 - p) * low["recovered"] + p * high["recovered"]
        assert not math.isclose(recovered, mixture(0.5), rel_tol=1e-9), (
            "the neighbours are mixed half and half: their shares must make the mixed clean accuracy the agreed one"
        )
        assert not math.isclose(recovered, mixture(1 - part), rel_tol=1e-6), (
            "the two shares are exchanged: the neighbour that is nearer to the price counts more"
        )
        assert math.isclose(float(result["clean"]), target, abs_tol=1e-9), (
            f"the mixed clean accuracy is {float(result['clean']):.4f}, and the agreed one is {target}: the nearest "
            f"point of the grid stands at {nearest['clean']:.4f}"
        )
        assert math.isclose(recovered, mixture(part), rel_tol=1e-9), (
            "the clean accuracy is right, but what is recovered is not mixed with the same two shares"
        )
    grid = [0.1, 0.5, 0.9]
    for target, end in ((0.2, 0.1), (0.99, 0.9)):
        result = function(_measured, grid, target)
        assert math.isclose(float(result["recovered"]), _measured(end)["recovered"], rel_tol=1e-9), (
            f"no strength of the grid reaches a clean accuracy of {target}: then the end that is nearer to it counts, "
            "with no mixing beyond it"
        )
    exact = function(_measured, grid, _measured(0.5)["clean"])
    assert math.isclose(float(exact["recovered"]), _measured(0.5)["recovered"], rel_tol=1e-9), (
        "a strength that reaches the price exactly needs no mixing"
    )


EXERCISES = {
    "07.healing": Exercise(
        "What was recovered?",
        2,
        8,
        (
            "Begin with a mask of the mislabelled images; every figure is a mean over some of them.",
            "`memorized` compares with `given`, `recovered` with `true`. They need not add up to one: there are "
            "other classes.",
            "For the last share, the mask is: mislabelled, and the wrong label was said before. Of these, how many say "
            "the true label afterwards?",
        ),
        check_recovery,
        "Images that never took their wrong label are easy: they count as recovered over all, and are left out of "
        "the stricter figure.",
    ),
    "07.exact_g": Exercise(
        "No dice",
        3,
        10,
        (
            "The gradient of -log p(y) at the logits is p - e_y. You know the chance of each y.",
            "Loop over the classes: the residual `p - e_c` [N, C], weighted by the root of `p[:, c]`.",
            "A weighted residual times itself transposed, divided by the number of images, is one class's part. Add "
            "the parts up. Or use the right side of (07.2) and average that.",
        ),
        check_exact_g,
        "No label was drawn. With ten classes the expectation costs ten backward passes; with a thousand one has to "
        "draw after all.",
    ),
    "07.expected_surprises": Exercise(
        "How many surprises?",
        1,
        5,
        (
            "For one image: the chance that the drawn label is not the most likely one.",
            "Expectations add up, also over images that have nothing to do with each other.",
            "The temperature divides the logits before the softmax. One minus the largest probability of a row is that "
            "row's chance.",
        ),
        check_expected_surprises,
        "A draw that is the favourite class has a gradient near zero, so these few surprises are all that the "
        "estimate of G is made of.",
    ),
    "07.choose_edit": Exercise(
        "Choose without peeking",
        2,
        6,
        (
            "Every trial holds figures of two halves. Only one of them may be looked at here.",
            "First drop the trials that are not clean enough, then take the one that recovers most.",
            "`max` takes a `key`. Both the condition and the key look at `trial['choose']`.",
        ),
        check_choose_edit,
        "The winner's figure on the reporting half is usually a little lower. That is no bad luck: the best of "
        "several is partly lucky.",
    ),
    "07.equal_norm": Exercise(
        "Equally far, in no direction",
        2,
        10,
        (
            "Draw a random matrix first and worry about its length afterwards.",
            "The length of a matrix is `.norm()`; the length that is wanted is that of `W_edited - W`.",
            "Divide the random matrix by its own length, multiply it by the wanted one, and add it to W.",
        ),
        check_equal_norm,
        "If this recovers as many labels as the edit, the direction of the edit did not matter.",
    ),
    "07.rare_label": Exercise(
        "Who holds the expectation?",
        2,
        8,
        (
            "The sum of the squares of p is 0.82, and it is the same for both labels.",
            "Compute |g|^2 twice, once with p_y = 0.9 and once with p_y = 0.1.",
            "Weight each of the two by the probability of its label. The share is the rarer label's summand, divided "
            "by the sum.",
        ),
        check_rare_label,
        "A label that is drawn once in ten times holds nine tenths of the expectation. For a surer network the "
        "imbalance is greater still.",
    ),
    "07.at_one_price": Exercise(
        "At one price",
        4,
        25,
        (
            "Measure both ends of the grid first. If the price lies beyond one of them, you are done.",
            "Keep two places of the grid, one below the price and one above, with what was measured at each. Measure "
            "the place in the middle, and let it replace one of them, until they are neighbours.",
            "The upper neighbour's share is the distance from the lower clean accuracy to the target, divided by the "
            "distance between the two. Mix every entry of the two dicts with it.",
        ),
        check_at_one_price,
        "A method whose strength goes in steps is neither flattered nor punished for standing a little beside the "
        "price.",
    ),
}
