"""Where data comes from, and which rows are held out."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from andon.spec.base import Fraction, Frozen


class FilesSource(Frozen):
    """Parquet or CSV files of this machine."""

    kind: Literal["files"]
    path: str = Field(description="a path or a glob, relative to the model's folder")


class S3Source(Frozen):
    """Parquet or CSV objects of a bucket; credentials as the AWS tools find them."""

    kind: Literal["s3"]
    url: str = Field(pattern=r"^s3://[^/]+/.+", description="an object, or a glob of objects")


class SqlSource(Frozen):
    """The rows of a query."""

    kind: Literal["sql"]
    query: str
    url_variable: str = Field(
        pattern=r"^[A-Za-z_][A-Za-z0-9_]*$",
        description="the environment variable that has the database's SQLAlchemy URL",
    )


Source = Annotated[FilesSource | S3Source | SqlSource, Field(discriminator="kind")]


class KeySplit(Frozen):
    """A row is held out by a hash of its key."""

    by: Literal["key"] = "key"
    share: Fraction = 0.2


class GroupSplit(Frozen):
    """Rows of one group stay together: all are held out, or none."""

    by: Literal["group"]
    column: str
    share: Fraction = 0.2


class TimeSplit(Frozen):
    """The latest rows are held out: from a moment on, or a share of them."""

    by: Literal["time"]
    share: Fraction = 0.2
    since: datetime | None = Field(None, description="held out is what is not older; UTC")


Split = Annotated[KeySplit | GroupSplit | TimeSplit, Field(discriminator="by")]


class Leakage(Frozen):
    """How much the held-out rows may tell of themselves."""

    severity: Literal["stop", "warn"] = "stop"
    duplicates: float = Field(
        0.05, ge=0, le=1, description="share of held-out rows that were learned from, word by word"
    )
    target_like: float = Field(
        0.999, gt=0, le=1, description="how well one column alone may tell the target"
    )
