"""Where configurations come from: a grid, chance, or what earlier scores suggest. Knows no training."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import optuna

from rlq_ray.config.load import fingerprint
from tuning.settings import SearchConfig
from tuning.space import Domain, Values, choices_made, choose, grid

optuna.logging.set_verbosity(optuna.logging.ERROR)  # it writes a line for every study and trial

MOST_ATTEMPTS = 50
"""Draws of a configuration that was not proposed before, until the first one of a grid is taken instead."""


def most_configurations(space: Mapping[str, Domain], search: SearchConfig, wanted: int) -> int:
    """Count the configurations that a search comes to: a grid, or a space of few values, may fall short of it.

    The members of a population may begin alike.
    """
    is_finite = search.kind == "grid" or all(domain.options for domain in space.values())
    return sum(1 for _ in itertools.islice(grid(space), wanted)) if is_finite and search.kind != "pbt" else wanted


class Proposals:
    """Proposes configurations by their number, each once; alike for the same seed, number and scores told so far.

    Args:
        space: what may be changed.
        search: how.
        objectives: number of scores, all to be raised.
        wanted: configurations; `most` is how many there will be.
    """

    def __init__(self, space: Mapping[str, Domain], search: SearchConfig, objectives: int, wanted: int) -> None:
        self._space = space
        self._search = search
        self._study = optuna.create_study(directions=["maximize"] * objectives)
        self._asked: dict[int, optuna.Trial] = {}
        self._seen: set[str] = set()
        self.most = most_configurations(space, search, wanted)
        self._grid = list(itertools.islice(grid(space), self.most)) if search.kind == "grid" else []

    def propose(self, number: int) -> Values:
        """Give the configuration with a number, which is the next one and below `most`."""
        if self._search.kind == "grid":
            return self._grid[number]
        for attempt in range(1 if self._search.kind == "pbt" else MOST_ATTEMPTS):
            self._study.sampler = self._sampler(number, attempt)
            self._asked[number] = self._study.ask()
            values = choose(self._space, self._asked[number])
            if self._search.kind == "pbt" or fingerprint(values) not in self._seen:
                self._seen.add(fingerprint(values))
                return values
            self.tell(number, None)
        values = next(values for values in grid(self._space) if fingerprint(values) not in self._seen)
        self.take_up(number, values)
        return values

    def take_up(self, number: int, values: Values) -> None:
        """Take note of a configuration that comes from elsewhere, such as an earlier driver."""
        if self._search.kind != "grid":
            self._seen.add(fingerprint(values))
            self._study.enqueue_trial(choices_made(self._space, values))
            self._asked[number] = self._study.ask()
            choose(self._space, self._asked[number])

    def tell(self, number: int, scores: Sequence[float] | None) -> None:
        """Take note of the scores of a configuration proposed or taken up; None where its training came to nothing."""
        if self._search.kind != "grid":
            state = optuna.trial.TrialState.FAIL if scores is None else optuna.trial.TrialState.COMPLETE
            self._study.tell(self._asked.pop(number), scores, state=state)

    def _sampler(self, number: int, attempt: int) -> optuna.samplers.BaseSampler:
        """Make a sampler whose draws depend on number and attempt, so that it draws anew alike after a restart."""
        seed = int(fingerprint([self._search.seed, number, *([attempt] if attempt else [])])[:8], 16)
        if self._search.kind != "tpe":
            return optuna.samplers.RandomSampler(seed)
        return optuna.samplers.TPESampler(n_startup_trials=self._search.startup_trials, seed=seed)
