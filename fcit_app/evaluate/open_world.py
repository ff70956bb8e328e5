"""None of the tasks: how near a question must be to some token to be one of a run's tasks.

The paper's activation always mixes something, also for a question that no client ever taught. With
a limit (``identity.open-world``) the base answers such questions. The limit is calibrated without
foreign questions: those of each task, compared with the tokens of the *other* subspaces only, stand
in for them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from fcit_app.data.load import Split, load_benchmark
from fcit_app.errors import ConfigError
from fcit_app.evaluate.predictor import samples_of
from fcit_app.evaluate.route import features_of
from fcit_app.evaluate.saved_run import SavedRun
from fcit_app.model.activation import activation_weights
from fcit_app.model.routes import route_owners, route_tokens

Cosines = NDArray[np.float64]


@dataclass(frozen=True)
class Calibration:
    """A limit, and what it does to the questions it was chosen by.

    Parameters
    ----------
    limit : float
        For ``identity.open-world``; the middle of the widest range of limits that are as good.
    low, high : float
        Where this range ends.
    kept : float
        Share of the tasks' own questions that still wake a subspace, mean over tasks.
    refused : float or None
        Share of the stand-ins for foreign questions that do not; None with a single subspace.
    """

    limit: float
    low: float
    high: float
    kept: float
    refused: float | None


class Similarities:
    """Cosines of a benchmark's questions with the tokens of a run's bank.

    The base model is loaded only for tokens that its vision tower has made.

    Parameters
    ----------
    run : SavedRun
        Gives bank and data.

    Raises
    ------
    ConfigError
        If the bank has no identity tokens.
    """

    def __init__(self, run: SavedRun) -> None:
        tokens = route_tokens(run.bank)
        if tokens is None:
            raise ConfigError(
                f"{run.path} is a run of method {run.config.method}, whose bank has no identity "
                "tokens. Name a run of method disco."
            )
        self.run = run
        self._tokens, self._owners = tokens, route_owners(run.bank)
        self._benchmark, self._features = load_benchmark(run.config), features_of(run.config)

    def of(self, task: str, split: Split) -> Cosines:
        """Cosine of each question with each subspace (its best prototype).

        Returns
        -------
        ndarray
            Float64, shape (questions, subspaces).
        """
        samples = samples_of(self._benchmark, split, task)
        asked = torch.from_numpy(self._features.of(samples))
        found = activation_weights(asked, self._tokens, "cosine", owners=self._owners)
        return found.double().numpy()

    def largest(self, task: str, split: Split) -> Cosines:
        """Cosine of each question with the subspace nearest to it, shape (questions,)."""
        return np.asarray(self.of(task, split).max(axis=1))


def calibrate_run(similarities: Similarities) -> Calibration:
    """Calibrate on the validation questions of a run's own tasks, see ``calibrate``.

    Which subspaces have learned a task is known once the run has finished; before, no question
    stands in for a foreign one.
    """
    run = similarities.run
    own, foreign = {}, {}
    for task in run.tasks:
        values = similarities.of(task, "validation")
        own[task] = values.max(axis=1)
        strange = [
            place
            for place, subspace in enumerate(run.bank.subspaces)
            if run.trained and task not in run.trained.get(subspace.identifier, ())
        ]
        if strange:
            foreign[task] = values[:, strange].max(axis=1)
    return calibrate(own, foreign)


def calibrate(own: Mapping[str, Cosines], foreign: Mapping[str, Cosines]) -> Calibration:
    """Choose the limit that tells own from foreign questions best.

    Of all limits the one with the largest mean of the share of own questions kept and the share of
    foreign ones refused (balanced accuracy, each task counting the same).

    Parameters
    ----------
    own : Mapping[str, ndarray]
        Task to its questions' largest cosines, each of shape (questions,).
    foreign : Mapping[str, ndarray]
        Task to the same questions' largest cosines with subspaces that never learned it. Empty for
        a run with a single subspace: then every own question is kept, and nothing else is known.

    """
    if not foreign:
        least = float(min(values.min() for values in own.values()))
        limit = max(0.0, least)
        return Calibration(limit, 0.0, least, 1.0, None)
    # Between two neighbouring cosines nothing changes: a limit keeps what is as large or larger.
    steps = np.unique(np.concatenate([*own.values(), *foreign.values()]))
    kept = np.mean([_share_from(values, steps) for values in own.values()], axis=0)
    refused = 1.0 - np.mean([_share_from(values, steps) for values in foreign.values()], axis=0)
    good = kept + refused
    widths = np.diff(steps, prepend=0.0)
    best = int(np.where(good >= good.max() - 1e-12, widths, -1.0).argmax())
    low, high = float(steps[best] - widths[best]), float(steps[best])
    return Calibration((low + high) / 2, low, high, float(kept[best]), float(refused[best]))


def told_apart(own: Mapping[str, Cosines], foreign: Mapping[str, Cosines]) -> float:
    """Area under the ROC curve of own against foreign questions, 0 to 1; 0.5 is chance."""
    largest = np.concatenate([*own.values(), *foreign.values()])
    known = np.concatenate(
        [np.ones(sum(map(len, own.values()))), np.zeros(sum(map(len, foreign.values())))]
    )
    return float(roc_auc_score(known, largest))


def _share_from(values: Cosines, steps: Cosines) -> Cosines:
    """Share of the values that are as large as each step or larger."""
    return 1.0 - np.searchsorted(np.sort(values), steps, side="left") / len(values)
