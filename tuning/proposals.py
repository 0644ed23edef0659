"""Where configurations come from: a grid, chance, or what earlier scores suggest. Knows no training."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import optuna

from rlq_ray.config.load import fingerprint
from tuning.settings import SearchConfig
from tuning.space import Domain, Values, choices_made, choose, grid

optuna.logging.set_verbosity(optuna.logging.ERROR)  # it writes a line for every study and trial


def most_configurations(space: Mapping[str, Domain], search: SearchConfig, wanted: int) -> int:
    """Count the configurations that a search comes to, which a grid may fall short of."""
    return sum(1 for _ in itertools.islice(grid(space), wanted)) if search.kind == "grid" else wanted


class Proposals:
    """Proposes configurations by their number; alike for the same seed, number and scores told so far.

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
        self.most = most_configurations(space, search, wanted)
        self._grid = list(itertools.islice(grid(space), self.most)) if search.kind == "grid" else []

    def propose(self, number: int) -> Values:
        """Give the configuration with a number, which is the next one and below `most`."""
        if self._search.kind == "grid":
            return self._grid[number]
        self._study.sampler = self._sampler(number)
        self._asked[number] = self._study.ask()
        return choose(self._space, self._asked[number])

    def take_up(self, number: int, values: Values) -> None:
        """Take note of a configuration that an earlier driver proposed."""
        if self._search.kind != "grid":
            self._study.enqueue_trial(choices_made(self._space, values))
            self._asked[number] = self._study.ask()
            choose(self._space, self._asked[number])

    def tell(self, number: int, scores: Sequence[float] | None) -> None:
        """Take note of the scores of a configuration proposed or taken up; None where its training came to nothing."""
        if self._search.kind != "grid":
            state = optuna.trial.TrialState.FAIL if scores is None else optuna.trial.TrialState.COMPLETE
            self._study.tell(self._asked.pop(number), scores, state=state)

    def _sampler(self, number: int) -> optuna.samplers.BaseSampler:
        """Make a sampler whose draws depend on the number, so that it draws anew alike after a restart."""
        seed = int(fingerprint([self._search.seed, number])[:8], 16)
        if self._search.kind != "tpe":
            return optuna.samplers.RandomSampler(seed)
        return optuna.samplers.TPESampler(n_startup_trials=self._search.startup_trials, seed=seed)
