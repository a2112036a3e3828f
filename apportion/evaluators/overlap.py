"""How much of the expected value an answer has, from 0 to 1: F1 of words or items, ROUGE-L, cosine of word counts."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

from apportion.envs.stage import Example
from apportion.evaluators.answers import Evaluator, normal, squad_normal, targets

BULLET = re.compile(r"^(?:[-*•]|\d{1,3}[.)])\s+")
IDS = re.compile(r"\d+(?:, \d+)*")
WORD = re.compile(r"[^\W_]+")
PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[^\W_]+")
NOT_CODE = re.compile(r'"""(?:(?!""").)*"""|\'\'\'(?:(?!\'\'\').)*\'\'\'|#[^\n]*', re.DOTALL)


def squad_f1(field: str) -> Evaluator:
    """SQuAD's F1 of words in `squad_normal` form (arXiv 1606.05250), of a list the best of its items."""

    def measure(answer: str, example: Example) -> float:
        return max(word_f1(answer, str(target)) for target in targets(example, field))

    return measure


def set_f1(field: str) -> Evaluator:
    """F1 of the answer's lines, or of its ids as the parser `ids` gives them, among the items of the field.

    Items are the same but for case, white space, a bullet and a final full stop, and count once. Nothing for nothing
    is 1. So are TaskBench's node and argument F1 of one example (arXiv 2311.18760), and the F1 of a retrieval.
    """

    def measure(answer: str, example: Example) -> float:
        lines = answer.split(", ") if IDS.fullmatch(answer) else answer.splitlines()
        return f1(items(lines), items(targets(example, field)))

    return measure


def rouge_l(field: str) -> Evaluator:
    """ROUGE-L: F1 by the longest common subsequence of words (Lin 2004, beta 1, no stemming); a list is one text."""

    def measure(answer: str, example: Example) -> float:
        said = WORD.findall(answer.lower())
        wanted = WORD.findall("\n".join(map(str, targets(example, field))).lower())
        return share(common_subsequence(said, wanted), len(said), len(wanted))

    return measure


def lexical_cosine(field: str) -> Evaluator:
    """Cosine of the word counts of a program, comments and long strings left out, and of the field; 0 without words.

    Names are split as `load_file` and `loadFile` are read. It is a stand-in for the cosine of embeddings that ChatDev
    calls consistency (arXiv 2307.07924): it knows no synonyms, and its numbers are not comparable with that one's.
    """

    def measure(answer: str, example: Example) -> float:
        program = Counter(map(str.lower, PART.findall(NOT_CODE.sub(" ", answer))))
        text = Counter(map(str.lower, PART.findall("\n".join(map(str, targets(example, field))))))
        norm = math.hypot(*program.values()) * math.hypot(*text.values())
        return min(1.0, sum(program[word] * text[word] for word in text) / norm) if norm else 0.0

    return measure


def word_f1(one: str, other: str) -> float:
    """F1 of the words of two texts in `squad_normal` form, each as often as it occurs in both."""
    return f1(Counter(squad_normal(one).split()), Counter(squad_normal(other).split()))


def f1(said: Counter[str], wanted: Counter[str]) -> float:
    """Harmonic mean of precision and recall of two bags of items."""
    return share((said & wanted).total(), said.total(), wanted.total())


def share(common: int, said: int, wanted: int) -> float:
    """F1 by numbers of items; 1 where there are none on either side."""
    return 2 * common / (said + wanted) if said + wanted else 1.0


def items(lines: Iterable[object]) -> Counter[str]:
    """Lines for comparison, each once: `normal`, without bullets and numbers; empty ones are left out."""
    return Counter({normal(BULLET.sub("", str(line).strip())) for line in lines} - {""})


def common_subsequence(one: Sequence[str], other: Sequence[str]) -> int:
    """Length of the longest common subsequence."""
    lengths = [0] * (len(other) + 1)
    for word in one:
        diagonal = 0
        for place, rival in enumerate(other, 1):
            above = lengths[place]
            lengths[place] = diagonal + 1 if word == rival else max(above, lengths[place - 1])
            diagonal = above
    return lengths[-1]


OVERLAPS: Mapping[str, Callable[..., Evaluator]] = {
    "squad_f1": squad_f1,
    "set_f1": set_f1,
    "rouge_l": rouge_l,
    "lexical_cosine": lexical_cosine,
}
