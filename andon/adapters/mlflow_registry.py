"""MLflow: a run and a registered version for every build. The ledger decides; MLflow mirrors."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from andon.errors import LineError
from andon.settings import Settings

BUILD = "andon.build"
SERVED = "andon.served"  # key of what the bundle is made of beside the build


@dataclass(frozen=True)
class Build:
    """What is registered: a fitted model with its evidence."""

    model: str
    key: str
    estimator: Any
    trusted: tuple[str, ...]
    params: dict[str, Any]
    metrics: dict[str, float]
    tags: dict[str, str]
    example: Any
    artifacts: tuple[Path, ...] = ()
    requirements: tuple[str, ...] = field(default=())


class Registry:
    """The tracking server's registry."""

    def __init__(self, settings: Settings) -> None:
        # A server that is restarting should be waited for, but not for minutes.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "4")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
        os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
        import mlflow

        mlflow.set_tracking_uri(settings.mlflow_url)
        mlflow.set_registry_uri(settings.mlflow_url)
        logging.getLogger("mlflow").setLevel(logging.ERROR)
        self._mlflow = mlflow
        self._client = mlflow.MlflowClient()
        self._url = settings.mlflow_url

    def version_of(self, model: str, key: str, served: str | None = None) -> str | None:
        """The version that this build was registered as, if it was (and to be served that way)."""
        wanted = f"name = '{model}' and tags.`{BUILD}` = '{key}'"
        if served is not None:
            wanted += f" and tags.`{SERVED}` = '{served}'"
        found = self._client.search_model_versions(wanted)
        return str(found[0].version) if found else None

    def register(self, build: Build) -> str:
        """Log the run, register the version, return its number; the same build gives the same.

        Raises LineError if MLflow does not answer or refuses.
        """
        try:
            known = self.version_of(build.model, build.key, build.tags.get(SERVED))
            return known or self._register(build)
        except self._mlflow.MlflowException as error:
            raise LineError(f"MLflow at {self._url}: {error.message}") from error

    def _register(self, build: Build) -> str:
        mlflow = self._mlflow
        experiment = mlflow.set_experiment(build.model)
        # What a killed attempt began is not running any more.
        unfinished = f"tags.`{BUILD}` = '{build.key}' and attributes.status = 'RUNNING'"
        for left in self._client.search_runs([experiment.experiment_id], unfinished):
            self._client.set_terminated(left.info.run_id, "KILLED")
        with mlflow.start_run(run_name=build.key, tags={**build.tags, BUILD: build.key}) as run:
            mlflow.log_params(build.params)
            mlflow.log_metrics(build.metrics)
            for path in build.artifacts:
                mlflow.log_artifact(str(path))
            logged = mlflow.sklearn.log_model(
                build.estimator,
                name="model",
                serialization_format=mlflow.sklearn.SERIALIZATION_FORMAT_SKOPS,
                skops_trusted_types=list(build.trusted),
                signature=mlflow.models.infer_signature(
                    build.example, build.estimator.predict(build.example)
                ),
                pip_requirements=list(build.requirements),
            )
        if not self._client.search_registered_models(f"name = '{build.model}'"):
            self._client.create_registered_model(build.model)
        version = self._client.create_model_version(
            build.model,
            source=logged.model_uri,
            run_id=run.info.run_id,
            model_id=logged.model_id,
            tags={**build.tags, BUILD: build.key},
        )
        return str(version.version)

    def alias(self, model: str, alias: str, version: str) -> None:
        """Point an alias (`candidate`, `champion`) at a version."""
        try:
            self._client.set_registered_model_alias(model, alias, version)
        except self._mlflow.MlflowException as error:
            raise LineError(f"MLflow at {self._url}: {error.message}") from error

    def link(self, model: str, version: str) -> str:
        """The version's page in MLflow's UI."""
        return f"{self._url}/#/models/{model}/versions/{version}"
