"""What the checks of chapter 05 see that no answer in wrong.py can show, because it leaves the result as it is."""

import torch

import kfcourse.ch05.checks as checks
from kfcourse.learning import exercises


def verdict(name, function):
    return exercises.judge(checks.EXERCISES[f"05.{name}"], function)


def test_a_hook_that_stays_on_the_model_is_named():
    def leaves_its_hook(model, name, batches, loss):
        sums = {"A": 0, "G": 0, "T": 0}

        def hook(layer, inputs, output):
            a = inputs[0].detach().flatten(0, -2)
            sums.update(A=sums["A"] + a.T @ a, T=sums["T"] + len(a))
            output.register_hook(lambda g: sums.update(G=sums["G"] + g.flatten(0, -2).T @ g.flatten(0, -2)))

        model.get_submodule(name).register_forward_hook(hook)
        for batch in batches:
            loss(model(batch)).backward()
        return sums["A"] / sums["T"], sums["G"] / sums["T"]

    assert "still registered" in verdict("collect_by_hooks", leaves_its_hook).message


def test_a_large_matrix_on_the_way_is_named():
    def by_the_large_system(V, G, A, damping):
        system = torch.kron(G, A) + damping * torch.eye(V.numel(), dtype=V.dtype)
        return torch.linalg.solve(system, V.reshape(-1)).reshape(V.shape)

    assert "fits nowhere" in verdict("damped_solve", by_the_large_system).message


def test_a_control_that_spoils_the_original_data_is_named():
    def in_place(a, g, generator):
        g[:] = g[torch.randperm(len(g), generator=generator)]
        return a, g

    assert "in place" in verdict("unrelated_pairs", in_place).message
