"""Exercises of chapter 06: one example's sharpest direction, what averaging leaves of it, how much a set has in common,
and comparisons at equal uncertainty.
"""

import torch

from kfcourse import Exercise
from kfcourse.learning.results import parts


def _roots(n=6, classes=4, size=9, seed=0):
    return torch.randn(n, classes, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def check_sharpest_direction(function):
    for seed in range(3):
        B = _roots(seed=seed)[0]
        value, direction = parts(function(B), 2, "the largest eigenvalue, and its direction [P]")
        direction = torch.as_tensor(direction, dtype=torch.float64)
        assert direction.numel() == 9, (
            f"the direction has shape {list(direction.shape)}, not [9]: an eigenvector of B B^T lives in the outputs; "
            "carry it over with B^T"
        )
        direction = direction.flatten()
        exact = torch.linalg.eigvalsh(B.T @ B)
        assert abs(float(value) - exact[-1].item() ** 0.5) > 1e-9, (
            "this is a singular value of B: the curvature is its square"
        )
        assert abs(float(value) - exact[-1].item()) < 1e-6, (
            f"the largest eigenvalue should be {exact[-1].item():.4f}, yours is {float(value):.4f}: eigh sorts "
            "ascending"
        )
        assert abs(direction.norm().item() - 1) < 1e-6, (
            f"the direction has norm {direction.norm().item():.3f}: scale it to 1"
        )
        assert (B.T @ B @ direction - float(value) * direction).norm() < 1e-5, (
            "the direction is not the eigenvector of B^T B for that eigenvalue"
        )


def check_enough_others(function):
    count, limit = parts(function(), 2, "the smallest N, and the value for very large N")
    assert abs(float(limit) - 0.5) < 1e-9, (
        f"for very large N you have {float(limit):g}: the example's own share vanishes, and what the others have "
        "along its direction remains"
    )
    assert float(count) != 80, (
        "at N = 80 the others' share alone would be counted wrongly: (06.2) has N - 1 others, each with 0.5"
    )
    assert float(count) != 20, "at N = 20 only the example's own share has fallen to 2: add what the others contribute"
    assert float(count) != 26, "at N = 26 the average is still a little above 2 along the memorized direction"
    assert float(count) == 27, (
        f"N = {float(count):g} is not the smallest one: write (06.2) with lambda = 40 and 0.5 for each of the N - 1 "
        "others, and ask when it is below 2"
    )


def check_curvature_in_company(function):
    roots = _roots(seed=3)
    direction = torch.nn.functional.normalize(
        torch.randn(9, generator=torch.Generator().manual_seed(4), dtype=torch.float64), dim=0
    )
    average = sum(B.T @ B for B in roots) / len(roots)
    right = (direction @ average @ direction).item()
    value = float(function(roots, direction))
    assert abs(value - right * len(roots)) > 1e-9, "this is the sum over the examples: take the mean"
    mean_root = (roots.mean(0) @ direction).square().sum().item()
    assert abs(value - mean_root) > 1e-9, (
        "the roots were averaged first, and opposite signs cancelled: curvature is squared per example, then averaged"
    )
    assert abs(value - (roots @ direction).square().mean().item()) > 1e-9, (
        "the rows of one root are added up, not averaged: mean over examples only"
    )
    assert abs(value - right) < 1e-6, f"v^T (mean of B_n^T B_n) v is {right:.4f} here, yours is {value:.4f}"


def _greedy(memorized, clean, gap):
    """How many pairs a greedy search over sorted values finds."""
    free, count = sorted(clean.tolist()), 0
    for u in sorted(memorized.tolist(), reverse=True):
        near = min(free, key=lambda c: abs(c - u), default=None)
        if near is not None and abs(near - u) < gap:
            free.remove(near)
            count += 1
    return count


def check_equal_pairs(function):
    g = torch.Generator().manual_seed(6)
    cases = [
        (torch.tensor([0.30, 0.31, 0.90]), torch.tensor([0.305, 0.10, 0.315, 0.11]), 0.02),
        (torch.rand(12, generator=g), torch.rand(30, generator=g) ** 3, 0.03),
        (torch.rand(30, generator=g), torch.rand(9, generator=g), 0.05),
        (torch.tensor([0.5]), torch.tensor([0.9]), 0.1),
    ]
    for memorized, clean, gap in cases:
        result = function(memorized.clone(), clean.clone(), gap)
        pairs = [(int(i), int(j)) for i, j in result]
        for i, j in pairs:
            assert 0 <= i < len(memorized) and 0 <= j < len(clean), (
                f"the pair {(i, j)} does not fit {len(memorized)} memorized and {len(clean)} clean images: the "
                "memorized index comes first"
            )
            assert abs(memorized[i] - clean[j]) < gap, (
                f"a pair differs by {abs(memorized[i] - clean[j]):.3f} in uncertainty, and the gap is {gap}"
            )
        for side, name in ((0, "memorized"), (1, "clean")):
            used = [pair[side] for pair in pairs]
            assert len(set(used)) == len(used), f"a {name} image is used twice"
        possible = _greedy(memorized, clean, gap)
        assert len(pairs) >= possible, (
            f"{len(pairs)} pairs where a greedy search finds {possible}: partners were wasted. Let memorized images "
            "choose one after the other, each the nearest clean image that is still free"
        )


def check_shared_share(function):
    apart = torch.eye(6, dtype=torch.float64)[:, None, :]  # six examples, each with a direction of its own
    same = torch.eye(6, dtype=torch.float64)[:1, None, :].expand(6, 1, 6)
    for name, roots, right in (("six unrelated examples", apart, 1 / 6), ("six identical examples", same, 1.0)):
        value = float(function(roots))
        assert abs(value - right) < 1e-6, (
            f"{name} should give {right:.3f}, yours gives {value:.3f}: the largest eigenvalue of the *average*, "
            "over the mean of the single largest ones"
        )
    roots = _roots(seed=5) * torch.arange(1, 7, dtype=torch.float64)[:, None, None]
    top = lambda M: torch.linalg.eigvalsh(M)[-1].item()
    alone = [top(B.T @ B) for B in roots]
    together = top(sum(B.T @ B for B in roots) / 6)
    value = float(function(roots))
    assert abs(value - together / max(alone)) > 1e-9, (
        "compare with the *mean* of the single top eigenvalues, not with the largest of them"
    )
    right = together / (sum(alone) / 6)
    assert abs(value - right) < 1e-6, (
        f"for six examples of different size it should be {right:.4f}, yours is {value:.4f}"
    )


def check_power_iteration(function):
    for shape, seed in (((8,), 0), ((3, 4), 1)):
        g = torch.Generator().manual_seed(seed)
        size = torch.Size(shape).numel()
        Q = torch.linalg.qr(torch.randn(size, size, generator=g, dtype=torch.float64))[0]
        F = Q @ torch.diag(torch.tensor([3.0] + [1.2 * 0.8**k for k in range(size - 1)]).double()) @ Q.T
        calls = []

        def product(v, F=F, shape=shape, calls=calls):
            assert tuple(v.shape) == shape, f"product was called with shape {list(v.shape)} instead of {list(shape)}"
            calls.append(v)
            return (F @ v.flatten()).view(shape)

        start = 5 * torch.randn(shape, generator=g, dtype=torch.float64)
        value, direction = parts(function(product, start, 30), 2, "the eigenvalue, and the unit direction")
        assert torch.is_tensor(direction) and tuple(direction.shape) == shape, (
            f"the direction has shape {list(getattr(direction, 'shape', []))}, not that of start, {list(shape)}"
        )
        assert abs(direction.norm().item() - 1) < 1e-6, (
            f"the direction has length {direction.norm().item():.3g}: divide by the root of the sum of all squares"
        )
        assert abs(float(value) - 3) < 1e-6, (
            f"the largest eigenvalue is 3, yours is {float(value):.4g}: it is v^T F v for a direction v of length one, "
            "also in the first step, where start need not have that length"
        )
        assert abs(abs((direction.flatten() @ Q[:, 0]).item()) - 1) < 1e-6, (
            "the direction is not the eigenvector: put the product in its place in every step"
        )
        before = len(calls)
        function(product, start, 1)
        assert len(calls) - before <= 2, "one step is one product with F, and at most one more at the end"


def check_as_certain(function):
    unsure = torch.tensor([[0.9, 0.01, 0.3], [0.05, 0.02, 0.6]])
    right = torch.tensor([[False, True, True], [True, True, False]])
    picked = torch.as_tensor(function(unsure.clone(), 0.1))
    assert picked.dtype == torch.bool and picked.shape == unsure.shape, (
        "return a boolean tensor of the shape of `unsure`"
    )
    assert not picked[0, 0], "the least certain token was picked: start from the smallest uncertainty"
    assert not torch.equal(picked, unsure <= 0.1), (
        "every picked token is below `wanted`: it is their *mean* that may reach it, so more of them fit in"
    )
    mean = unsure[picked].mean().item() if picked.any() else 0.0
    assert mean <= 0.1, (
        f"the mean uncertainty of your tokens is {mean:.3f}, above the wanted 0.100: one or more too many"
    )
    assert torch.equal(picked, right), f"{int(picked.sum())} tokens with mean {mean:.3f}: one more would still fit"
    every = torch.as_tensor(function(unsure.clone(), 1.0))
    assert every.all(), "if even the mean of all tokens is below `wanted`, all of them are picked"


EXERCISES = {
    "06.sharpest_direction": Exercise(
        "One example's sharpest direction",
        3,
        12,
        (
            "B^T B is huge, B B^T is tiny, and they have the same eigenvalues apart from zeros.",
            "If s is an eigenvector of B B^T, then B^T s is one of B^T B. Only its length is not 1.",
            "`torch.linalg.eigh` of the small matrix sorts ascending. Take its last column over to the weights, and "
            "divide by the length that it has there.",
        ),
        check_sharpest_direction,
        "With ten classes, a 10 x 10 matrix does the work of one with more than sixteen thousand rows.",
    ),
    "06.enough_others": Exercise(
        "How many others does it take?",
        2,
        8,
        (
            "Write the right side of (06.2) as a function of N. How many others are there?",
            "The average along the memorized direction is (40 + 0.5 (N - 1)) / N. Compare it with 2.",
            "Multiply by N and collect N on one side. For the limit, ask which part of the fraction grows with N.",
        ),
        check_enough_others,
        "The private direction never becomes flatter than what the others have along it. Dilution has a floor.",
    ),
    "06.curvature_in_company": Exercise(
        "Curvature in company",
        2,
        8,
        (
            "How much curvature does one example have along v? Its root tells: |B_n v|^2.",
            "`roots @ direction` is [N, C]: the product B_n v of every example at once.",
            "There are two sums, over the C rows of a root and over the N examples, and only one of them is a mean.",
        ),
        check_curvature_in_company,
        "Curvatures are never negative, so nothing can cancel by sign. A direction that one example among N uses keeps "
        "1/N of its curvature.",
    ),
    "06.equal_pairs": Exercise(
        "Pairs of equal uncertainty",
        3,
        25,
        (
            "Let memorized images choose one after the other, and keep a set of the clean ones still free.",
            "Each chooses the free clean image nearest to it. If even that differs by `gap` or more, it goes without.",
            "Who should choose first? Clean images are mostly certain, so partners for uncertain ones are rare.",
        ),
        check_equal_pairs,
        "The pairs differ in whether the label was memorized and hardly in uncertainty. Matching on a confounder is "
        "the simplest control there is.",
    ),
    "06.shared_share": Exercise(
        "How much is shared?",
        3,
        12,
        (
            "You need two numbers: the top eigenvalue of the average, and the average of the top eigenvalues.",
            "For the average, stack all rows of all roots in R [N C, P]: the mean of the B_n^T B_n is R^T R / N.",
            "Use the trick of the first exercise twice: on the stacked rows, and on each root (`roots @ roots.mT`).",
        ),
        check_shared_share,
        "The share ignores how large the curvatures are, so it can compare memorized images with clean ones.",
    ),
    "06.power_iteration": Exercise(
        "Power iteration",
        3,
        20,
        (
            "Multiplying by F stretches each eigenvector's part by its eigenvalue, so the top one soon prevails.",
            "Normalize before you multiply. With a unit v, the estimate is the sum over all entries of v times F v.",
            "In the loop: image = F v; estimate; then the image, divided by its length, becomes the next v.",
        ),
        check_power_iteration,
        "The part along the second direction shrinks by the ratio of the two largest eigenvalues in each step.",
    ),
    "06.as_certain": Exercise(
        "Equally certain tokens",
        2,
        8,
        (
            "Sort all uncertainties, the smallest first, whichever sequence they stand in.",
            "The mean of the first k is a cumulative sum over k, divided by k. It grows with k.",
            "Count for how many k that running mean is at most `wanted`. The value there is the threshold for a token.",
        ),
        check_as_certain,
        "A comparison is fair when what you do not want to compare is equal. Here that is the mean uncertainty alone: "
        "the tokens' kinds still differ.",
    ),
}
