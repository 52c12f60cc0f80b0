"""Objects of S3, or of whatever speaks as it does (AWS_ENDPOINT_URL)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from andon.adapters.scans import Part
from andon.errors import DataError

_GLOB = re.compile(r"[*?\[]")
HINT = "install the extra: `uv sync --extra s3`, or pip install 'andon[s3]'"


def download(url: str, folder: Path, tell: Any) -> list[Part]:
    """The objects of a URL or a glob of URLs, sorted by key, whole or not at all."""
    try:
        import boto3
        from boto3.exceptions import Boto3Error
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError
    except ImportError:
        raise DataError(f"{url}: S3 needs boto3; {HINT}") from None
    bucket, _, pattern = url.removeprefix("s3://").partition("/")
    config = Config(retries={"max_attempts": 5, "mode": "standard"}, connect_timeout=10)
    try:
        client = boto3.Session().client("s3", config=config)
        found = _list(client, bucket, pattern)
        if not found:
            raise DataError(f"{url}: no object matches")
        return _get(client, bucket, found, folder, tell)
    except NoCredentialsError:
        raise DataError(
            f"{url}: no AWS credentials; set AWS_PROFILE, or AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY"
        ) from None
    except (BotoCoreError, ClientError, Boto3Error) as error:
        raise DataError(f"{url}: S3 says: {error}") from None


def matches(key: str, pattern: str) -> bool:
    """As a shell: `*` and `?` stay in one folder, `**` are any number of folders."""
    return _match(key.split("/"), pattern.split("/"))


def _match(parts: list[str], patterns: list[str]) -> bool:
    if not patterns:
        return not parts
    if patterns[0] == "**":
        return any(_match(parts[i:], patterns[1:]) for i in range(len(parts) + 1))
    return bool(parts) and fnmatchcase(parts[0], patterns[0]) and _match(parts[1:], patterns[1:])


def _list(client: Any, bucket: str, pattern: str) -> list[tuple[str, int]]:
    """(key, bytes) of each object that matches, sorted."""
    glob = _GLOB.search(pattern)
    prefix = pattern[: glob.start()] if glob else pattern
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    return sorted(
        (it["Key"], it["Size"])
        for it in _objects(pages)
        if it["Key"] == pattern or (glob and matches(it["Key"], pattern))
    )


def _objects(pages: Any) -> Iterator[dict[str, Any]]:
    for page in pages:
        yield from page.get("Contents", ())


def _get(
    client: Any, bucket: str, found: list[tuple[str, int]], folder: Path, tell: Any
) -> list[Part]:
    total, done, parts = sum(size for _, size in found), 0, []

    def more(count: int) -> None:
        nonlocal done
        done += count
        tell(f"downloading {len(found)} objects", done, total)

    for number, (key, size) in enumerate(found):
        path, shown = folder / f"{number:06}{Path(key).suffix}", f"s3://{bucket}/{key}"
        client.download_file(bucket, key, str(path), Callback=more)
        if (got := path.stat().st_size) != size:
            raise DataError(f"{shown}: {got:,} of {size:,} bytes came; it changed, or was cut off")
        parts.append(Part(path, shown))
    return parts
