"""Right answers of unusual form to the exercises of chapter 02: their checks must accept every one."""

import math

import numpy as np
import torch

from kfaclib.toy import canaries


def shares_in_a_loop(said, given, true):
    rows = [(s == g, s == t) for s, g, t in zip(said.tolist(), given.tolist(), true.tolist()) if g != t]
    return [sum(column) / len(rows) for column in zip(*rows)]


def shares_as_a_tensor(said, given, true):
    bad = (given != true).double()
    return torch.stack([((said == label).double() * bad).sum() / bad.sum() for label in (given, true)])


def stop_by_numpy(curve, patience):
    values = np.asarray(curve)
    for epoch in range(len(values)):
        best = values[: epoch + 1].argmax()
        if epoch - best >= patience:
            return best
    return values.argmax()


def stop_by_counting(curve, patience):
    best, waited, epoch = 0, 0, 1
    while epoch < len(curve) and waited < patience:
        if curve[epoch] > curve[best]:
            best, waited = epoch, 0
        else:
            waited += 1
        epoch += 1
    return torch.tensor(best)


def continue_by_recursion(next_scores, ids, count):
    if not count:
        return []
    best = torch.topk(next_scores(list(ids)), 1).indices
    return [best.item(), *continue_by_recursion(next_scores, [*ids, best.item()], count - 1)]


def continue_as_a_tensor(next_scores, ids, count):
    found = []
    while len(found) < count:
        scores = next_scores(ids + found).tolist()
        found.append(max(range(len(scores)), key=scores.__getitem__))
    return torch.tensor(found)


def luck_in_a_loop(candidates):
    return np.mean([np.log2(candidates / rank) for rank in range(1, candidates + 1)])


def luck_as_a_tensor(candidates):
    return math.log2(candidates) - torch.arange(1, candidates + 1).double().log2().mean()


def exposure_by_sorting(scores, index):
    rank = sorted(scores.tolist(), reverse=True).index(scores[index].item()) + 1
    return np.log2(len(scores) / rank)


def exposure_as_a_tensor(scores, index):
    return -torch.log2((scores >= scores[index]).double().mean())


def strangers_as_a_set(secrets, owner):
    return {name for name, place, said in secrets if not said} - {owner[0]}


def strangers_backwards(secrets, owner):
    found = []
    for person in reversed(secrets):
        if person[2] == 0 and person != owner:
            found.append(person[0])
    return tuple(found)


def exam_by_groups(secrets, scores_of):
    report = {}
    for said in sorted({n for *_, n in secrets}, reverse=True):
        group = [(name, place) for name, place, n in secrets if n == said]
        asked = lambda name, place: [o for o, _, n in secrets if n == 0 and o != name]
        report[said] = {
            "stranger": torch.tensor(
                [np.mean([canaries.exposure(scores_of(o), place) for o in asked(name, place)]) for name, place in group]
            ).mean(),
            "owner": np.mean([canaries.exposure(scores_of(name), place) for name, place in group]),
            "first": sum(bool(scores_of(name).max() == scores_of(name)[place]) for name, place in group) / len(group),
            "people": len(group),
        }
    return report


def exam_with_ranks(secrets, scores_of):
    bits = {name: len(s := scores_of(name)) / (1 + (s[None] > s[:, None]).sum(1)) for name, *_ in secrets}
    rows = {}
    for name, place, said in secrets:
        others = [bits[o][place].log2() for o, _, n in secrets if n == 0 and o != name]
        rows.setdefault(said, []).append(
            torch.stack(
                [(bits[name][place] == len(bits[name])).double(), bits[name][place].log2(), sum(others) / len(others)]
            )
        )
    return {n: dict(zip(("first", "owner", "stranger"), torch.stack(v).double().mean(0))) for n, v in rows.items()}


RIGHT = {
    "02.memorized_and_true": [shares_in_a_loop, shares_as_a_tensor],
    "02.stop_at": [stop_by_numpy, stop_by_counting],
    "02.continue_greedily": [continue_by_recursion, continue_as_a_tensor],
    "02.luck_bits": [luck_in_a_loop, luck_as_a_tensor],
    "02.exposure_bits": [exposure_by_sorting, exposure_as_a_tensor],
    "02.strangers": [strangers_as_a_set, strangers_backwards],
    "02.canary_exam": [exam_by_groups, exam_with_ranks],
}
