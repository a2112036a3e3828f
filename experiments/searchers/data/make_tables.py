"""Cuts the tables of this folder from the collection of recorded outcomes they were taken from. See README.md.

python experiments/searchers/data/make_tables.py COLLECTION
"""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd

HERE = Path(__file__).parent
HIGH_K = {"atn-highk_temp0.7-math500_cot": "math500", "atn-highk_temp0.7-human_eval_plus": "humaneval-plus"}
SAMPLE = ["dataset", "question_id", "stage", "model", "sample_index", "answer", "correct"]
FEWEST = 40  # questions of a category of reasoning_gym that every model answered


def main(source: Path) -> None:
    counts = pd.read_parquet(source / "allthenoises.counts.parquet")
    counts = counts[counts.dataset.isin(HIGH_K)].assign(dataset=lambda t: t.dataset.map(HIGH_K))
    write(counts, "high_k.parquet")
    prices(pd.read_csv(source / "allthenoises.models.csv"), "active_params_b", "high_k.prices.csv")

    crux = pd.read_parquet(source / "cruxeval.parquet", columns=SAMPLE)
    crux = crux.assign(dataset="cruxeval-" + crux.stage.astype(str), stage=None)
    crux["answer"] = numbered(crux)
    write(crux.drop(columns="stage"), "cruxeval.parquet")
    prices(pd.read_csv(source / "cruxeval.models.csv"), "params_b", "cruxeval.prices.csv")

    gym = pd.read_parquet(source / "reasoning_gym.parquet", columns=[*SAMPLE, "prompt_tokens", "completion_tokens"])
    gym = gym[gym.dataset == "reasoning-gym-easy"]
    asked = pd.read_parquet(source / "reasoning_gym.questions.parquet", columns=["dataset", "question_id", "category"])
    gym = gym.merge(asked, on=["dataset", "question_id"])
    drawn = gym.groupby(["category", "model", "question_id"]).size().unstack(fill_value=0)
    models = [m for m in gym.model.unique() if (gym[gym.model == m].groupby("question_id").size().median() >= 3)]
    keep = []
    for category, table in drawn.groupby(level="category"):
        rows = table.droplevel("category").reindex(models).fillna(0)
        whole = rows.columns[(rows >= 3).all()]
        if len(whole) >= FEWEST:
            keep.append(gym[(gym.category == category) & gym.question_id.isin(whole) & gym.model.isin(models)])
    gym = pd.concat(keep)
    gym = gym.assign(dataset="gym-" + gym.category)
    gym["answer"] = numbered(gym)
    write(gym.drop(columns=["stage", "category", "prompt_tokens", "completion_tokens"]), "reasoning_gym.parquet")
    listed = pd.read_csv(source / "reasoning_gym.models.csv").set_index("model")
    tokens = gym.groupby("model")[["prompt_tokens", "completion_tokens"]].mean().join(listed)
    usd = tokens.prompt_tokens * tokens.price_in_per_m + tokens.completion_tokens * tokens.price_out_per_m
    (usd / 1e3).rename("price").dropna().round(4).to_csv(HERE / "reasoning_gym.prices.csv")  # thousandths of a dollar

    pd.read_parquet(source / "codet.parquet").to_parquet(HERE / "codet.parquet", compression="zstd", index=False)
    matrix = pd.read_parquet(source / "codet.matrix.parquet")
    matrix.to_parquet(HERE / "codet.matrix.parquet", compression="zstd", index=False)

    rewards(source)


def rewards(source: Path) -> None:
    """Samples with the score that a reward model gave each."""
    rows = pd.read_parquet(source / "math100_rm.parquet", columns=[c for c in SAMPLE if c != "stage"])
    scores = pd.read_parquet(source / "math100_rm.scores.parquet").rename(columns={"rm_score": "score"})
    rows = rows.merge(scores.drop(columns="level"), on=["question_id", "sample_index"], validate="one_to_one")
    rows["answer"] = numbered(rows)
    write(rows, "math100_rm.parquet")


def numbered(rows: pd.DataFrame) -> pd.Series:
    """Answers as numbers by frequency, counted for each question: votes need no more."""
    counted = rows.groupby(["dataset", "question_id", "answer"]).size().rename("votes").reset_index()
    counted = counted.sort_values(["dataset", "question_id", "votes", "answer"], ascending=[True, True, False, True])
    counted["number"] = counted.groupby(["dataset", "question_id"]).cumcount().astype(str)
    merged = rows.merge(counted, on=["dataset", "question_id", "answer"], how="left")
    return pd.Series(merged["number"].to_numpy(), index=rows.index)


def write(table: pd.DataFrame, name: str) -> None:
    table = table.sort_values(["dataset", "model", "question_id"], kind="stable").reset_index(drop=True)
    table.to_parquet(HERE / name, compression="zstd", index=False)


def prices(models: pd.DataFrame, column: str, name: str) -> None:
    models = models[["model", column]].dropna().rename(columns={column: "price"})
    models.to_csv(HERE / name, index=False)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
