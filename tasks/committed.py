"""Station: may this code go to production? What cannot be found again in git may not."""

from __future__ import annotations

from andon.adapters import provenance
from andon.verdict import Outcome, Verdict
from tasks.line import Job, keep, line_for, station

_SHOWN = 5


@station()
def check_code(job: Job) -> list[Verdict]:
    """Whether the model's code, its shared code and `andon.yaml` are what the commit says."""
    line = line_for(job.model)
    code = provenance.code_of(line.settings.project, line.spec)
    verdict = judged(code, allowed=line.settings.allow_dirty)
    keep(job, "release", f"commit {(code.commit or 'unknown')[:12]}", [verdict])
    return [verdict]


def judged(code: provenance.Code, *, allowed: bool) -> Verdict:
    """Outside of git there is nothing to differ from; where git fails, nobody knows."""
    check, n = "code is committed", len(code.changed)
    if code.commit is None and not code.problem:
        detail = "not in git: the lineage says unknown"
        return Verdict(check=check, outcome=Outcome.PASS, detail=detail)
    if code.problem:
        detail, outcome = f"git: {code.problem}", Outcome.INCONCLUSIVE
    elif code.changed:
        more = f" and {n - _SHOWN} more" if n > _SHOWN else ""
        detail = f"not as in commit {code.commit}: {', '.join(code.changed[:_SHOWN])}{more}"
        outcome = Outcome.FAIL
    else:
        return Verdict(check=check, outcome=Outcome.PASS, detail=f"as in commit {code.commit}")
    if allowed:
        detail, outcome = f"warning: {detail}; allow_dirty in andon.yaml allows it", Outcome.PASS
    else:
        detail += "; commit it, or set allow_dirty in andon.yaml"
    return Verdict(check=check, outcome=outcome, value=n, limit=0, n=n, detail=detail)
