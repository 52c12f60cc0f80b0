"""Before and after, side by side: how far the rows had drifted, and how good the answers were."""

from __future__ import annotations

from andon.adapters.ledger import VerdictRow
from andon.metrics import METRICS
from deployments.demo import records, words
from deployments.demo.markup import DASH, Html, clock, known, number, plural, tag
from deployments.demo.plots import Bar, BarRow, Colours, bars, legend
from deployments.demo.story import Story

Series = tuple[str, str, dict[str, VerdictRow]]  # what, its colour's class, a verdict a feature


def drift(story: Story) -> list[Html]:
    """Total variation of each feature, the most drifted first."""
    series: list[Series] = [
        ("before the drift", "calm", words.features(story.drift_before)),
        ("after it began", "drift", words.features(story.drift_after)),
        _latest(story),
    ]
    told = [it for it in series if it[2]]
    if not told:
        return [tag("p", "No monitor looked for drift.", class_="none")]
    names = {name: None for _, _, rows in told for name in rows}
    lines = []
    for name in sorted(names, key=lambda it: -_worst(it, told)):
        mine = [(css, rows.get(name)) for _, css, rows in told]
        limits = [it.limit for _, it in mine if it is not None and known(it.limit)]
        lines.append(BarRow(name, [_drift_bar(*it) for it in mine], next(iter(limits), None)))
    entries = [(css, f"{label}: {_window(rows)}") for label, css, rows in told]
    missing = [label for label, css, rows in series[:2] if not rows]
    gone = tag("p", f"Not measured: {', '.join(missing)}.", class_="none") if missing else Html("")
    says = "Total variation between live rows and the champion's reference, by feature: 0 is the "
    says += "same, 1 is disjoint."
    return [tag("p", says, class_="soft"), legend(entries), gone, bars(lines, limit_name="limit")]


def _worst(name: str, series: list[Series]) -> float:
    values = [rows[name].value for _, _, rows in series if name in rows]
    return max([0.0, *(it for it in values if known(it))])


def _window(rows: dict[str, VerdictRow]) -> str:
    first = next(iter(rows.values()))
    return f"{first.subject}, {plural(first.n, 'row')}, {clock(first.at)}"


def _drift_bar(css: str, it: VerdictRow | None) -> Bar:
    if it is None:
        return Bar(None, css, DASH)
    sign = records.SIGNS.get(it.outcome, "?")
    value = f"{it.value:.3f}" if known(it.value) else number(it.value)
    return Bar(it.value, css, f"{value} {sign}", bad=it.outcome == "fail")


def metric(story: Story, colours: Colours) -> list[Html]:
    """The metric of each version on each kind of rows."""
    if not story.metrics:
        return [tag("p", "No labels came back, so the metric is not known.", class_="none")]
    info = METRICS.get(story.metric)
    says = "By version, on live rows whose labels came back."
    if info is not None:
        says += f" {'Higher' if info.greater_is_better else 'Lower'} is better."
    parts = [tag("p", says, class_="soft")]
    reach = max([0.0, *(value for _, _, value in story.metrics if known(value))])
    for kind, values in words.metrics(story).items():
        lines = [BarRow(who, [Bar(value, colours.of(who), _four(value))]) for who, value in values]
        told = [value for _, value in values if known(value)]
        gain = words.better(story, told[0], told[-1]) if len(told) > 1 else ""
        parts += [tag("h3", kind, " ", tag("span", gain, class_="gain")), bars(lines, reach=reach)]
    return parts


def _four(value: float) -> str:
    return f"{value:.4f}" if known(value) and abs(value) < 1000 else number(value)


def _latest(story: Story) -> Series:
    """The last drift verdicts, if a later run gave them than those of before and after."""
    told = {it.run_id for it in (*story.drift_before, *story.drift_after)}
    rows = [it for it in story.verdicts if it.check.startswith(words.DRIFT)]
    last = [it for it in rows if it.run_id == rows[-1].run_id]
    begun = max((it.at for it in story.drift_after), default=0.0)
    later = last and last[0].run_id not in told and last[0].at > begun
    what = "after retraining" if words.challenger(story) else "at the end"
    return what, "clear", words.features(last if later else [])
