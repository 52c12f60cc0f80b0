"""The model card: what is known of a build, for who has to decide on it or answer for it.

Made of facts only (Mitchell et al., "Model Cards for Model Reporting", 2019, has the headings).
What nobody wrote down or measured is said to be unknown.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from andon import card_evidence
from andon.evidence import Evaluation
from andon.explanation import Explanation
from andon.page import (
    UNKNOWN,
    Block,
    Code,
    Image,
    Listing,
    Page,
    Paragraph,
    Section,
    Table,
    Tile,
    interval,
)
from andon.spec import ModelSpec
from andon.verdict import Outcome, Verdict, gate

MASKED = "masked"
MOST = 50  # rows of a table
FEATURES = 15  # as in the picture
LOOKS = ("importance", "dependence", "shap")
TAKES = {
    "number": "a finite number",
    "integer": "a whole number",
    "boolean": "true or false",
    "category": "text",
    "date": "an ISO date",
}


@dataclass(frozen=True)
class ColumnFacts:
    """A feature as the rows learned from have it; None is unknown.

    `low` and `high` are numbers, or ISO dates. `categories` is how many were seen.
    """

    name: str
    kind: str
    nullable: bool
    rows: int | None = None
    nulls: int | None = None
    low: str | None = None
    high: str | None = None
    categories: int | None = None
    common: tuple[str, ...] = ()


@dataclass(frozen=True)
class Facts:
    """All that a card may say. `images` are data URIs by a picture's name.

    `verdicts` are by station; `lineage`, `environment` and `files` map a name to what is known.
    """

    spec: ModelSpec
    build: str
    rows: tuple[int, int]
    metrics: Mapping[str, float]
    snapshot: Mapping[str, str] = field(default_factory=dict)
    columns: Sequence[ColumnFacts] = ()
    verdicts: Sequence[tuple[str, Verdict]] = ()
    champion: str | None = None
    evaluation: Evaluation | None = None
    explanation: Explanation | None = None
    images: Mapping[str, str] = field(default_factory=dict)
    lineage: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    call: str = ""
    written: str = ""


def page(facts: Facts) -> Page:
    """The card, to be written as Markdown or HTML."""
    spec = facts.spec
    return Page(
        title=f"Model card: {spec.name}",
        lead=spec.description or f"No description: models/{spec.name}/model.yaml has none.",
        tiles=_tiles(facts),
        sections=tuple(it for it in _sections(facts) if it.blocks),
        foot=f"Written by Andon {facts.written or ''} from the files named under each heading. "
        "Nothing in it was typed by hand but what model.yaml says.",
    )


def _tiles(facts: Facts) -> list[Tile]:
    spec, outcome = facts.spec, gate(it for _, it in facts.verdicts)
    look = {Outcome.PASS: "good", Outcome.FAIL: "bad", Outcome.INCONCLUSIVE: "open"}[outcome]
    passed = sum(it.outcome is Outcome.PASS for _, it in facts.verdicts)
    decides = card_evidence.deciding(facts.evaluation)
    value = decides.challenger.value if decides else facts.metrics.get(spec.metric_name)
    on = f", on {facts.evaluation.rows:,} rows" if facts.evaluation else ""
    between = interval(decides.challenger.low, decides.challenger.high) if decides else UNKNOWN
    return [
        Tile("checks", outcome.value, f"{passed} of {len(facts.verdicts)} passed", look),
        Tile(
            spec.metric_name,
            UNKNOWN if value is None else f"{value:.4g}",
            f"95 % interval: {between}{on}",
        ),
        Tile("held-out rows", f"{facts.rows[1]:,}", f"{facts.rows[0]:,} learned from"),
        Tile("champion", f"v{facts.champion}" if facts.champion else "none", "when it was judged"),
        Tile("owner", spec.card.owner or UNKNOWN, "card.owner" if not spec.card.owner else ""),
    ]


def _sections(facts: Facts) -> Iterator[Section]:
    spec = facts.spec
    file = f"models/{spec.name}/model.yaml"
    yield Section("What it is for", list(_purpose(facts)), file)
    yield Section("Limits", list(_limits(facts)), f"{file}, signature.json")
    yield from card_evidence.sections(facts.evaluation, facts.metrics, _images(facts))
    yield Section("What it looks at", list(_looks_at(facts)), "explanation.json")
    yield Section("What it was checked for", list(_checks(facts)), "the ledger of this run")
    yield Section(
        "Data", list(_data(facts)), "the snapshot; facts.json, signature.json and profile.json"
    )
    yield Section("How to call it", [Code(facts.call)] if facts.call else [], "signature.json")
    back = f"andon rollback {spec.name}"
    yield Section("How to go back", [Paragraph(_BACK), Code(back)])
    lineage = [[name, value or UNKNOWN] for name, value in facts.lineage.items()]
    built = [[name, value or UNKNOWN] for name, value in facts.environment.items()]
    yield Section(
        "Where it comes from",
        [Table(("what", "which"), lineage), Table(("environment", "version"), built)],
        "git, DVC, the build's facts.json",
    )


_BACK = (
    "Production returns to the version that served before, at once; `--to VERSION` names another."
)


def _images(facts: Facts) -> dict[str, Image]:
    """The pictures of the explanation, by name."""
    known = facts.explanation.pictures if facts.explanation else ()
    return {it.name: Image(facts.images.get(it.name, ""), it.title, it.alt) for it in known}


def _purpose(facts: Facts) -> Iterator[Block]:
    spec = facts.spec
    hidden = spec.target in spec.reports.mask or spec.positive is None
    positive = "" if hidden else f", {spec.positive!r} is positive"
    yield Table(
        ("what", "says"),
        [
            ["predicts", f"{spec.target} ({spec.task}{positive})"],
            ["intended use", spec.card.intended_use or UNKNOWN],
            ["owner", spec.card.owner or UNKNOWN],
        ],
    )


def _limits(facts: Facts) -> Iterator[Block]:
    spec, metric = facts.spec, facts.spec.metric
    worst = "none is set" if metric.limit is None else f"{metric.limit:g}"
    yield Listing(
        [
            *(spec.card.limits or [f"known limits: {UNKNOWN} (card.limits is empty)"]),
            f"worst {spec.metric_name} that may be released: {worst}",
            "refused by the server: rows with a column that is not in the table under Data, with a "
            "value of another kind, or without a value where nulls are not allowed",
            "answered, but never learned: numbers outside the ranges, and categories that are not "
            "among those seen",
        ]
    )


def _looks_at(facts: Facts) -> Iterator[Block]:
    found = facts.explanation
    if found is None:
        yield Paragraph(f"{UNKNOWN}: there is no explanation of this build.")
        return
    it = found.importances
    way = "lost" if it.greater_is_better else "added"
    if it.features:
        yield Paragraph(
            f"What is {way} of {it.metric} when a column is shuffled, on {it.rows:,} of "
            f"{it.held_out:,} held-out rows (with all columns in place: {it.score:.4g})."
        )
        images = _images(facts)
        yield from (images[name] for name in LOOKS if name in images)
        more = len(it.features) - FEATURES
        yield Table(
            ("column", f"{it.metric} {way}", "95 % interval", "told from chance"),
            [
                [
                    one.name,
                    f"{one.value:.4g}",
                    interval(one.low, one.high, 3),
                    "yes" if one.matters else "no" if one.low is not None else UNKNOWN,
                ]
                for one in it.features[:FEATURES]
            ],
            frozenset({1, 2}),
            f"{more:,} more are in explanation.json." if more > 0 else "",
        )
    if found.attribution.why and facts.spec.explanation.shap:
        yield Paragraph(f"No SHAP values: {found.attribution.why}.")
    if found.champion is not None:
        share = UNKNOWN if found.moved is None else f"{found.moved:.0%}"
        yield Paragraph(f"Importance that moved since the champion v{found.champion}: {share}.")
    if found.notes:
        yield Listing(found.notes)


def _checks(facts: Facts) -> Iterator[Block]:
    rows = [
        [
            station,
            it.check,
            it.outcome.value,
            "" if it.value is None else f"{it.value:.4g}",
            "" if it.limit is None else f"{it.limit:.4g}",
            f"{it.n:,}",
            _detail(it, facts.spec.reports.mask),
        ]
        for station, it in sorted(facts.verdicts, key=lambda it: _WORST_FIRST[it[1].outcome])
    ]
    head = ("station", "check", "verdict", "value", "limit", "n", "in words")
    if rows:
        yield Table(head, rows, frozenset({3, 4, 5}))
    else:
        yield Paragraph(f"{UNKNOWN}: no verdicts were written.")


_WORST_FIRST = {Outcome.FAIL: 0, Outcome.INCONCLUSIVE: 1, Outcome.PASS: 2}


def _detail(verdict: Verdict, mask: Sequence[str]) -> str:
    """A verdict in words; of what names a masked column, they may hold a value."""
    said = f"{verdict.check} {verdict.detail}"
    return MASKED if any(name in said for name in mask) else verdict.detail


def _data(facts: Facts) -> Iterator[Block]:
    split = facts.spec.split
    rows = [
        *([name, value or UNKNOWN] for name, value in facts.snapshot.items()),
        ["rows", f"{facts.rows[0]:,} to learn from, {facts.rows[1]:,} held out"],
        ["split", ", ".join(f"{k}: {v}" for k, v in split.model_dump(mode="json").items() if v)],
    ]
    yield Table(("what", "which"), rows)
    more = len(facts.columns) - MOST
    yield Table(
        ("column", "takes", "nulls", "nulls seen", "range or categories seen"),
        [_column(it, facts.spec) for it in facts.columns[:MOST]],
        frozenset({3}),
        f"{more:,} more are in signature.json." if more > 0 else "",
    )


def _column(it: ColumnFacts, spec: ModelSpec) -> list[str]:
    known = it.nulls is not None and it.rows
    share = f"{it.nulls / it.rows:.1%}" if known and it.nulls is not None and it.rows else UNKNOWN
    seen = UNKNOWN
    if it.name in spec.reports.mask:
        seen = MASKED
    elif it.kind == "category":
        count = "more than 1,000" if it.categories is None else f"{it.categories:,}"
        seen = f"{count}: {', '.join(it.common)}" if it.common else count
    elif it.kind == "boolean":
        seen = "true, false"
    elif it.low is not None and it.high is not None:
        seen = f"{it.low} to {it.high}"
    return [it.name, TAKES.get(it.kind, it.kind), "yes" if it.nullable else "no", share, seen]
