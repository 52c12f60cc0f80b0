"""MLflow's client: quiet, patient for a while, and with errors that say what to do."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from andon.errors import LineError, PlatformError

# A server that is restarting should be waited for, but not for minutes.
PATIENCE = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "4",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
CREDENTIALS = ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN")
_LOGIN = f"set {CREDENTIALS[0]} and {CREDENTIALS[1]} (or {CREDENTIALS[2]})"
# What MLflow says of a request that the client sent again because its answer was lost.
_TWICE = ("IntegrityError", "UniqueViolation")
_BUSY = (408, 429, 500, 502, 503, 504)


def library() -> Any:
    """The `mlflow` module, without its warnings on what it imports."""
    for name, value in PATIENCE.items():
        os.environ.setdefault(name, value)
    with quiet():
        import mlflow.pyfunc
        import mlflow.sklearn
    logging.getLogger("mlflow").setLevel(logging.ERROR)
    return mlflow


@contextmanager
def quiet() -> Iterator[None]:
    """Without warnings: they are on MLflow's own type hints and on columns without nulls."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextmanager
def telling(url: str) -> Iterator[None]:
    """What MLflow raises, as an error that says what to do.

    Raises PlatformError where it did not answer (trying again helps), LineError where it refused.
    """
    from mlflow.exceptions import MlflowException
    from requests import RequestException

    try:
        yield
    except MlflowException as error:
        raise _told(url, _status(error), str(error.message)) from error
    except RequestException as error:  # from uploads and downloads
        status = error.response.status_code if error.response is not None else None
        raise _told(url, status, str(error)) from error


def problem(url: str) -> str | None:
    """Why a server cannot be used, or None if it can; does not load MLflow."""
    import httpx

    user, password, token = (os.environ.get(it, "") for it in CREDENTIALS)
    bearer = {"Authorization": f"Bearer {token}"} if token and not user else {}
    try:
        said = httpx.post(
            f"{url}/api/2.0/mlflow/experiments/search",
            json={"max_results": 1},
            headers=bearer,
            auth=(user, password) if user else None,
            timeout=20,
            verify=os.environ.get("MLFLOW_TRACKING_SERVER_CERT_PATH") or True,
        )
    except (httpx.HTTPError, OSError) as error:
        return str(_told(url, None, f"{type(error).__name__}: {error}"))
    return None if said.is_success else str(_told(url, said.status_code, said.text[:200]))


def _status(error: Any) -> int | None:
    """The HTTP status; None if there was no answer at all."""
    said = str(error.message)
    silent = "failed with exception" in said or "timeout exception" in said
    return None if silent else int(error.get_http_status_code())


def _told(url: str, status: int | None, said: str) -> LineError:
    if status is None or status in _BUSY:
        return PlatformError(f"MLflow at {url} does not answer; is it up? `andon up`. {said}")
    if any(it in said for it in _TWICE):
        return PlatformError(f"MLflow at {url} was disturbed in the middle: try again. {said}")
    if status == 401:
        given = any(os.environ.get(it) for it in CREDENTIALS)
        why = "does not take these credentials" if given else "wants credentials"
        return LineError(f"MLflow at {url} {why} (401): {_LOGIN}, and call `andon up` again")
    if status == 403:
        who = os.environ.get(CREDENTIALS[0], "this user")
        return LineError(
            f"MLflow at {url}: {who} may not do this (403); the line makes experiments and models, "
            "and needs MANAGE on those that are there"
        )
    return LineError(f"MLflow at {url}: {said}")
