"""Station: does the build behave as any model, and this one, has to?"""

from __future__ import annotations

from andon.adapters import model_tests, project_tests, projects
from andon.adapters.files import key_of, load_settings, load_spec, tree_hash
from tasks.line import Job, keep, line_for, show, station, verdict_table
from tasks.results import Tested, Trained


def _read(job: Job, trained: Trained) -> str:
    project = load_settings().project
    spec, root = load_spec(project, job.model), project / "models" / job.model
    measured = projects.measured_by(spec, project)
    code = [it for it in root.rglob("*") if it.is_file() and it.suffix in (".py", ".json")]
    return key_of(trained.key, spec.tests, spec.seed, measured, tree_hash(code, root))


@station(reads=_read)
def run_tests(job: Job, trained: Trained) -> Tested:
    """Run the tests of behaviour, the golden rows, and the project's own tests."""
    line = line_for(job.model)
    project, folder = line.settings.project, line.settings.state / trained.folder
    golden = model_tests.read_golden(project / "models" / job.model / "tests" / model_tests.GOLDEN)
    verdicts = tuple(
        [
            *model_tests.check(model_tests.examine(folder, line.spec, project), golden),
            *project_tests.run(line.settings, job.model, folder, minutes=line.spec.tests.minutes),
        ]
    )
    keep(job, "test", f"build {trained.key}", verdicts)
    show(job, "tests", f"# Tests of build `{trained.key}`\n\n{verdict_table(verdicts)}")
    return Tested(verdicts=verdicts)
