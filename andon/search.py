"""A search for parameters: which are tried, on how many rows, and which is best."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from andon.errors import SpecError
from andon.spec import HalvingSearch, RandomSearch, Search

FOLDS = 5  # where a search is asked for, and no folds are
FEWEST = 100  # rows that a fold of the first round of halving learns from, if there are so many
Parameters = dict[str, Any]


@dataclass(frozen=True)
class Tried:
    """One candidate with its score in each fold; `share` of the folds' rows were learned from."""

    parameters: Parameters
    scores: tuple[float, ...]
    seconds: float
    share: float = 1.0

    @property
    def mean(self) -> float:
        return math.fsum(self.scores) / len(self.scores)

    @property
    def spread(self) -> float:
        """Standard deviation over the folds."""
        mean, n = self.mean, len(self.scores)
        return math.sqrt(math.fsum((it - mean) ** 2 for it in self.scores) / (n - 1))


@dataclass(frozen=True)
class Round:
    """How many of the best go on to it, and the share of a fold's rows that they learn from."""

    candidates: int
    share: float


def demand_parameters(known: Iterable[str], search: Search | None, file: str) -> None:
    """Raises SpecError with every parameter that the pipeline does not have, and what is close."""
    names = sorted(known)
    problems = []
    for name in search.parameters if search else ():
        if name not in names:
            close = difflib.get_close_matches(name, names, n=3, cutoff=0.5) or names[:10]
            problems.append(f"found {name!r}, close to it: {', '.join(close)}")
    if problems:
        raise SpecError(
            f"{file}: training.search.parameters: the pipeline has no such parameter: "
            + "; ".join(problems)
        )


def candidates(search: Search | None, seed: int) -> list[Parameters]:
    """All combinations, or some of them, each once; without a search the pipeline as it is."""
    from sklearn.model_selection import ParameterGrid, ParameterSampler

    if search is None:
        return [{}]
    choices = {name: [_value(it) for it in values] for name, values in search.parameters.items()}
    grid = ParameterGrid(choices)
    if isinstance(search, RandomSearch) and search.iterations < len(grid):
        return list(ParameterSampler(choices, search.iterations, random_state=seed))
    return list(grid)


def rounds(search: Search | None, count: int, rows: int) -> list[Round]:
    """The rounds for `count` candidates, whose folds have `rows` to learn from.

    Halving (Jamieson & Talwalkar 2016): each round keeps one in `factor` of the candidates and
    gives them `factor` times the rows; the last has all rows. The first never has fewer than
    `FEWEST`, so with few rows there are fewer rounds.
    """
    if not isinstance(search, HalvingSearch):
        return [Round(count, 1.0)]
    factor, found = search.factor, [Round(count, 1.0)]
    while (kept := math.ceil(found[-1].candidates / factor)) < found[-1].candidates:
        if rows / factor ** len(found) < FEWEST:
            break
        found.append(Round(kept, 1.0))
    last = len(found) - 1
    return [Round(it.candidates, factor ** (i - last)) for i, it in enumerate(found)]


def ranked(tried: Sequence[Tried], *, greater_is_better: bool) -> list[Tried]:
    """The best first; of equal ones, that which was tried first."""
    return sorted(tried, key=lambda it: -it.mean if greater_is_better else it.mean)


def _value(value: Any) -> Any:
    """YAML has lists only; where scikit-learn takes several values it wants a tuple."""
    return tuple(_value(it) for it in value) if isinstance(value, list | tuple) else value


def described(parameters: Parameters) -> str:
    """For people: `line__C=0.1, scale=passthrough`."""
    return ", ".join(f"{name}={value}" for name, value in parameters.items()) or "as it is"
