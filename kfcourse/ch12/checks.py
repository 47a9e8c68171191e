"""Exercises of chapter 12: which weights a subnet drops, the gradient of its scores, a loss with two signs, energy in
flat directions.
"""

import torch

from kfcourse import Exercise


def _draw(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def check_subnet_mask(function):
    for seed, (ratio, shape) in enumerate(((0.25, (4, 8)), (0.1, (5, 8)), (0.6, (3, 5)), (0.0, (2, 3)))):
        scores = _draw(seed, *shape)
        found, drop = function(scores, ratio), round(ratio * scores.numel())
        assert torch.is_tensor(found) and found.dtype == torch.bool, (
            "a boolean tensor is wanted, true where a weight is kept"
        )
        assert found.shape == scores.shape, (
            f"the mask has shape {list(found.shape)}, but there is a score for each weight, {list(scores.shape)}"
        )
        dropped = int((~found).sum())
        order = scores.abs().flatten().argsort()
        wanted = torch.ones(scores.numel(), dtype=torch.bool).index_fill(0, order[:drop], False).view_as(scores)
        assert not torch.equal(found, ~wanted), "true should stand for *kept*: this is the mask of the dropped weights"
        signed = (
            torch.ones(scores.numel(), dtype=torch.bool)
            .index_fill(0, scores.flatten().argsort()[:drop], False)
            .view_as(scores)
        )
        assert torch.equal(signed, wanted) or not torch.equal(found, signed), (
            "a large negative score is a large one: rank by the *absolute* value"
        )
        largest = (
            torch.ones(scores.numel(), dtype=torch.bool)
            .index_fill(0, order[scores.numel() - drop :], False)
            .view_as(scores)
        )
        assert not drop or not torch.equal(found, largest), "this drops the highest scores; the lowest go"
        assert dropped == drop, (
            f"with ratio {ratio} exactly {drop} of {scores.numel()} weights are dropped, yours drops {dropped}"
        )
        assert torch.equal(found, wanted), (
            "the right number is dropped, but not the lowest of the whole matrix: rank all its scores together"
        )


def check_score_gradient(function):
    for seed in range(3):
        W, scores, a, g = (_draw(10 * seed + k, *shape) for k, shape in enumerate(((3, 4), (3, 4), (7, 4), (7, 3))))
        found = function(W, scores, a, g)
        assert torch.is_tensor(found) and found.shape == W.shape, (
            f"a gradient for each score is wanted, [3, 4], yours has shape {list(getattr(found, 'shape', []))}"
        )
        at_weights = g.T @ a
        right = at_weights * W * scores.sign()
        close = lambda other: torch.allclose(found, other, atol=1e-9)
        assert not close(at_weights * scores.sign()), (
            "the mask multiplies the weight, so the gradient at the mask is the one at the product *times W*"
        )
        assert not close(at_weights * W), "the mask depends on |score|: where the score is negative, the sign turns"
        assert not close(right / len(a)), "g already holds each token's share of the loss: add the tokens up, no mean"
        assert not close(-right), "this is the step downhill; the gradient itself is asked for"
        dropped = [close(right * (scores.abs() >= limit)) for limit in scores.abs().flatten().sort()[0][1:].tolist()]
        assert not any(dropped), (
            "straight through means that dropped weights get their gradient, too: otherwise none could ever come back"
        )
        assert close(right), f"the first gradient should be {right[0, 0]:.4f}, yours is {found[0, 0]:.4f}"


def check_balanced_loss(function):
    for seed, (weight, bound) in enumerate(((0.7, 1.0), (0.3, 0.8), (0.6, 50.0))):
        clean, memorized = _draw(seed, 9).abs() * 2, _draw(seed + 50, 6).abs() * 2
        found = float(function(clean, memorized, weight, bound))
        up = memorized.clamp(max=bound).mean()
        same = lambda value: abs(found - float(value)) < 1e-9
        assert not same(weight * up - (1 - weight) * clean.mean()), (
            "both signs are turned: descending this learns the quotes and unlearns the clean text"
        )
        assert not same((1 - weight) * clean.mean() + weight * up), (
            "this is lowest when the quotes are known best: their loss must go *up* when this one goes down"
        )
        assert not same(weight * clean.mean() - (1 - weight) * up), (
            "`weight` belongs to the memorized windows, 1 - weight to the clean text"
        )
        assert bound > 10 or not same((1 - weight) * clean.mean() - weight * memorized.mean()), (
            "a memorized token above the bound must push no further: cap each token's loss before the mean"
        )
        mean_capped = (1 - weight) * clean.mean() - weight * memorized.mean().clamp(max=bound)
        assert memorized.mean() <= bound or not same(mean_capped), (
            "you cap the mean; one token far above the bound would still hide the others: cap each token"
        )
        assert same((1 - weight) * clean.mean() - weight * up), (
            f"the loss should be {(1 - weight) * clean.mean() - weight * up:.4f}, yours is {found:.4f}"
        )


def check_energy_in_flat_directions(function):
    for seed in range(3):
        generator = torch.Generator().manual_seed(seed)
        draw = lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.float64)
        Q_A, x = torch.linalg.qr(draw(10, 10))[0], draw(7, 10) * torch.linspace(0.5, 3, 7, dtype=torch.float64)[:, None]
        for share in (0.6, 0.3):
            flat = round(share * 10)
            found = function(x, Q_A, share)
            assert torch.is_tensor(found) and found.shape == (7,), (
                f"one number a token is wanted, [7], yours has shape {list(getattr(found, 'shape', []))}"
            )
            energy = (x @ Q_A).square()
            total = energy.sum(1)
            assert not torch.allclose(found, energy[:, -flat:].sum(1)), (
                "this is the energy itself; a share is divided by the whole, ||x||^2"
            )
            assert not torch.allclose(found, energy[:, :flat].sum(1) / total), (
                "these are the sharpest directions: eigenvectors come sorted, the sharpest first, so the flat ones "
                "are the last columns"
            )
            rows = (x @ Q_A.T).square()
            assert not torch.allclose(found, rows[:, -flat:].sum(1) / total), (
                "eigenvectors are the columns of Q_A: coordinates are x @ Q_A"
            )
            absolute = (x @ Q_A).abs()
            assert not torch.allclose(found, absolute[:, -flat:].sum(1) / absolute.sum(1)), (
                "energy is the square of a coordinate, not its absolute value"
            )
            assert torch.allclose(found, energy[:, -flat:].sum(1) / total), (
                f"the first token's share should be {energy[0, -flat:].sum() / total[0]:.4f}, yours is "
                f"{float(found[0]):.4f}"
            )


EXERCISES = {
    "12.subnet_mask": Exercise(
        "What the subnet drops",
        2,
        8,
        (
            "Everything is decided by the size of the scores. Sort all of them, whatever row they are in.",
            "`scores.abs().flatten().argsort()` lists the weights from the lowest to the highest; the first "
            "`round(ratio * scores.numel())` go.",
            "Make a flat tensor of ones of type bool, set those entries to False, and give it back `.view_as(scores)`.",
        ),
        check_subnet_mask,
        "By rank and not by a threshold, so that exactly the wanted share is dropped whatever the scores look like.",
    ),
    "12.score_gradient": Exercise(
        "The gradient of a score",
        3,
        10,
        (
            "Write M for the mask as numbers. The output is (W * M) a. What is the gradient of the loss at M, if M "
            "were free?",
            "At the product W * M it is the sum over tokens of g a^T, which is `g.T @ a`. The product rule gives "
            "another factor for M.",
            "Straight through: pretend M = |scores|, whose derivative is sign(scores). So `(g.T @ a) * W * "
            "scores.sign()`.",
        ),
        check_score_gradient,
        "The hard mask has no gradient of its own. Pretending that it is |score| sends every weight a signal, the "
        "dropped ones as well.",
    ),
    "12.balanced_loss": Exercise(
        "Up on one, down on the other",
        2,
        6,
        (
            "Two means with two shares. Training goes downhill: what should become larger has to enter with a minus.",
            "Share 1 - weight for the clean text, with a plus; share weight for the memorized tokens, with a minus.",
            "`(1 - weight) * clean.mean() - weight * memorized.clamp(max=bound).mean()`.",
        ),
        check_balanced_loss,
        "Without a cap the loss of a few tokens would run off to minus infinity, and the model with it.",
    ),
    "12.energy_in_flat_directions": Exercise(
        "Energy in flat directions",
        2,
        8,
        (
            "Write the input in the eigenvectors of $A$. Squares of the coordinates add up to its squared length: "
            "that is the energy, and it can be shared out.",
            "Coordinates are `x @ Q_A`. The eigenvectors are sorted, the sharpest first, so `round(share * I)` flat "
            "ones are the last columns.",
            "`energy = (x @ Q_A)**2`; then the sum over the last `k = round(share * I)` columns, divided by the sum "
            "over all.",
        ),
        check_energy_in_flat_directions,
        "The eigenvectors are orthonormal, so the squares add up to the squared length and the share does not depend "
        "on how long an input is.",
    ),
}
