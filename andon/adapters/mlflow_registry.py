"""MLflow: a run for every build and a registered version for every way to serve it.

The ledger decides; MLflow mirrors. Everything here may be killed at any line and called again:
what is there already is found by its tags, and what a killed attempt left is ended or removed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

from andon.adapters import mlflow_client
from andon.adapters.mlflow_files import Extras, content_of, mark_of, staged

BUILD = "andon.build"
SERVED = "andon.served"  # key of what the bundle is made of beside the build
ATTACHED = "andon.attached"  # hash of the files that were attached last
THERE, GONE = "RESOURCE_ALREADY_EXISTS", "RESOURCE_DOES_NOT_EXIST"


@dataclass(frozen=True)
class Rows:
    """Rows that a build used: `context` is `training` or `evaluation`, `digest` the snapshot's."""

    context: str
    name: str
    digest: str
    source: dict[str, str]
    columns: dict[str, str]
    rows: int


@dataclass(frozen=True)
class Build:
    """What is registered: a fitted model with its evidence."""

    model: str
    key: str
    estimator: Any
    trusted: tuple[str, ...]
    params: dict[str, str]
    metrics: dict[str, float]
    tags: dict[str, str]
    example: Any
    inputs: tuple[Rows, ...] = ()
    requirements: tuple[str, ...] = field(default=())

    @property
    def served(self) -> str:
        """How it is served."""
        return self.tags.get(SERVED, "")


def shown(tags: dict[str, str]) -> dict[str, str]:
    """A version's tags: without those that MLflow keeps for itself, which a run has."""
    return {name: value for name, value in tags.items() if not name.startswith("mlflow.")}


class Registry:
    """The tracking server's registry, at a URL."""

    def __init__(self, url: str) -> None:
        self._mlflow = mlflow_client.library()
        self._client = self._mlflow.MlflowClient(url, url)
        self._url = url

    def version_of(self, model: str, key: str, served: str | None = None) -> str | None:
        """The version that this build was registered as, if it was (and to be served that way)."""
        with mlflow_client.telling(self._url):
            return next(iter(self._versions(model, key, served)), None)

    def register(self, build: Build, taken: Collection[str] = ()) -> str:
        """Log the run, register the version, return its number; the same build gives the same.

        `taken` are numbers that the ledger has for other builds: a registry that began anew gives
        them again, and they are passed over. Raises PlatformError if MLflow does not answer,
        LineError if it refuses.
        """
        with mlflow_client.telling(self._url):
            known = self._only(build, taken)
            if known is not None:
                self._end_runs(build)
                return known
            run, logged = self._logged(build)
            self._once(THERE, self._client.create_registered_model, build.model)
            tags = {**shown(build.tags), BUILD: build.key}
            while known is None or known in taken:
                made = self._client.create_model_version(
                    build.model,
                    source=f"models:/{logged}",
                    run_id=run,
                    model_id=logged,
                    tags=tags,
                )
                known = str(made.version)
            return self._only(build, taken) or known

    def _versions(self, model: str, key: str, served: str | None) -> list[str]:
        wanted = f"name = '{model}' and tags.`{BUILD}` = '{key}'"
        if served is not None:
            wanted += f" and tags.`{SERVED}` = '{served}'"
        found = self._client.search_model_versions(wanted)
        return sorted((str(it.version) for it in found), key=int)

    def _only(self, build: Build, taken: Collection[str]) -> str | None:
        """The build's version; a second one, of a request that was sent twice, is removed."""
        found = self._versions(build.model, build.key, build.served)
        free = [it for it in found if it not in taken]
        for version in set(found) - set(free[:1]):
            self._once(GONE, self._client.delete_model_version, build.model, version)
        return free[0] if free else None

    def _logged(self, build: Build) -> tuple[str, str]:
        """The ids of the build's run, ended, and of the model logged in it."""
        experiment = self._experiment(build.model)
        run = self._run(experiment, build)
        # A whole key would run into its neighbour on the version's page.
        self._client.update_run(run.info.run_id, name=build.key[:8])
        known = set(run.data.params)
        entities = self._mlflow.entities
        self._client.log_batch(
            run.info.run_id,
            # A parameter is written once; training may have written it before.
            params=[entities.Param(k, v) for k, v in build.params.items() if k not in known],
            tags=[entities.RunTag(k, v) for k, v in {**build.tags, BUILD: build.key}.items()],
        )
        self._client.log_inputs(run.info.run_id, [self._dataset(it) for it in build.inputs])
        logged = self._finished_model(experiment, run, build)
        if logged is None:
            logged = self._log_model(run, build)
            self._finished_model(experiment, run, build)  # one that was asked for twice
        self._log_metrics(run, build, logged)
        self._client.set_terminated(run.info.run_id, "FINISHED")
        self._end_runs(build)
        return run.info.run_id, logged

    def _experiment(self, model: str) -> str:
        found = self._client.get_experiment_by_name(model)
        if found is None:
            kind = {"mlflow.experimentKind": "custom_model_development"}
            self._once(THERE, self._client.create_experiment, model, None, kind)
            found = self._client.get_experiment_by_name(model)
        if found.lifecycle_stage == "deleted":
            self._client.restore_experiment(found.experiment_id)
        return str(found.experiment_id)

    def _once(self, fine: str, act: Callable[..., Any], *arguments: Any) -> None:
        """The client sends a request again whose answer was lost: then it was done already."""
        try:
            act(*arguments)
        except self._mlflow.MlflowException as error:
            if error.error_code != fine:
                raise

    def _run(self, experiment: str, build: Build) -> Any:
        """The newest run of the build, one that is not ended first; a new one if there is none."""
        found = self._runs(experiment, build)
        running = [it for it in found if it.info.status == "RUNNING"]
        if found:
            return (running or found)[0]
        return self._client.create_run(experiment, tags={BUILD: build.key})

    def _runs(self, experiment: str, build: Build) -> list[Any]:
        of_build = f"tags.`{BUILD}` = '{build.key}'"
        order = ["attributes.start_time DESC"]
        return list(self._client.search_runs([experiment], of_build, order_by=order))

    def _end_runs(self, build: Build) -> None:
        """What a killed attempt began is not running any more."""
        for run in self._runs(self._experiment(build.model), build):
            if run.info.status == "RUNNING":
                self._client.set_terminated(run.info.run_id, "KILLED")

    def _dataset(self, rows: Rows) -> Any:
        entities = self._mlflow.entities
        schema = [{"name": name, "type": kind} for name, kind in rows.columns.items()]
        dataset = entities.Dataset(
            name=rows.name,
            digest=rows.digest[:36],
            source_type="dvc",
            source=json.dumps(rows.source),
            schema=json.dumps({"mlflow_colspec": schema}),
            profile=json.dumps({"num_rows": rows.rows, "num_columns": len(rows.columns)}),
        )
        return entities.DatasetInput(
            dataset, [entities.InputTag("mlflow.data.context", rows.context)]
        )

    def _finished_model(self, experiment: str, run: Any, build: Build) -> str | None:
        """The model that the run logged to its end; what was left half-way is removed."""
        of_build = f"tags.`{BUILD}` = '{build.key}' AND tags.`{SERVED}` = '{build.served}'"
        kept = None
        for it in self._client.search_logged_models([experiment], filter_string=of_build):
            if kept is None and it.source_run_id == run.info.run_id and it.status == "READY":
                kept = str(it.model_id)
            else:
                self._once(GONE, self._client.delete_logged_model, it.model_id)
        return kept

    def _log_model(self, run: Any, build: Build) -> str:
        mlflow = self._mlflow
        # Only here a run is "the active one" of this process, as `log_model` wants it.
        mlflow.set_tracking_uri(self._url)
        with mlflow_client.quiet(), mlflow.start_run(run_id=run.info.run_id):
            said = build.estimator.predict(build.example)
            logged = mlflow.sklearn.log_model(
                build.estimator,
                name="model",
                serialization_format=mlflow.sklearn.SERIALIZATION_FORMAT_SKOPS,
                skops_trusted_types=list(build.trusted),
                signature=mlflow.models.infer_signature(build.example, said),
                input_example=build.example,
                pip_requirements=list(build.requirements),
                tags={BUILD: build.key, SERVED: build.served},
            )
        return str(logged.model_id)

    def _log_metrics(self, run: Any, build: Build, logged: str) -> None:
        """After what training wrote while it went on, so that these are the latest."""
        run_id, written = run.info.run_id, self._client.get_run(run.info.run_id).data.metrics
        done = {(it.key, it.value) for it in self._client.get_logged_model(logged).metrics or ()}
        judged = next((it for it in build.inputs if it.context == "evaluation"), None)
        metrics = []
        for name, value in build.metrics.items():
            if (name, value) in done:
                continue
            past = self._client.get_metric_history(run_id, name) if name in written else []
            step = max((it.step for it in past), default=-1) + 1
            metric = self._mlflow.entities.Metric(
                name,
                value,
                run.info.start_time,
                step,
                model_id=logged,
                dataset_name=judged and judged.name,
                dataset_digest=judged and judged.digest[:36],
                run_id=run_id,
            )
            metrics.append(metric)
        self._client.log_batch(run_id, metrics=metrics)

    def attach(self, model: str, version: str, extras: Extras) -> list[str]:
        """Put bundle, reports and description on a version; returns what was left out, and why."""
        content, left_out = content_of(extras)
        with mlflow_client.telling(self._url):
            found = self._client.get_model_version(model, version)
            mark = mark_of(content, extras)
            if found.tags.get(ATTACHED) == mark:
                return left_out
            with staged(content) as folder:
                self._upload(found, folder)
            for name, value in extras.tags.items():
                self._client.set_model_version_tag(model, version, name, value)
            if extras.description:
                self._client.update_model_version(model, version, extras.description)
                self._client.set_tag(found.run_id, "mlflow.note.content", extras.description)
            self._client.set_model_version_tag(model, version, ATTACHED, mark)
        return left_out

    def _upload(self, version: Any, folder: str) -> None:
        """Beside the model itself, so that `models:/NAME@ALIAS/bundle` finds it."""
        kind, _, logged = version.source.partition(":/")
        if kind == "models":
            self._client.log_model_artifacts(logged, folder)
        else:  # registered before MLflow had models apart from runs
            self._client.log_artifacts(version.run_id, folder, f"v{version.version}")

    def tags(self, model: str) -> dict[str, dict[str, str]]:
        """The tags of every version."""
        with mlflow_client.telling(self._url):
            found = self._client.search_model_versions(f"name = '{model}'", max_results=10_000)
            return {str(it.version): dict(it.tags) for it in found}

    def set_tags(self, model: str, version: str, tags: dict[str, str]) -> None:
        """Set these, and leave the others."""
        with mlflow_client.telling(self._url):
            for name, value in tags.items():
                self._client.set_model_version_tag(model, version, name, value)

    def aliases(self, model: str) -> dict[str, str]:
        """The version of each alias; empty if MLflow knows no such model."""
        with mlflow_client.telling(self._url):
            found = self._client.search_registered_models(f"name = '{model}'")
            return {k: str(v) for it in found for k, v in it.aliases.items()}

    def set_alias(self, model: str, alias: str, version: str | None) -> None:
        """Point an alias at a version; none: remove it."""
        with mlflow_client.telling(self._url):
            if version is None:
                self._client.delete_registered_model_alias(model, alias)
            else:
                self._client.set_registered_model_alias(model, alias, version)

    def link(self, model: str, version: str) -> str:
        """The version's page in MLflow's UI."""
        return f"{self._url}/#/models/{model}/versions/{version}"
