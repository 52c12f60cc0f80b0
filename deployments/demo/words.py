"""What happened, in sentences: each is said only if the story holds what it tells."""

from __future__ import annotations

from collections.abc import Sequence

from andon.adapters.ledger import Release, VerdictRow
from andon.metrics import METRICS
from andon.rollout import Phase
from andon.spec import Step
from deployments.demo.markup import NB, Html, clock, join, known, number, plural, seconds, tag
from deployments.demo.plots import version_label
from deployments.demo.story import Sent, Story

DRIFT = "drift: "  # what the checks of the drift monitor begin with
GLOSSARY = (
    ("model project", "a folder with a model's delivery spec, its pipeline, its tests and data"),
    ("snapshot", "one content-addressed version of a data set"),
    ("candidate", "a registered model version that no environment serves yet"),
    ("champion", "the version that production serves; a challenger wants to replace it"),
    ("bundle", "what a prediction server needs, and nothing more"),
    ("environment", "a place that serves models, such as staging and production"),
    (
        "check, verdict, gate",
        "a check measures one thing; its verdict is pass, fail or "
        "inconclusive; a gate is a list of checks",
    ),
    (
        "rollout",
        "a candidate's way through an environment: a share of the traffic a step, and a "
        "gate after each",
    ),
    ("drift", "live rows are no longer like the rows that the champion learned from"),
    ("total variation", "how far two distributions are apart: 0 is the same, 1 is disjoint"),
    (
        "alert, incident",
        "a failed monitor raises an alert; alerts on one cause are one incident, "
        "until it is confirmed clear",
    ),
)


def promoted(story: Story) -> list[Release]:
    """Releases that production took, oldest first."""
    found = [it for it, _ in story.releases if it.rollout.phase is Phase.PROMOTED]
    return sorted((it for it in found if it.environment == "production"), key=_began)


def _began(release: Release) -> float:
    return release.started_at


def champions(story: Story) -> list[str]:
    """The versions that production served, in order."""
    events = [(it.ended_at or it.started_at, version_label(it.version)) for it in promoted(story)]
    events += [(it.at, version_label(it.version)) for it in _answered(story)[:1]]
    labels = [label for _, label in sorted(events)]
    return [it for i, it in enumerate(labels) if labels[i - 1 : i] != [it]]


def _answered(story: Story) -> list[Sent]:
    return [it for it in story.sent if not it.failed and it.version]


def challenger(story: Story) -> Release | None:
    """The release that answered the incident."""
    incident = story.incident
    later = [it for it in promoted(story) if incident and it.started_at >= incident.opened_at]
    return later[-1] if later else None


def features(rows: Sequence[VerdictRow]) -> dict[str, VerdictRow]:
    """The last drift verdict of each feature; verdicts of other monitors are left out."""
    return {it.check.removeprefix(DRIFT): it for it in rows if it.check.startswith(DRIFT)}


def metrics(story: Story) -> dict[str, list[tuple[str, float]]]:
    """By kind of rows: each version's label and metric, older versions first."""
    groups: dict[str, list[tuple[str, float]]] = {}
    for version, kind, value in story.metrics:
        groups.setdefault(kind, []).append((version_label(version), value))
    return {
        kind: sorted(it, key=lambda pair: (len(pair[0]), pair[0])) for kind, it in groups.items()
    }


def narrative(story: Story) -> list[Html]:
    """The story in order."""
    found = (
        _delivered(story),
        _asked(story),
        _drifted(story),
        _alerted(story),
        _retrained(story),
        _gained(story),
        _ended(story),
    )
    return [it for it in found if it is not None]


def _strong(text: object) -> Html:
    return tag("strong", text)


def _delivered(story: Story) -> Html:
    last = challenger(story)
    live = [it for it in promoted(story) if last is None or it.seq < last.seq]
    if live:
        first = live[0]
        return tag(
            "li",
            _strong(f"{story.model} {version_label(first.version)}"),
            " went from data to ",
            f"production: every gate on the way passed, and at {clock(first.ended_at)} it became ",
            "the champion.",
        )
    if answered := _answered(story):
        name = f"{story.model} {version_label(answered[0].version)}"
        return tag("li", _strong(name), " was the champion already: nothing had to be released.")
    return tag("li", "No version of ", _strong(story.model), " reached production.")


def _asked(story: Story) -> Html | None:
    if not story.sent:
        return None
    rows, failed = sum(it.rows for it in story.sent), sum(1 for it in story.sent if it.failed)
    at_work = any(
        release.started_at <= it.at <= (release.ended_at or 0.0)
        for release in promoted(story)
        for it in story.sent
    )
    return tag(
        "li",
        _strong(plural(len(story.sent), "request")),
        f" with {plural(rows, 'row')} went ",
        "through the gateway",
        ", also while a release was at work" if at_work else "",
        "; ",
        _strong(f"{failed:,} failed"),
        ".",
    )


def _drifted(story: Story) -> Html | None:
    found = features(story.drift_after)
    failed = {name: it.value for name, it in found.items() if it.outcome == "fail"}
    bad = [(value, name) for name, value in failed.items() if known(value)]
    if not bad:
        return None
    value, name = max(bad)
    return tag(
        "li",
        "Then the rows changed. The monitor saw drift in ",
        _strong(f"{len(bad)} of {plural(len(found), 'feature')}"),
        f", most in {name}: total ",
        f"variation {number(value)} where {number(found[name].limit)} is the limit.",
    )


def _alerted(story: Story) -> Html | None:
    incident = story.incident
    if incident is None:
        return None
    text = f"An alert was raised at {clock(incident.opened_at)} and opened incident "
    taken = any(what.startswith("retraining started") for _, what in incident.story)
    return tag(
        "li",
        text,
        tag("code", incident.id),
        "; the alert started a retraining." if taken else "; no retraining took it up.",
    )


def _retrained(story: Story) -> Html | None:
    last = challenger(story)
    if last is None:
        return None
    shares = " → ".join(f"{it.weight}{NB}%" for it in last.rollout.steps if isinstance(it, Step))
    took = seconds((last.ended_at or last.started_at) - last.started_at)
    return tag(
        "li",
        _strong(version_label(last.version)),
        " was built and released to production on ",
        f"{shares} of the traffic, with a gate after each step, in {took}.",
    )


def _gained(story: Story) -> Html | None:
    for kind, values in metrics(story).items():
        mine = [(who, value) for who, value in values if known(value)]
        if len(mine) > 1:
            (old, before), (new, after) = mine[0], mine[-1]
            return tag(
                "li",
                f"On {kind} {old} has a {story.metric} of {number(before)}, and {new} ",
                _strong(number(after)),
                f": {better(story, before, after)}.",
            )
    return None


def better(story: Story, before: float, after: float) -> str:
    """How much better, or worse, the metric became; plain difference if nobody knows its sense."""
    info = METRICS.get(story.metric)
    gain = after - before
    if info is None:
        return f"{gain:+.4f}"
    if not info.greater_is_better:
        gain = -gain
    return f"{abs(gain):.4f} {'better' if gain > 0 else 'worse'}" if gain else "the same"


def _ended(story: Story) -> Html | None:
    incident = story.incident
    if incident is None:
        return None
    if incident.state != "closed" or incident.closed_at is None:
        return tag("li", "The incident is ", _strong(f"not closed: {incident.state}"), ".")
    took = seconds(incident.closed_at - incident.opened_at)
    return tag(
        "li",
        "The incident was ",
        _strong("closed"),
        f" {took} after the alert",
        f": {incident.story[-1][1]}." if incident.story else ".",
    )


def glossary() -> Html:
    """The project's words, for whoever reads them for the first time."""
    entries = [Html(tag("dt", word) + tag("dd", means)) for word, means in GLOSSARY]
    return tag(
        "details",
        tag("summary", "The words used here"),
        tag("dl", join("", entries)),
        class_="glossary",
    )
