"""How likely each model is right on each example, from few draws: a hierarchical model and samples of its posterior.

Log odds are the ability of the model, the ease of the example, and what is left. Abilities lie around a line in the
logarithm of the model's size; eases are shared, so that a draw of one model says something of all others; what is left
has a scale of its own for each model. Some models are never right on some examples, however often they are asked: where
that is forgotten, many draws of weak models look too good. It knows counts, not their worth.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

# Priors, in log odds, wide around what tables of recorded outcomes show (docs/recorded-outcomes.md): abilities spread
# by 0.3 to 3, eases by 0.9 to 3, what is left by 0.6 to 3.3 with a median near 1.5.
LEVEL, SLOPE = 9.0, 1.0  # variances of the abilities' mean and of their line's slope
ABILITY, EASE = 1.0, 3.0  # variances around the line, and of eases, before anything is known
PRIOR_WEIGHT = 5.0  # models or examples that these two count as
SCALES = np.array([0.5, 0.8, 1.2, 1.7, 2.4, 3.4])
NEVER = np.array([0.0, 0.1, 0.25, 0.5])  # probability that a model is never right on an example that is hopeless for it
KINDS = np.array([(scale, never) for scale in range(len(SCALES)) for never in range(len(NEVER))])
KIND_PRIOR = np.outer([0.05, 0.15, 0.25, 0.3, 0.2, 0.05], [0.3, 0.3, 0.25, 0.15]).ravel()
KIND_WEIGHT = 4.0  # models that this prior counts as
ROUNDS = 4  # of the variational fit; it goes on from the last one, so that few are enough
MIXING_ROUNDS = 10
RESCALED = 1.25  # growth of the draws after which scales are looked at again, which is the dearest step
NODES = np.linspace(-4.0, 4.0, 25)  # of a standard normal, for integrals over what is left
LOG_WEIGHTS = -0.5 * NODES**2 - np.log(np.exp(-0.5 * NODES**2).sum())


class SuccessModel:
    """Posterior of the log odds that a draw of each model is right on each example.

    Gaussian, by the bound of Jaakkola and Jordan (2000) on the logistic likelihood; variances by expectation
    maximisation, scales of what is left by numerical integration.

    Args:
        sizes: of the models, above 0.
    """

    def __init__(self, sizes: Floats, examples: int) -> None:
        log = np.log(sizes)
        line = (log - log.mean()) / (log.std() or 1.0)
        self._models, self._examples = len(sizes), examples
        self._line = np.column_stack([np.ones(len(sizes)), line])
        self._trend = LEVEL + SLOPE * np.outer(line, line)
        self._ability, self._ease = ABILITY, EASE
        self._kinds = np.tile(KIND_PRIOR, (len(sizes), 1))
        shape = len(sizes), examples
        self._mean, self._variance = np.zeros(shape), np.full(shape, LEVEL + EASE)
        self._scaled_at = 0.0
        self._hopeless = np.zeros(shape)
        self._missed = np.ones((len(SCALES), *shape))  # nothing was asked, so nothing was missed

    def fit(self, right: Ints, drawn: Ints) -> None:
        """Learn from all draws so far: models x examples."""
        for _ in range(ROUNDS):
            self._weigh(right, drawn)
            self._solve()
        self._spread()
        if drawn.sum() > self._scaled_at * RESCALED:
            self._scaled_at = float(drawn.sum())
            self._rescale(right, drawn)
        self._missed[:, right > 0], self._hopeless[right > 0] = np.inf, 0.0

    def sample(self, k: int, rng: np.random.Generator, models: Ints, new: int = 0) -> NDArray[np.float32]:
        """Draw k joint samples of the success probabilities of some models, in single precision.

        Half the time goes into this.

        Args:
            new: number of further examples, of which nothing is known but that they are like the others.

        Returns:
            k x models x examples, the further ones last.
        """
        root = np.linalg.cholesky(self._covariance)
        both = self._both + rng.standard_normal((k, len(self._both))) @ root.T
        ease = np.column_stack([both[:, self._models :], rng.normal(0.0, np.sqrt(self._ease), (k, new))])
        base = (both[:, models, None] + ease[:, None]).astype(np.float32)
        chosen = (rng.random((k, len(models), 1)) > self._kinds[models].cumsum(axis=1)).sum(axis=2)
        kinds = KINDS[np.minimum(chosen, len(KINDS) - 1)]
        scale, never = kinds[..., 0], NEVER[kinds[..., 1]]
        variance = np.square(SCALES[scale]).astype(np.float32)[:, :, None]
        precision, seen = (
            np.pad(cells[models].astype(np.float32), ((0, 0), (0, new))) for cells in (self._precision, self._seen)
        )
        gain = variance * precision / (1 + variance * precision)
        noise = rng.standard_normal(base.shape, dtype=np.float32)
        odds = base + gain * (seen - base) + np.sqrt(variance * (1 - gain)) * noise
        missed = np.pad(self._missed[scale, models], ((0, 0), (0, 0), (0, new)), constant_values=1.0)
        hopeless = _hopeless(never[:, :, None] / (1 + np.exp(base)), missed)
        ever = rng.random(base.shape, dtype=np.float32) >= hopeless
        return np.asarray(ever / (1 + np.exp(-odds)))

    def _weigh(self, right: Ints, drawn: Ints) -> None:
        """The bound turns the draws of a cell into one Gaussian observation of its log odds."""
        size = np.sqrt(np.square(self._mean) + self._variance) + 1e-9
        counted = drawn * (1.0 - self._hopeless)
        self._precision = counted * np.tanh(size / 2.0) / (2.0 * size)
        self._seen = (right - counted / 2.0) / np.where(counted > 0, self._precision, 1.0)

    def _solve(self) -> None:
        """Abilities and eases together, what is left integrated out; then each cell given them."""
        m, left = self._models, self._left
        weight = self._precision / (1.0 + left * self._precision)
        precision = np.zeros((m + self._examples, m + self._examples))
        precision[:m, :m] = np.linalg.inv(self._ability * np.eye(m) + self._trend) + np.diag(weight.sum(axis=1))
        precision[m:, m:] = np.diag(1.0 / self._ease + weight.sum(axis=0))
        precision[:m, m:], precision[m:, :m] = weight, weight.T
        seen = weight * self._seen
        self._covariance = np.linalg.inv(precision)
        self._both = self._covariance @ np.concatenate([seen.sum(axis=1), seen.sum(axis=0)])
        own = np.diag(self._covariance)
        spread = own[:m, None] + own[None, m:] + 2.0 * self._covariance[:m, m:]
        gain = left * weight
        self._mean = self._base + gain * (self._seen - self._base)
        self._variance = np.square(1.0 - gain) * spread + left * (1.0 - gain)

    @property
    def _base(self) -> Floats:
        return np.asarray(self._both[: self._models, None] + self._both[None, self._models :])

    @property
    def _left(self) -> Floats:
        """Variance of what is left, by model: models x 1."""
        return np.asarray(self._kinds @ np.square(SCALES[KINDS[:, 0]]))[:, None]

    @property
    def _hard(self) -> Floats:
        """Probability to be wrong by ability and ease alone: models x examples."""
        return np.asarray(1.0 / (1.0 + np.exp(self._base)))

    def _spread(self) -> None:
        """Variances of abilities around their line and of eases."""
        own = np.diag(self._covariance)
        ability, ease = self._both[: self._models], self._both[self._models :]
        off = ability - self._line @ np.linalg.lstsq(self._line, ability, rcond=None)[0]
        # Half: the covariance also holds what is unknown of the line, which is no spread around it.
        found = np.square(off).sum() + 0.5 * own[: self._models].sum()
        self._ability = float((PRIOR_WEIGHT * ABILITY + found) / (PRIOR_WEIGHT + self._models))
        found = np.square(ease).sum() + own[self._models :].sum()
        self._ease = float((PRIOR_WEIGHT * EASE + found) / (PRIOR_WEIGHT + self._examples))

    def _rescale(self, right: Ints, drawn: Ints) -> None:
        """Posterior of each model's kind: the scale of what is left, and how often it is never right.

        The models' mixture of kinds is learnt with them.
        """
        chance = np.empty((len(SCALES), *right.shape))
        for number, scale in enumerate(SCALES):
            odds = self._base[..., None] + scale * NODES
            log = right[..., None] * odds - drawn[..., None] * np.logaddexp(0.0, odds) + LOG_WEIGHTS
            chance[number] = np.exp(log).sum(axis=-1)
        none, hard = right == 0, self._hard
        likely = np.empty((self._models, len(KINDS)))
        for kind, (scale, never) in enumerate(KINDS):
            share = NEVER[never] * hard
            likely[:, kind] = np.log((1.0 - share) * chance[scale] + share * none + 1e-300).sum(axis=1)
        likely = np.exp(likely - likely.max(axis=1, keepdims=True))
        mixture = KIND_PRIOR
        for _ in range(MIXING_ROUNDS):
            self._kinds = mixture * likely / (mixture * likely).sum(axis=1, keepdims=True)
            mixture = (KIND_WEIGHT * KIND_PRIOR + self._kinds.sum(axis=0)) / (KIND_WEIGHT + self._models)
        self._missed = np.where(none, chance, np.inf)
        of_kind = (_hopeless(NEVER[never] * hard, self._missed[scale]) for scale, never in KINDS)
        self._hopeless = np.asarray(sum(w[:, None] * own for w, own in zip(self._kinds.T, of_kind, strict=True)))


def _hopeless(never: Floats, missed: Floats) -> Floats:
    """Probability that a model is never right, given that it was not: by the chance that one that can be was not."""
    return np.asarray(never / (never + (1.0 - never) * missed + 1e-300))
