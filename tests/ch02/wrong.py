"""Plausible wrong answers to the exercises of chapter 02, with a fragment of what their check must say."""

import math


def shares_over_all(said, given, true):
    return (said == given).float().mean().item(), (said == true).float().mean().item()


def shares_divided_by_all(said, given, true):
    bad = given != true
    return (bad & (said == given)).float().mean().item(), (bad & (said == true)).float().mean().item()


def shares_swapped(said, given, true):
    bad = given != true
    return (said[bad] == true[bad]).float().mean().item(), (said[bad] == given[bad]).float().mean().item()


def shares_complement(said, given, true):
    bad = given != true
    memorized = (said[bad] == given[bad]).float().mean().item()
    return memorized, 1 - memorized


def stop_knows_the_future(curve, patience):
    return max(range(len(curve)), key=lambda epoch: curve[epoch])


def stop_returns_the_last(curve, patience):
    best = 0
    for epoch, value in enumerate(curve):
        if value > curve[best]:
            best = epoch
        elif epoch - best >= patience:
            return epoch
    return best


def stop_at_first_fall(curve, patience):
    for epoch in range(1, len(curve)):
        if curve[epoch] < curve[epoch - 1]:
            return epoch - 1
    return len(curve) - 1


def stop_counts_equal_as_better(curve, patience):
    best = 0
    for epoch, value in enumerate(curve):
        if value >= curve[best]:
            best = epoch
        elif epoch - best >= patience:
            break
    return best


def continue_with_prompt(next_scores, ids, count):
    ids = list(ids)
    for _ in range(count):
        ids.append(int(next_scores(ids).argmax()))
    return ids


def continue_forgetting(next_scores, ids, count):
    return [int(next_scores(ids).argmax()) for _ in range(count)]


def continue_in_place(next_scores, ids, count):
    for _ in range(count):
        ids.append(int(next_scores(ids).argmax()))
    return ids[-count:]


def exposure_rank_from_zero(scores, index):
    ahead = (scores > scores[index]).sum().item()
    return math.inf if ahead == 0 else math.log2(len(scores)) - math.log2(ahead)


def exposure_upside_down(scores, index):
    return math.log2(len(scores)) - math.log2(1 + (scores < scores[index]).sum().item())


def exposure_in_nats(scores, index):
    return math.log(len(scores)) - math.log(1 + (scores > scores[index]).sum().item())


WRONG = {
    "02.memorized_and_true": [
        (shares_over_all, "over all images"),
        (shares_divided_by_all, "not by the number of all images"),
        (shares_swapped, "swapped"),
        (shares_complement, "not one minus the first"),
    ],
    "02.stop_at": [
        (stop_knows_the_future, "into the future"),
        (stop_returns_the_last, "weights of the best epoch"),
        (stop_at_first_fall, "late rise"),
        (stop_counts_equal_as_better, "no new best"),
    ],
    "02.continue_greedily": [
        (continue_with_prompt, "without the prompt"),
        (continue_forgetting, "belongs to the next prompt"),
        (continue_in_place, "work on a copy"),
    ],
    "02.exposure_bits": [
        (exposure_rank_from_zero, "begins with 1"),
        (exposure_upside_down, "upside down"),
        (exposure_in_nats, "in bits"),
    ],
}
