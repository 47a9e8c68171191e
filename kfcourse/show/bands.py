"""A line with a band, for what was measured over several seeds."""

import torch

from kfcourse.show.plots import COLORS


def band(ax, runs, label, color, marker, line, x=None):
    """The mean of runs [[one number per seed] per place] over the places x (default 0, 1, ...), in a band from the
    smallest to the largest.
    """
    runs = torch.tensor(runs)
    x = range(len(runs)) if x is None else x
    ax.plot(x, runs.mean(1), marker=marker, ls=line, color=COLORS[color], label=label)
    ax.fill_between(x, runs.min(1)[0], runs.max(1)[0], color=COLORS[color], alpha=0.15)
