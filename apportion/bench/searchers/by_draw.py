"""Searchers whose unit of spending is a draw: configurations race over examples, and share the draws they have bought.

They know what configurations scored on examples, not that options of a model are related to each other.

Constants were tuned on nine tasks of experiments/searchers with seeds 1000-1029 in the currency of draws, by the regret
at the end, averaged over tasks. Thirty seeds do not tell apart settings whose figures differ by less than about 0.002,
as most do; of such the customary one stays.
"""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from apportion.bench.searchers.by_trial import Searcher
from apportion.envs.replay.market import Market

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

MOST = 5000  # candidates: of a larger space a random part; 300 and 1000 tried, more regret with several stages
FIRST = 4  # examples of the first rung of successive halving; 1, 2, 8 and 16 tried
PULL = 10  # examples that a bandit buys at once; 2 and 5 tried: no better, and slower
EXPLORATION = 0.3  # `a` of UCB-E, in examples; 0.03, 0.1, 1 and 3 tried
EPSILON = 0.1  # share of random pulls; 0.02, 0.05, 0.2 and 0.4 tried
HEAT = 10  # examples between two tests of a race; 2 and 5 tried
LEVEL = 0.1  # of its one-sided tests; 0.2, 0.05, 0.025 and 0.005 tried
BATCH = 5  # examples of a round of elimination: a tenth of 50; 2, 10 and, as AgentOpt, doubling tried
ERRORS = 1.0  # standard errors of its bounds, as AgentOpt; 0.5, 1.5 and 2 tried


class Sheet:
    """Scores of candidates on the first of the examples, whose order is random and the same for all.

    Of the candidates that were scored on most examples the best leads, and among equals the first.

    Attributes:
        candidates: configurations, in random order.
        size: number of examples.
        scores: candidates x examples; each is known up to `done` of its candidate.
        mean: of the known scores; 0 where there is none.
        leader: row of the candidate that leads.
    """

    def __init__(self, market: Market, rng: np.random.Generator) -> None:
        self._market = market
        self.candidates = rng.permutation(len(market.configurations))[:MOST]
        self.size = market.split.size
        self._order = rng.permutation(self.size)
        count = len(self.candidates)
        self.scores, self.mean = np.zeros((count, self.size)), np.zeros(count)
        self.done = np.zeros(count, dtype=np.int64)
        self.leader = 0

    def score(self, row: int, upto: int) -> None:
        """Score a candidate on the first examples, as far as it was not."""
        known, upto = int(self.done[row]), min(upto, self.size)
        if upto <= known:
            return
        new = self._market.score(int(self.candidates[row]), self._order[known:upto])
        self.scores[row, known:upto] = new
        self.mean[row] = (self.mean[row] * known + new.sum()) / upto
        self.done[row] = upto
        self.leader = max(self.leader, row, key=lambda r: (self.done[r], self.mean[r]))
        self._market.lead(int(self.candidates[self.leader]))

    def score_all(self, rows: Ints, upto: int) -> None:
        """Score candidates, the best so far first, so that the leader is a good one if the cap is met."""
        for row in rows[np.argsort(-self.mean[rows], kind="stable")]:
            self.score(int(row), upto)


def successive_halving(market: Market, rng: np.random.Generator) -> None:
    """The better half stays and the examples double (Jamieson & Talwalkar 2016, arXiv 1502.07943).

    Each bracket begins with all candidates and with twice the examples of the one before, until all are known.
    """
    sheet = Sheet(market, rng)
    first = FIRST
    while sheet.done.min() < sheet.size:
        rows, upto = np.arange(len(sheet.candidates)), min(first, sheet.size)
        while True:
            sheet.score_all(rows, upto)
            if upto == sheet.size:
                break
            mean = sheet.scores[rows, :upto].mean(axis=1)
            rows = rows[np.argsort(-mean, kind="stable")][: -(-len(rows) // 2)]
            upto = min(2 * upto, sheet.size)
        first *= 2


def ucb_e(market: Market, rng: np.random.Generator) -> None:
    """Pull the largest mean + sqrt(a / examples), until all are known (Audibert, Bubeck & Munos, COLT 2010)."""
    sheet = Sheet(market, rng)
    sheet.score_all(np.arange(len(sheet.candidates)), PULL)
    index = sheet.mean + np.sqrt(EXPLORATION / sheet.done)
    index[sheet.done == sheet.size] = -np.inf
    while np.isfinite(index[row := int(index.argmax())]):
        sheet.score(row, int(sheet.done[row]) + PULL)
        known = sheet.done[row] == sheet.size
        index[row] = -np.inf if known else sheet.mean[row] + np.sqrt(EXPLORATION / sheet.done[row])


def epsilon_greedy(market: Market, rng: np.random.Generator) -> None:
    """Of the candidates with examples left pull the best, or now and then a random one, until all are known."""
    sheet = Sheet(market, rng)
    sheet.score_all(np.arange(len(sheet.candidates)), PULL)
    while len(left := np.flatnonzero(sheet.done < sheet.size)):
        row = int(rng.choice(left) if rng.random() < EPSILON else left[sheet.mean[left].argmax()])
        sheet.score(row, int(sheet.done[row]) + PULL)


def racing(market: Market, rng: np.random.Generator) -> None:
    """Drop what is worse than the leader by a paired Wilcoxon test, as F-race and irace (Birattari et al. 2002) do.

    It ends when one is left or the examples are used up.
    """
    sheet = Sheet(market, rng)
    critical = NormalDist().inv_cdf(1.0 - LEVEL)
    rows, upto = np.arange(len(sheet.candidates)), 0
    while upto < sheet.size and len(rows) > 1:
        upto = min(upto + HEAT, sheet.size)
        sheet.score_all(rows, upto)
        ahead = sheet.scores[sheet.leader, :upto] - sheet.scores[rows, :upto]
        rows = rows[signed_rank(ahead) <= critical]


def elimination(market: Market, rng: np.random.Generator) -> None:
    """Drop what has its upper bound below another's lower one, mean and standard errors, as AgentOpt's arm elimination.

    It ends when one is left or the examples are used up.
    """
    sheet = Sheet(market, rng)
    rows, upto = np.arange(len(sheet.candidates)), 0
    while upto < sheet.size and len(rows) > 1:
        upto = min(upto + BATCH, sheet.size)
        sheet.score_all(rows, upto)
        margin = ERRORS * sheet.scores[rows, :upto].std(axis=1, ddof=min(1, upto - 1)) / np.sqrt(upto)
        rows = rows[sheet.mean[rows] + margin >= (sheet.mean[rows] - margin).max()]


def signed_rank(differences: Floats) -> Floats:
    """Wilcoxon's signed-rank statistic of each row, in standard deviations of its distribution under random signs.

    Zeros are left out and ties have their mean rank. That standard deviation is sqrt(sum of squared ranks), which is
    exact with ties; a row of zeros has 0. For large rows the statistic is normal.
    """
    size = np.abs(np.round(differences, 9))
    order = np.argsort(size, axis=1)
    ordered = np.take_along_axis(size, order, axis=1)
    place = np.arange(size.shape[1])
    new = np.diff(ordered, axis=1, prepend=-1.0) > 0
    ended = np.roll(new, -1, axis=1)  # the first of a row is always new, so the last has always ended
    first = np.maximum.accumulate(np.where(new, place, 0), axis=1)
    last = np.minimum.accumulate(np.where(ended, place, len(place))[:, ::-1], axis=1)[:, ::-1]
    zeros = (ordered == 0).sum(axis=1, keepdims=True)
    ranks = np.where(ordered > 0, (first + last) / 2 + 1 - zeros, 0.0)
    signs = np.sign(np.take_along_axis(differences, order, axis=1))
    return np.asarray((signs * ranks).sum(axis=1) / np.sqrt(np.maximum((ranks**2).sum(axis=1), 1.0)))


BY_DRAW: dict[str, Searcher] = {
    "successive_halving": successive_halving,
    "ucb_e": ucb_e,
    "epsilon_greedy": epsilon_greedy,
    "racing": racing,
    "elimination": elimination,
}
"""Searchers by draw, by name."""
