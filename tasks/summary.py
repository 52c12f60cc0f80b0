"""Station: one page on the whole delivery, for who looks at nothing but the flow run."""

from __future__ import annotations

from andon.verdict import Verdict
from tasks.line import Job, show, station, verdict_table
from tasks.results import Evaluated, Released, Snapshot, Trained


@station()
def sum_up(
    job: Job,
    snapshot: Snapshot,
    trained: Trained,
    evaluated: Evaluated,
    verdicts: list[Verdict],
    released: Released,
) -> None:
    """Say what was delivered, of what, and why it may serve; reused stations are in it too."""
    metrics = "\n".join(f"| {name} | {value:.4f} |" for name, value in trained.metrics.items())
    lines = [
        f"# {job.model} v{released.version}: {released.outcome} in {released.environment}",
        f"asked for by {job.trigger}; {released.reason}",
        f"- data: {snapshot.rows:,} rows of `{snapshot.source}`, snapshot `{snapshot.hash}`",
        f"- build: `{trained.key}`, {trained.rows[0]:,} rows to learn from, "
        f"{trained.rows[1]:,} held out",
        f"- champion before: {'v' + evaluated.champion if evaluated.champion else 'none'}",
        f"\n| metric | held out |\n| --- | --- |\n{metrics}",
        f"\n{verdict_table(verdicts)}",
    ]
    show(job, "delivery", "\n".join(lines))
