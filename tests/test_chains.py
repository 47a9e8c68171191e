"""Chains of steps: judged by what each step was given, and written by the model into the row that it reads on from."""

import torch

from kfaclib.toy import chains
from kfaclib.toy import world as w


class Scripted(torch.nn.Module):
    """A "model" that does each step right, or, with slip=True, forgets to carry in sums and never ends a sentence in
    time.
    """

    def __init__(self, slip=False):
        super().__init__()
        self.slip, self.weight = slip, torch.nn.Parameter(torch.zeros(1))

    def forward(self, input_ids, use_cache=False, logits_to_keep=1):
        logits = torch.zeros(len(input_ids), 1, len(w.VOCABULARY))
        for line, ids in enumerate(input_ids.tolist()):
            logits[line, 0, w.encode([self.next([w.VOCABULARY[i] for i in ids[1:]])])[0]] = 1
        return type("Output", (), {"logits": logits})

    def next(self, words):
        if "=" in words:
            said, sum_ = words[words.index("=") + 1 :], words[words.index("calc") + 2 : words.index("=")]
            (a, b), (c, d) = (map(int, part) for part in (sum_[:2], sum_[3:]))
            total = ((a + c) * 10 + (b + d) % 10) if self.slip else 10 * (a + c) + b + d
            return (list(f"{total:03d}"[::-1]) + ["."])[len(said)]
        asked = words[
            len(words) - words[::-1].index("question") + 1 :
        ]  # owner of THING, or NAME lives in; then the answer
        if len(asked) == 4:
            return "."
        place = next(k for k in range(len(words)) if words[k : k + 3] == asked)
        return words[place + 3]


def test_a_model_that_does_every_step_has_every_step_right():
    found = chains.solve(Scripted(), chains.problems(0, 12))
    assert chains.rates(found) == dict.fromkeys(chains.STEPS, 1.0)


def test_a_lost_carry_spoils_the_sum_and_nothing_before_it():
    problems = chains.problems(0, 40)
    found = chains.solve(Scripted(slip=True), problems)
    rates = chains.rates(found)
    assert rates["owners"] == rates["homes"] == rates["form"] == 1 and 0 < rates["sum"] < 1
    for p, answer in zip(problems, found):
        a, b = (p.numbers[p.cities[k]] for k in p.asked)
        assert answer.right["sum"] == (a % 10 + b % 10 < 10) == answer.right["result"]


def test_sums_were_never_in_training_and_problems_come_back():
    problems = chains.problems(3, 20)
    assert problems == chains.problems(3, 20) != chains.problems(4, 20)
    for p in problems:
        a, b = (p.numbers[p.cities[k]] for k in p.asked)
        assert w.held_out("+", a, b) and len(set(p.owners)) == len(set(p.cities)) == 3
