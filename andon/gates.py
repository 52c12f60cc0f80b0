"""Gates of a release: everything seen in a step so far, and what it says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from andon import checks
from andon.looks import Look, Probe
from andon.ports import Traffic
from andon.spec import GateName, Limits
from andon.verdict import Verdict

ALPHA = 0.05  # of a whole rollout: how often one that is as good as its champion may be failed


@dataclass(frozen=True)
class Seen:
    """The sum of all looks of one state."""

    candidate: Traffic = field(default_factory=Traffic)
    probe: Probe = field(default_factory=Probe)

    def add(self, look: Look) -> Seen:
        """With one more look."""
        return Seen(self.candidate + look.candidate.traffic, self.probe + look.probe)


def judge(
    seen: Seen, gate: Sequence[GateName], limits: Limits, min_requests: int, alpha: float = ALPHA
) -> list[Verdict]:
    """The verdicts of a gate so far; may be asked at every look.

    `alpha` is this state's share of the rollout's false alarms, over all its looks and checks.
    """
    if min_requests == 0 and not gate:
        return []
    http = checks.http(Traffic(), seen.candidate, limits, min_requests)
    return [checks.smoke(seen.probe, 0), *http]
