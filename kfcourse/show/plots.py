"""One look for all figures: colour-blind safe, readable on a projector, never without alt text."""

import io

import matplotlib
import matplotlib.pyplot as plt
from IPython.display import display

# Okabe and Ito's palette, in an order that also differs in grey scale; every method keeps its colour in all chapters
COLORS = {
    "blue": "#0072B2",
    "orange": "#E69F00",
    "green": "#009E73",
    "red": "#D55E00",
    "purple": "#CC79A7",
    "sky": "#56B4E9",
    "black": "#222222",
    "grey": "#8A8A8A",
}
METHODS = {
    "baseline": ("black", "o", ":"),
    "K-FAC": ("blue", "o", "-"),
    "EK-FAC": ("sky", "s", "--"),
    "SVD": ("orange", "^", "-."),
    "random basis": ("red", "D", ":"),
    "noise": ("purple", "v", (0, (1, 2))),
}
STYLE = {
    "figure.figsize": (8, 4.2),
    "figure.dpi": 96,
    "figure.facecolor": "white",
    "font.size": 13,
    "axes.titlesize": 15,
    "axes.labelsize": 13,
    "legend.fontsize": 11.5,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "lines.linewidth": 2.4,
    "lines.markersize": 7,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "image.cmap": "cividis",
    "axes.prop_cycle": matplotlib.cycler(color=list(COLORS.values())[:6]),
    "svg.hashsalt": "kfaclib",
    "figure.constrained_layout.use": True,
}


def style():
    """Use the course's style for every figure from here on."""
    plt.rcParams.update(STYLE)


class _Picture:
    """A PNG that says in words what it shows, wherever it cannot be seen."""

    def __init__(self, png, alt):
        self.png, self.alt = png, alt

    def __repr__(self):
        return f"Figure: {self.alt}"

    def _repr_mimebundle_(self, include=None, exclude=None):
        return {"image/png": self.png, "text/plain": repr(self)}, {"image/png": {"alt": self.alt}}


def described(fig, alt: str):
    """The figure, with the words for those who cannot see it; `show` finds them there."""
    fig.alt = alt
    return fig


def picture(fig, alt: str | None = None):
    """A figure as a displayable picture with alt text (its own, from `described`, if none is given); it is closed."""
    alt = alt or getattr(fig, "alt", None)
    if not alt:
        raise ValueError("this figure has no alt text: give it one with plots.described(fig, alt)")
    buffer = io.BytesIO()
    fig.savefig(buffer, format="png", metadata={"Software": None})
    plt.close(fig)
    return _Picture(buffer.getvalue(), alt)


def show(fig, alt: str | None = None):
    """Display a figure with its alt text, and close it."""
    display(picture(fig, alt))
