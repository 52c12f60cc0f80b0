"""The results as one picture: requests a second of each server, on a scale of powers of ten."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from results import Results
from servers import SERVERS
from targets import HUNDRED, MANY, TITLES

PANELS = (("1 row a request, 32 clients", MANY), ("100 rows a request, 32 clients", HUNDRED))
COLOURS = {"linear": "#0072b2", "boosting": "#e69f00", "forest": "#009e73"}
HEIGHT = 0.26


def plot(results: Results, path: Path) -> None:
    """Write it as SVG."""
    import matplotlib as mpl

    mpl.use("svg")
    from matplotlib import pyplot

    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "andon", "font.size": 9})
    figure, axes = pyplot.subplots(1, len(PANELS), figsize=(10, 4.6), sharey=True)
    for axis, (title, load) in zip(axes, PANELS, strict=True):
        _bars(axis, results, load)
        axis.set_title(title)
        axis.set_xscale("log")
        axis.set_xlabel("requests a second, one core (median, lowest and highest round)")
        axis.grid(axis="x", alpha=0.3)
        axis.set_axisbelow(True)
    servers = _shown(results)
    axes[0].set_yticks(
        range(len(servers)), [it.title.strip("*").replace("`", "") for it in servers]
    )
    axes[0].invert_yaxis()
    axes[0].legend(loc="lower right", fontsize=8)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


def _shown(results: Results) -> list[Any]:
    return [server for server in SERVERS if results.of("load", server=server.name)]


def _bars(axis: Any, results: Results, load: Any) -> None:
    for offset, (kind, title) in enumerate(TITLES.items()):
        for row, server in enumerate(_shown(results)):
            spread = results.spread("per_second", kind, server.name, load)
            if spread is None:
                continue
            place = row + (offset - 1) * HEIGHT
            wings = [[spread.median - spread.low], [spread.high - spread.median]]
            label = title if row == 0 else None
            axis.barh(
                place, spread.median, HEIGHT, xerr=wings, color=COLOURS[kind], label=label,
                error_kw={"linewidth": 0.8},
            )  # fmt: skip
            axis.annotate(
                f"{spread.median:,.0f}", (spread.high, place), (4, 0), fontsize=7,
                textcoords="offset points", va="center",
            )  # fmt: skip
