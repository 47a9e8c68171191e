"""Exercises of chapter 06: one example's sharpest direction, what averaging leaves of it, how much a set has in common,
a fair choice of tokens.
"""

import torch

from kfcourse import Exercise


def _roots(n=6, classes=4, size=9, seed=0):
    return torch.randn(n, classes, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def check_sharpest_direction(function):
    for seed in range(3):
        B = _roots(seed=seed)[0]
        result = function(B)
        assert isinstance(result, (tuple, list)) and len(result) == 2, (
            "return two things: the largest eigenvalue, and its direction [P]"
        )
        value, direction = result
        assert torch.is_tensor(direction) and list(direction.shape) == [9], (
            f"the direction has shape {list(getattr(direction, 'shape', []))}, not [9]: an eigenvector of B B^T "
            "lives in the outputs; carry it over with B^T"
        )
        exact = torch.linalg.eigvalsh(B.T @ B)
        assert abs(float(value) - exact[-1].item() ** 0.5) > 1e-9, (
            "this is a singular value of B: the curvature is its square"
        )
        assert abs(float(value) - exact[-1].item()) < 1e-8, (
            f"the largest eigenvalue should be {exact[-1].item():.4f}, yours is {float(value):.4f}: eigh sorts "
            "ascending"
        )
        assert abs(direction.norm().item() - 1) < 1e-8, (
            f"the direction has norm {direction.norm().item():.3f}: scale it to 1"
        )
        assert (B.T @ B @ direction - float(value) * direction).norm() < 1e-7, (
            "the direction is not the eigenvector of B^T B for that eigenvalue"
        )


def check_curvature_in_company(function):
    roots = _roots(seed=3)
    direction = torch.nn.functional.normalize(
        torch.randn(9, generator=torch.Generator().manual_seed(4), dtype=torch.float64), dim=0
    )
    average = sum(B.T @ B for B in roots) / len(roots)
    right = (direction @ average @ direction).item()
    value = function(roots, direction)
    assert abs(float(value) - right * len(roots)) > 1e-9, "this is the sum over the examples: take the mean"
    mean_root = (roots.mean(0) @ direction).square().sum().item()
    assert abs(float(value) - mean_root) > 1e-9, (
        "the roots were averaged first, and opposite signs cancelled: curvature is squared per example, then averaged"
    )
    assert abs(float(value) - (roots @ direction).mean(0).square().sum().item()) > 1e-9, (
        "squares first, mean afterwards"
    )
    assert abs(float(value) - (roots @ direction).square().mean().item()) > 1e-9, (
        "the rows of one root are added up, not averaged: mean over examples only"
    )
    assert abs(float(value) - right) < 1e-8, (
        f"v^T (mean of B_n^T B_n) v is {right:.4f} here, yours is {float(value):.4f}"
    )


def check_shared_share(function):
    apart = torch.eye(6, dtype=torch.float64)[:, None, :]  # six examples, each with a direction of its own
    same = torch.eye(6, dtype=torch.float64)[:1, None, :].expand(6, 1, 6)
    for name, roots, right in (("six unrelated examples", apart, 1 / 6), ("six identical examples", same, 1.0)):
        value = float(function(roots))
        assert abs(value - right) < 1e-8, (
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
    assert abs(value - right) < 1e-8, (
        f"for six examples of different size it should be {right:.4f}, yours is {value:.4f}"
    )


def check_as_certain(function):
    unsure = torch.tensor([[0.9, 0.01, 0.3], [0.05, 0.02, 0.6]])
    right = torch.tensor([[False, True, True], [True, True, False]])
    picked = function(unsure, 0.1)
    assert torch.is_tensor(picked) and picked.dtype == torch.bool and picked.shape == unsure.shape, (
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
    assert function(unsure, 1.0).all(), "if even the mean of all tokens is below `wanted`, all of them are picked"


EXERCISES = {
    "06.sharpest_direction": Exercise(
        "One example's sharpest direction",
        3,
        12,
        (
            "B^T B is huge, B B^T is tiny, and they have the same eigenvalues apart from zeros.",
            "If s is an eigenvector of B B^T, then B^T s is one of B^T B. Only its length is not 1.",
            "`values, s = torch.linalg.eigh(B @ B.T)`; take the last; `direction = B.T @ s[:, -1]`; divide by its "
            "norm.",
        ),
        check_sharpest_direction,
        "Ten classes, so a 10 x 10 matrix does the work of one with more than sixteen thousand rows.",
    ),
    "06.curvature_in_company": Exercise(
        "Curvature in company",
        2,
        8,
        (
            "How much curvature does one example have along v? Its root tells: |B_n v|^2.",
            "`roots @ direction` is [N, C], all at once.",
            "Square, add over the C rows of every example, take the mean over the N examples.",
        ),
        check_curvature_in_company,
        "Curvatures are never negative, so nothing can cancel by sign. What gets lost is share: a direction of one "
        "example among N keeps 1/N.",
    ),
    "06.shared_share": Exercise(
        "How much is shared?",
        3,
        12,
        (
            "Two numbers: the top eigenvalue of the average, and the average of the top eigenvalues.",
            "For the average, stack all rows of all roots: the mean of the B_n^T B_n is R^T R / N with R of shape [N "
            "C, P].",
            "`rows = roots.flatten(0, 1)`; the top eigenvalue of `rows @ rows.T` divided by N; for the single ones "
            "`roots @ roots.mT`.",
        ),
        check_shared_share,
        "Between 1/N (nothing in common) and 1 (the same direction everywhere). It ignores how large the curvature "
        "is, which is the point.",
    ),
    "06.as_certain": Exercise(
        "A fair comparison",
        2,
        8,
        (
            "Sort all uncertainties, the smallest first, whatever sequence they stand in.",
            "The mean of the first k is a cumulative sum over k, divided by k. It grows with k.",
            "`values = unsure.flatten().sort()[0]`; count the running means that are at most `wanted`; the last "
            "value that fits is your threshold.",
        ),
        check_as_certain,
        "A comparison is fair when what you do not want to compare is equal. Here that is the mean certainty alone: "
        "the tokens' kinds still differ.",
    ),
}
