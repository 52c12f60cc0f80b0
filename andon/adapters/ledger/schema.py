"""The ledger's tables. Times are epoch seconds (UTC), so that SQLite and PostgreSQL agree."""

from __future__ import annotations

import sqlalchemy as sa

metadata = sa.MetaData()
Seq = sa.BigInteger().with_variant(sa.Integer, "sqlite")

runs = sa.Table(
    "runs",
    metadata,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("flow", sa.String(40), nullable=False),
    sa.Column("model", sa.String(40), nullable=False, index=True),
    sa.Column("trigger", sa.String(200), nullable=False),
    sa.Column("started_at", sa.Double, nullable=False),
    sa.Column("ended_at", sa.Double),
    sa.Column("outcome", sa.String(20)),
    sa.Column("message", sa.Text),
    sa.Column("built", sa.JSON),
)

snapshots = sa.Table(
    "snapshots",
    metadata,
    sa.Column("hash", sa.String(64), primary_key=True),
    sa.Column("model", sa.String(40), primary_key=True),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("row_count", sa.BigInteger, nullable=False),
    sa.Column("columns", sa.JSON, nullable=False),
    sa.Column("at", sa.Double, nullable=False),
)

verdicts = sa.Table(
    "verdicts",
    metadata,
    sa.Column("seq", Seq, primary_key=True, autoincrement=True),
    sa.Column("run_id", sa.String(64), nullable=False, index=True),
    sa.Column("model", sa.String(40), nullable=False, index=True),
    sa.Column("station", sa.String(40), nullable=False),
    sa.Column("subject", sa.String(120), nullable=False),
    sa.Column("check", sa.String(200), nullable=False),
    sa.Column("outcome", sa.String(20), nullable=False),
    sa.Column("value", sa.Double),
    sa.Column("limit", sa.Double),
    sa.Column("n", sa.BigInteger, nullable=False),
    sa.Column("detail", sa.Text, nullable=False),
    sa.Column("evidence", sa.JSON, nullable=False),
    sa.Column("at", sa.Double, nullable=False),
    sa.Index("ix_verdicts_station", "model", "station", "at"),
)

candidates = sa.Table(
    "candidates",
    metadata,
    sa.Column("model", sa.String(40), primary_key=True),
    sa.Column("version", sa.String(20), primary_key=True),
    sa.Column("build", sa.String(64), nullable=False),
    sa.Column("snapshot", sa.String(64), nullable=False),
    sa.Column("git_sha", sa.String(64), nullable=False),
    sa.Column("git_dirty", sa.Boolean, nullable=False),
    sa.Column("bundle", sa.Text, nullable=False),
    sa.Column("digest", sa.String(64), nullable=False),
    sa.Column("image", sa.Text),
    sa.Column("metrics", sa.JSON, nullable=False),
    sa.Column("trigger", sa.String(200), nullable=False),
    sa.Column("run_id", sa.String(64), nullable=False),
    sa.Column("at", sa.Double, nullable=False),
    sa.Column("tags", sa.JSON),
)

releases = sa.Table(
    "releases",
    metadata,
    sa.Column("seq", Seq, primary_key=True, autoincrement=True),
    sa.Column("environment", sa.String(40), nullable=False),
    sa.Column("model", sa.String(40), nullable=False),
    sa.Column("version", sa.String(20), nullable=False),
    sa.Column("kind", sa.String(20), nullable=False),
    sa.Column("trigger", sa.String(200), nullable=False),
    sa.Column("run_id", sa.String(64), nullable=False),
    sa.Column("phase", sa.String(20), nullable=False),
    sa.Column("state", sa.JSON, nullable=False),
    sa.Column("revision", sa.Integer, nullable=False),
    sa.Column("started_at", sa.Double, nullable=False),
    sa.Column("ended_at", sa.Double),
    sa.Index("ix_releases_place", "environment", "model"),
)

transitions = sa.Table(
    "transitions",
    metadata,
    sa.Column("seq", Seq, primary_key=True, autoincrement=True),
    sa.Column("release", Seq, sa.ForeignKey("releases.seq"), nullable=False, index=True),
    sa.Column("phase", sa.String(20), nullable=False),
    sa.Column("what", sa.Text, nullable=False),
    sa.Column("weights", sa.JSON, nullable=False),
    sa.Column("at", sa.Double, nullable=False),
)

incidents = sa.Table(
    "incidents",
    metadata,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("model", sa.String(40), nullable=False, index=True),
    sa.Column("environment", sa.String(40), nullable=False),
    sa.Column("cause", sa.String(80), nullable=False),
    sa.Column("state", sa.String(20), nullable=False),
    sa.Column("opened_at", sa.Double, nullable=False),
    sa.Column("closed_at", sa.Double),
    sa.Column("severity", sa.String(20)),
    sa.Column("looked_by", sa.String(80)),
    sa.Column("looked_at", sa.Double),
)

incident_events = sa.Table(
    "incident_events",
    metadata,
    sa.Column("seq", Seq, primary_key=True, autoincrement=True),
    sa.Column("incident", sa.String(64), sa.ForeignKey("incidents.id"), nullable=False, index=True),
    sa.Column("what", sa.Text, nullable=False),
    sa.Column("at", sa.Double, nullable=False),
)

alerts = sa.Table(
    "alerts",
    metadata,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("incident", sa.String(64), sa.ForeignKey("incidents.id"), nullable=False),
    sa.Column("model", sa.String(40), nullable=False, index=True),
    sa.Column("environment", sa.String(40), nullable=False),
    sa.Column("monitor", sa.String(80), nullable=False),
    sa.Column("action", sa.String(20), nullable=False),
    sa.Column("message", sa.Text, nullable=False),
    sa.Column("window_start", sa.Double, nullable=False),
    sa.Column("window_end", sa.Double, nullable=False),
    sa.Column("at", sa.Double, nullable=False),
    sa.Column("sent_at", sa.Double),
    sa.Column("handled_by", sa.String(64)),
)

measures = sa.Table(
    "measures",
    metadata,
    sa.Column("seq", Seq, primary_key=True, autoincrement=True),
    sa.Column("environment", sa.String(40), nullable=False),
    sa.Column("model", sa.String(40), nullable=False),
    sa.Column("what", sa.String(120), nullable=False),
    sa.Column("value", sa.Double, nullable=False),
    sa.Column("at", sa.Double, nullable=False),
    sa.Index("ix_measures_what", "environment", "model", "what", "at"),
)

notices = sa.Table(
    "notices",
    metadata,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("incident", sa.String(64), sa.ForeignKey("incidents.id"), nullable=False, index=True),
    sa.Column("kind", sa.String(20), nullable=False),
    sa.Column("route", sa.String(80), nullable=False),
    sa.Column("message", sa.Text, nullable=False),
    sa.Column("at", sa.Double, nullable=False),
    sa.Column("due", sa.Double, nullable=False),
    sa.Column("sent_at", sa.Double),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("error", sa.Text),
)
