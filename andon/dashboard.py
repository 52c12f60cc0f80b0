"""All models and environments on one page, and the same in Prometheus' text format."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

from andon.drawn import strip
from andon.monitor_page import LOOKS, RUNS, WORDS, gate_of, moment, told
from andon.page import STYLE
from andon.verdict import Outcome, Verdict

_NUMBERS = {Outcome.PASS: 0, Outcome.INCONCLUSIVE: 1, Outcome.FAIL: 2}


@dataclass(frozen=True)
class Place:
    """What serves a model in an environment, and what was last seen of it.

    `runs`: outcomes of the last runs by monitor, oldest first. `seen_at`: epoch seconds, 0: never.
    `incidents`: (id, state). `page`: of the latest report, relative to the dashboard's.
    """

    environment: str
    model: str
    version: str
    since: float
    runs: Mapping[str, Sequence[Outcome]]
    verdicts: Sequence[Verdict] = ()
    seen_at: float = 0.0
    incidents: Sequence[tuple[str, str]] = ()
    page: str = ""


def dashboard(places: Sequence[Place], now: float) -> str:
    """One file of HTML that loads nothing."""
    bad = sum(bool(it.incidents) for it in places)
    lead = f"{bad} of {len(places)} have an open incident." if bad else "No incident is open."
    body = "".join(map(_place, places)) or "<p>Nothing is delivered yet.</p>"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta http-equiv="refresh" content="60">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>Andon: what is live</title><style>{STYLE}{_MORE}</style></head><body><header>"
        f"<h1>What is live</h1><p>{lead} Written at {moment(now)}, after each run of monitor and "
        f"probe.</p></header><main>{body}</main>"
        '<footer><a href="metrics">metrics</a> for Prometheus</footer></body></html>\n'
    )


_MORE = """
article{border:1px solid var(--line);border-left:4px solid var(--soft);border-radius:6px;
padding:.4rem 1rem 1rem;margin:1rem 0}article h2{border:0;margin:.4rem 0}
article.good{border-left-color:var(--good)}article.bad{border-left-color:var(--bad)}
article.open{border-left-color:var(--open)}article img{border-radius:6px;max-width:35rem}
"""


def _place(it: Place) -> str:
    now = {kind: said[-1] for kind, said in it.runs.items() if said}
    outcome = gate_of(now.values())
    states = ", ".join(f"{escape(kind)} {WORDS[said]}" for kind, said in now.items())
    seen = f"Last seen {moment(it.seen_at)}: {states}." if it.seen_at else "Not watched yet."
    incidents = "".join(
        f"<p><b>Incident {escape(id_)}</b>, {escape(state)}: "
        f"<code>andon incidents show {escape(id_)}</code></p>"
        for id_, state in it.incidents
    )
    rows = [(kind, list(said)[-RUNS:]) for kind, said in it.runs.items() if said]
    picture = f'<img src="{strip(rows, RUNS)}" alt="{escape(told(rows))}">' if rows else ""
    link = f'<p><a href="{escape(it.page)}">The latest report</a></p>' if it.page else ""
    look = "bad" if it.incidents else LOOKS[outcome]
    return (
        f'<article class="{look}"><h2>{escape(it.environment)} / {escape(it.model)}</h2>'
        f"<p>v{escape(it.version)} since {moment(it.since)}. {seen}</p>{incidents}{picture}{link}"
        "</article>"
    )


def metrics(places: Sequence[Place]) -> str:
    """Figures for Prometheus (text format 0.0.4)."""
    lines: list[str] = []
    _family(
        lines, "andon_champion_info", "Which version serves; always 1.",
        (({**_labels(it), "version": it.version}, 1.0) for it in places),
    )  # fmt: skip
    _family(
        lines, "andon_open_incidents", "Incidents that are not closed.",
        ((_labels(it), float(len(it.incidents))) for it in places),
    )  # fmt: skip
    _family(
        lines, "andon_last_seen_timestamp_seconds", "When a monitor or probe last looked.",
        ((_labels(it), it.seen_at) for it in places),
    )  # fmt: skip
    _family(
        lines, "andon_check_outcome", "0: pass, 1: could not tell, 2: fail.",
        (
            ({**_labels(it), "check": v.check}, float(_NUMBERS[v.outcome]))
            for it in places
            for v in it.verdicts
        ),
    )  # fmt: skip
    _family(
        lines, "andon_check_value", "What the check measured.",
        (
            ({**_labels(it), "check": v.check}, v.value)
            for it in places
            for v in it.verdicts
            if v.value is not None
        ),
    )  # fmt: skip
    return "\n".join(lines) + "\n"


def _labels(it: Place) -> dict[str, str]:
    return {"environment": it.environment, "model": it.model}


def _family(
    lines: list[str], name: str, what: str, samples: Iterable[tuple[Mapping[str, str], float]]
) -> None:
    lines += [f"# HELP {name} {what}", f"# TYPE {name} gauge"]
    for labels, value in samples:
        inside = ",".join(f'{key}="{_escaped(it)}"' for key, it in labels.items())
        lines.append(f"{name}{{{inside}}} {value!r}")


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
