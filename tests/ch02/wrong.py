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


def luck_of_the_mean_rank(candidates):
    return math.log2(candidates / ((candidates + 1) / 2))


def luck_half(candidates):
    return math.log2(candidates) / 2


def luck_in_nats(candidates):
    return math.log(candidates) - math.lgamma(candidates + 1) / candidates


def luck_in_the_limit(candidates):
    return math.log2(math.e)


def strangers_and_owner(secrets, owner):
    return [name for name, _, said in secrets if said == 0 or name == owner[0]]


def strangers_are_all_others(secrets, owner):
    return [name for name, *_ in secrets if name != owner[0]]


def strangers_only_one(secrets, owner):
    return [name for name, _, said in secrets if said == 0 and name != owner[0]][:1]


def strangers_as_tuples(secrets, owner):
    return [person for person in secrets if person[2] == 0 and person != owner]


def _bits(scores, place):
    return math.log2(len(scores)) - math.log2(1 + (scores > scores[place]).sum().item())


def _exam(secrets, scores_of, choose, swap=False, total=False):
    rows = {}
    for name, place, said in secrets:
        scores = scores_of(name)
        others = [_bits(scores_of(other), place) for other in choose(secrets, name)]
        values = [float(scores.argmax() == place), _bits(scores, place), sum(others) / len(others)]
        rows.setdefault(said, []).append(values)
    report = {}
    for said, values in rows.items():
        first, owner, stranger = (sum(column) / (1 if total else len(values)) for column in zip(*values))
        owner, stranger = (stranger, owner) if swap else (owner, stranger)
        report[said] = {"first": first, "owner": owner, "stranger": stranger}
    return report


def _never_said(secrets, name):
    return [other for other, _, said in secrets if said == 0 and other != name]


def exam_of_everybody(secrets, scores_of):
    return _exam(secrets, scores_of, lambda secrets, name: [other for other, *_ in secrets if other != name])


def exam_swapped(secrets, scores_of):
    return _exam(secrets, scores_of, _never_said, swap=True)


def exam_in_sums(secrets, scores_of):
    return _exam(secrets, scores_of, _never_said, total=True)


def exam_by_name(secrets, scores_of):
    return {name: _bits(scores_of(name), place) for name, place, _ in secrets}


WRONG = {
    "02.luck_bits": [
        (luck_of_the_mean_rank, "mean rank"),
        (luck_half, "equally likely"),
        (luck_in_nats, "nats"),
        (luck_in_the_limit, "limit"),
    ],
    "02.strangers": [
        (strangers_and_owner, "owns this code"),
        (strangers_are_all_others, "was said in training"),
        (strangers_only_one, "missing"),
        (strangers_as_tuples, "list of names"),
    ],
    "02.canary_exam": [
        (exam_of_everybody, "never said are strangers"),
        (exam_swapped, "swapped"),
        (exam_in_sums, "take means"),
        (exam_by_name, "for every number of repetitions"),
    ],
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
