"""Station: the model card, from what the other stations found."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from andon import card, evidence, page
from andon.adapters import builds, projects, report
from andon.adapters.files import key_of, stored
from andon.adapters.trainer import FACTS
from andon.card import ColumnFacts, Facts
from andon.explanation import Explanation
from andon.spec import ModelSpec
from andon.verdict import Verdict
from tasks.explain import data_uri
from tasks.line import Job, Line, line_for, show, station
from tasks.results import Bundled, Card, Evaluated, Explained, Snapshot, Trained

COMMON = 5  # categories that are named
_LAYOUT = 1


@station()
def write_card(
    job: Job,
    snapshot: Snapshot,
    trained: Trained,
    bundled: Bundled,
    explained: Explained,
    evaluated: Evaluated,
    verdicts: dict[str, tuple[Verdict, ...]],
) -> Card:
    """Write `card.md` and `card.html`; `verdicts` are by station."""
    line = line_for(job.model)
    state, spec = line.settings.state, line.spec
    explanation = report.read(state / explained.folder)
    facts = Facts(
        spec=spec,
        build=trained.key,
        rows=trained.rows,
        metrics=trained.metrics,
        snapshot=_snapshot(line, snapshot, trained),
        columns=columns(state / trained.folder, spec),
        verdicts=[(name, it) for name, found in verdicts.items() for it in found],
        champion=evaluated.champion,
        evaluation=_evaluation(state / evaluated.folder),
        explanation=explanation,
        images=images(state / explained.folder, explanation),
        lineage=_lineage(job, line, snapshot, trained, bundled),
        environment=_environment(state / trained.folder),
        call=_call(line, bundled),
        written=f"on {datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
    )
    key = key_of(_LAYOUT, job.run_id, bundled.digest, explained.key, evaluated, verdicts)
    folder = line.settings.store / "cards" / job.model / key
    stored(folder, lambda into: write(facts, into))
    show(job, "card", (folder / "card.md").read_text("utf-8"))
    return Card(folder=str(folder.relative_to(state)))


def write(facts: Facts, folder: Path) -> None:
    """Both forms of a card."""
    made = card.page(facts)
    (folder / "card.md").write_text(page.to_markdown(made), "utf-8")
    (folder / "card.html").write_text(page.to_html(made), "utf-8")


def images(folder: Path, explanation: Explanation) -> dict[str, str]:
    """Its pictures as data URIs, by name."""
    return {it.name: data_uri(folder / it.file) for it in explanation.pictures}


def columns(build: Path, spec: ModelSpec) -> list[ColumnFacts]:
    """The features, as the rows learned from have them; no value of a masked column."""
    from andon import profile
    from serving.bundle import read_signature

    path = build / "profile.json"
    known = profile.from_json(path.read_bytes()).features if path.is_file() else []
    seen = {it.name: it for it in known}
    return [_column(it, seen.get(it.name), spec) for it in read_signature(build).columns]


def _column(column: Any, seen: Any, spec: ModelSpec) -> ColumnFacts:
    hidden = column.name in spec.reports.mask
    common = seen.top[:COMMON] if seen and column.kind == "category" else []
    return ColumnFacts(
        name=column.name,
        kind=column.kind,
        nullable=column.nullable,
        rows=seen.n if seen else None,
        nulls=seen.nulls if seen else None,
        low=None if hidden else _shown(column, column.low),
        high=None if hidden else _shown(column, column.high),
        categories=len(column.categories) if column.categories is not None else None,
        common=() if hidden else tuple(common),
    )


def _shown(column: Any, value: float | None) -> str | None:
    if value is None:
        return None
    if column.kind == "date":
        return (date(1970, 1, 1) + timedelta(days=value)).isoformat()
    return f"{value:,.6g}"


def _evaluation(folder: Path) -> evidence.Evaluation | None:
    path = folder / evidence.EVALUATION
    return evidence.from_json(path.read_bytes()) if path.is_file() else None


def _snapshot(line: Line, snapshot: Snapshot, trained: Trained) -> dict[str, str]:
    state = line.settings.state
    split = state / (builds.read_facts(state / trained.folder).get("split") or "none")
    how = builds.read_facts(split).get("how", "") if (split / FACTS).is_file() else ""
    return {
        "snapshot (DVC)": snapshot.hash,
        "source": snapshot.source,
        "rows of the snapshot": f"{snapshot.rows:,}",
        "held out": how,
    }


def _lineage(
    job: Job, line: Line, snapshot: Snapshot, trained: Trained, bundled: Bundled
) -> dict[str, str]:
    """Of the build: it may be older than the commit that is delivered."""
    facts = builds.read_facts(line.settings.state / trained.folder)
    code, commit = facts.get("code", {}), projects.commit(line.settings.project)
    changed = ", ".join(code.get("changed", ())) or "nothing"
    return {
        "version (MLflow)": bundled.version,
        "build": trained.key,
        "bundle": bundled.digest,
        "data (DVC)": snapshot.hash,
        "code of the build (git)": code.get("commit", ""),
        "uncommitted when it was built": changed if code else "",
        "code that was delivered (git)": str(commit),
        "asked for by": job.trigger,
        "flow run (Prefect)": job.run_id,
    }


def _environment(build: Path) -> dict[str, str]:
    """Where it was trained."""
    found: dict[str, Any] = builds.read_facts(build).get("environment", {})
    named = {
        "Python": found.get("python", ""),
        "system": found.get("os", ""),
        "processor": found.get("cpu", ""),
        **found.get("libraries", {}),
        "lock (SHA-256)": found.get("lock", ""),
    }
    return {name: str(value or "") for name, value in named.items()}


def _call(line: Line, bundled: Bundled) -> str:
    """A request that is answered: the bundle's first sample, without what reports mask."""
    from serving.bundle import read_samples

    spec, records = line.spec, read_samples(line.settings.state / bundled.folder).records
    if not records:
        return ""
    hidden = {name: card.MASKED for name in spec.reports.mask if name in records[0]}
    body = json.dumps({"records": [{**records[0], **hidden}]}, ensure_ascii=False)
    quoted = body.replace("'", "'\\''")
    url = f"{line.settings.gateway_url}/production/{spec.name}/predict"
    return f"curl -s {url} \\\n  -H 'Content-Type: application/json' \\\n  -d '{quoted}'"
