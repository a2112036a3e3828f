"""Makes the *synthetic* tables and task files of this folder: no model has answered anything here. See ../README.md.

python experiments/agenttts/synthetic/make.py [FOLDER]

Each table has the shape of AgentTTS's 2WikiMultiHopQA: passages are selected by one of three models, and answered on by
one of three others. `obeys` has the three insights; each other table breaks one of them and keeps the rest as it is:
`breaks-1` has the largest model best at both stages, in `breaks-2` more samples always help, and in `breaks-3` a better
first stage makes the second want more samples, not fewer.

Prices are units of AgentTTS at the paper's token lengths: a sample costs what it adds, and the prompt, which all
samples of a stage share, is paid `once`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from apportion.graphs.cost import units

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1] / "searchers" / "data"))
from make_synthetic import FOUND, RIGHT, Skill, drawn, row, write  # noqa: E402

SEED = 20250803
QUESTIONS = 80
BUDGETS = (500, 900, 1000, 2000)  # of the paper's sensitivity analysis, ablation, code and sensitivity analysis
PARAMETERS = {"3b": 3e9, "7b": 7e9, "8b": 8e9, "32b": 32e9, "70b": 70e9, "72b": 72e9}
LENGTHS = {"select": (2048, 128), "answer": (256, 64)}  # prompt and completion tokens
SAMPLES = {"select": {"7b": 40, "32b": 20, "72b": 12}, "answer": {"3b": 60, "8b": 40, "70b": 16}}
# Units that a stage may spend, where one more sample of some model begins to fit.
LEVELS = (
    3, 4, 5, 7, 12, 17, 22, 32, 42, 52, 62, 78, 87, 96, 115, 139, 160, 208, 260, 325, 361, 404, 466, 553, 650, 766, 814,
    862, 910, 1006, 1150, 1342,
)  # fmt: skip

Finds = Mapping[str, tuple[float, float, float]]
Answers = Mapping[tuple[str, str], Skill]

FINDS: Finds = {"7b": (0.25, 0.35, 0.40), "32b": (0.42, 0.33, 0.25), "72b": (0.82, 0.12, 0.06)}
ANSWERS: Answers = {
    (model, text): skill
    for model, plain in {"3b": 0.50, "8b": 0.52, "70b": 0.56}.items()
    for text, skill in zip(
        FOUND,
        (Skill(plain, 0.45, 0.24, 0.92), Skill(plain / 2, 0.50, 0.16, 0.80), Skill(plain / 10 + 0.1, 0.0, 0.0, 0.0)),
        strict=True,
    )
}
LARGEST_BEST: Answers = ANSWERS | {
    ("3b", "all"): Skill(0.28, 0.60, 0.30, 0.80),
    ("3b", "part"): Skill(0.20, 0.60, 0.25, 0.70),
    ("8b", "all"): Skill(0.34, 0.55, 0.28, 0.85),
    ("8b", "part"): Skill(0.24, 0.55, 0.22, 0.75),
    ("70b", "all"): Skill(0.85, 0.15, 0.22, 0.95),
    ("70b", "part"): Skill(0.45, 0.40, 0.16, 0.85),
}
MORE_HELPS_FINDS: Finds = {"7b": (0.40, 0.32, 0.28), "32b": (0.46, 0.30, 0.24), "72b": (0.60, 0.24, 0.16)}
MORE_HELPS: Answers = {
    (model, text): Skill(plain, 0.0, 0.0, 0.0)
    for model, chances in {"3b": (0.24, 0.19, 0.15), "8b": (0.25, 0.20, 0.15), "70b": (0.30, 0.22, 0.16)}.items()
    for text, plain in zip(FOUND, chances, strict=True)
}
REVERSED: Answers = {
    (model, text): skill
    for model, plain in {"3b": 0.25, "8b": 0.26, "70b": 0.30}.items()
    for text, skill in zip(
        FOUND,
        (Skill(plain, 0.0, 0.0, 0.0), Skill(plain, 0.45, 0.16, 0.80), Skill(0.45, 0.70, 0.24, 0.85)),
        strict=True,
    )
}
TABLES: Mapping[str, tuple[str, Finds, Answers]] = {
    "obeys": ("obeys the three insights", FINDS, ANSWERS),
    "breaks-1": ("breaks insight 1: the largest model is best at both stages", FINDS, LARGEST_BEST),
    "breaks-2": ("breaks insight 2: more samples always help", MORE_HELPS_FINDS, MORE_HELPS),
    "breaks-3": ("breaks insight 3: a better first stage wants more samples later", FINDS, REVERSED),
}


def main(folder: Path) -> None:
    for number, (name, (words, finds, answers)) in enumerate(TABLES.items()):
        write(folder / f"{name}.parquet", table(finds, answers, np.random.default_rng([SEED, number])))
        for budget in BUDGETS:
            (folder / f"{name}-{budget}.yaml").write_text(task(name, words, budget), encoding="utf-8")


def table(finds: Finds, answers: Answers, rng: np.random.Generator) -> Iterator[dict[str, object]]:
    ease, luck = rng.normal(0.0, 0.25, QUESTIONS), rng.random(QUESTIONS)
    for question in range(QUESTIONS):
        for model, chances in finds.items():
            odds = np.array(chances) * np.exp(ease[question] * np.array([2.0, 0.0, -2.0]))
            found = rng.choice(len(FOUND), p=odds / odds.sum(), size=SAMPLES["select"][model])
            for index, number in enumerate(found.tolist()):
                yield row("synthetic", question, "select", model, index, FOUND[number], right=None, read="{}")
        for (model, text), skill in answers.items():
            said = drawn(skill, ease[question], luck[question], SAMPLES["answer"][model], rng)
            read = json.dumps({"select": text})
            for index, answer in enumerate(said.tolist()):
                yield row("synthetic", question, "answer", model, index, str(answer), right=answer == RIGHT, read=read)


def task(name: str, words: str, budget: int) -> str:
    shares = ", ".join(f"{level / budget:.6g}" for level in LEVELS if level <= budget)
    lines = [
        f"# Synthetic, no model has answered anything: a table that {words}.",
        f"# Prices are units of AgentTTS, of which an answer may cost {budget}. Made by make.py.",
        f"name: synthetic-{name}-{budget}",
        "search: 50",
        f"budget: {budget}",
        f"shares: [{shares}]",
        "chain: true",
        "stages:",
    ]
    for stage, models in SAMPLES.items():
        lines += [f"  {stage}:", f"    data: {name}.parquet"]
        first = {model: units(PARAMETERS[model], *LENGTHS[stage], 0) for model in models}
        each = {model: units(PARAMETERS[model], *LENGTHS[stage], 1) - once for model, once in first.items()}
        lines += [f"    prices: {_listed(each)}", f"    once: {_listed(first)}", "    select: [majority]"]
    return "\n".join(lines) + "\n"


def _listed(prices: Mapping[str, float]) -> str:
    return "{" + ", ".join(f"synthetic-{model}: {price:.8g}" for model, price in prices.items()) + "}"


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE)
