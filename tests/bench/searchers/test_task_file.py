"""A task file is read as it was written, or refused with the place that is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from apportion.bench.searchers.task_file import digest, load
from apportion.envs.replay.composed import Composed
from apportion.errors import RecordedError

pytest.importorskip("pyarrow")

TASK = """\
name: small
search: 2
trials: 3
budget: 4
shares: [0.25, 0.5]
combine: mean
stages:
  solve:
    data: counts.csv
    prices: prices.csv
  vote:
    data: samples.csv
    dataset: d
    stage: s
    models: [n, m]
    prices: {m: 2, n: 0.5}
    select: [majority, {completeness: 0.9, soundness: 0.8}]
    most: 2
"""
COUNTS = """\
dataset,question_id,model,n_samples,n_correct
c,a,large,4,3
c,b,large,4,4
c,a,small,4,1
c,b,small,3,0
c,a,partial,4,4
c,a,unpriced,4,4
c,b,unpriced,4,4
"""
PRICES = "model,price\nsmall,0.5\nlarge,1\npartial,1\nabsent,1\n"
SAMPLES = "dataset,question_id,stage,model,sample_index,answer,correct\n" + "".join(
    f"{d},{q},s,{m},{i},{i % 2},{str(i == 0).lower()}\n" for d in "de" for q in "xyz" for m in "mn" for i in range(3)
)


def write(folder: Path, **texts: str) -> Path:
    """A task and its tables, some of them others than the good ones."""
    good = {"task": TASK, "counts": COUNTS, "samples": SAMPLES, "prices": PRICES}
    for name, text in (good | texts).items():
        (folder / f"{name}{'.yaml' if name == 'task' else '.csv'}").write_text(text, encoding="utf-8")
    return folder / "task.yaml"


def test_a_good_file(tmp_path: Path) -> None:
    task = load(write(tmp_path))
    assert isinstance(task, Composed)
    assert (task.name, task.search, task.trials, task.budget, task.combine) == ("small", 2, 3, 4.0, "mean")
    solve, vote = task.stages
    assert (solve.name, vote.name) == ("solve", "vote")
    assert dict(zip(solve.models, solve.prices, strict=True)) == {"large": 1.0, "small": 0.5}, "priced and complete"
    assert {(solve.models[o.arm], o.n) for o in solve.options} == {
        ("large", 1),
        ("large", 2),
        ("small", 2),
        ("small", 3),
    }
    assert (vote.models, vote.prices.tolist()) == (("n", "m"), [0.5, 2.0])
    assert [rule.name for rule in solve.rules] == ["any_correct"]
    assert [rule.name for rule in vote.rules] == ["majority", "verified(0.9, 0.8)"]
    assert {(vote.models[o.arm], o.n) for o in vote.options} == {("n", 2), ("m", 1)}, "most bounds the draws"
    assert vote.recorded.dataset == "d" and len(vote.recorded.questions) == 3
    assert len(task.truth) == len(task.configurations) == 4 * 4


def test_what_need_not_be_said(tmp_path: Path) -> None:
    text = "name: t\nsearch: 2\nbudget: 1\nshares: [1]\nstages: {s: {data: counts.csv, prices: {large: 1}}}\n"
    task = load(write(tmp_path, task=text))
    assert isinstance(task, Composed)
    assert (task.trials, task.combine, task.stages[0].models) == (60, "all", ("large",))
    assert task.truth.tolist() == [7 / 8]


def test_models_with_too_few_draws_take_no_part(tmp_path: Path) -> None:
    task = load(write(tmp_path, task=TASK.replace("prices.csv", "prices.csv\n    fewest: 4")))
    assert task.stages[0].models == ("large",)


MIXTURE = """\
name: mixture
search: 2
budget: 4
shares: [0.5, 1]
combine: any
stages:
  one: {data: samples.csv, dataset: d, stage: s, prices: {m: 2}}
  two: {data: samples.csv, dataset: d, stage: s, prices: {n: 1}, select: [majority]}
"""


def test_a_mixture_of_models_on_one_question(tmp_path: Path) -> None:
    task = load(write(tmp_path, task=MIXTURE))
    assert isinstance(task, Composed) and task.shared
    assert [[o.n for o in own.options] for own in task.stages] == [[0, 1, 2], [0, 2, 3]]
    assert task.calls(task.configurations).tolist() == [2, 3, 1, 3, 2]
    # Of three samples the first is right, and the third is wrong with the same answer.
    assert task.truth.tolist() == pytest.approx([1 / 3, 1 / 2, 1 / 3, 5 / 9, 2 / 3])


@pytest.mark.parametrize("rule", ["best_scored", "weighted"])
def test_rules_that_go_by_scores(tmp_path: Path, rule: str) -> None:
    text = TASK.replace("select: [majority, {completeness: 0.9, soundness: 0.8}]", f"select: [{rule}]")
    with pytest.raises(
        RecordedError, match=f"'d' must hold a score of every draw for {rule}, but lacks one of 'n' for"
    ):
        load(write(tmp_path, task=text))
    scored = SAMPLES.replace("answer,correct\n", "answer,correct,score\n").replace("true\n", "true,2\n")
    task = load(write(tmp_path, task=text, samples=scored.replace("false\n", "false,0.5\n")))
    assert task.stages[1].rules[0].name == rule
    # Two of three draws hold the right one in two cases of three; in one of them a wrong one has its answer.
    expected = 2 / 3 if rule == "best_scored" else 1 / 2
    assert isinstance(task, Composed) and task.expected[1].max() == pytest.approx(expected)


WRONG_MIXTURES = {
    "a model twice": ("prices: {n: 1}", "prices: {m: 1}", "must stand in one of them, but 'm' stands in 'two' again"),
    "other questions": (
        "two: {data: samples.csv, dataset: d, stage: s, prices: {n: 1}",
        "two: {data: counts.csv, prices: {large: 1}",
        "must be asked the same questions, but 'one' and 'two' have tables with others",
    ),
    "another dataset": ("dataset: d, stage: s, prices: {n", "dataset: e, stage: s, prices: {n", "the same questions"),
}


@pytest.mark.parametrize("name", WRONG_MIXTURES)
def test_a_wrong_mixture_is_refused(tmp_path: Path, name: str) -> None:
    old, new, said = WRONG_MIXTURES[name]
    assert MIXTURE.count(old) == 1
    text = MIXTURE.replace(old, new).replace("select: [majority]", "most: 2")
    with pytest.raises(RecordedError, match=said):
        load(write(tmp_path, task=text))


# What is replaced in the task file, by what, and what is said of it.
WRONG_FILES: dict[str, tuple[str, str, str]] = {
    "an unknown key": ("trials: 3", "trails: 3", r"task\.yaml:3: trails: Extra inputs are not permitted, got 3"),
    "an unknown key of a stage": ("most: 2", "least: 2", r"task\.yaml:18: stages\.vote\.least: Extra inputs"),
    "no name": ("name: small\n", "", "name: Field required; mend it"),
    "no data": ("    data: counts.csv\n", "", r"task\.yaml:8: stages\.solve\.data: Field required; mend it"),
    "no table": ("counts.csv", "none.csv", r"none\.csv must be a table, but"),
    "no prices": ("prices.csv", "none.csv", r"none\.csv must be a CSV file with columns model and price, but"),
    "an unknown dataset": ("dataset: d", "dataset: f", r"the dataset must be one of d, e in .*samples\.csv, got 'f'"),
    "no dataset of two": ("    dataset: d\n", "", r"one dataset must be named of .*samples\.csv, which has d, e"),
    "an unknown stage": ("stage: s\n", "stage: t\n", "'d' must hold every model of stage 't', but lacks 'n'"),
    "a stage of nobody": (
        "prices: prices.csv",
        "prices: prices.csv\n    stage: t",
        r"counts\.csv must hold a model of stage 't' with a price and 1 draws .*; mend stage",
    ),
    "too many wanted": ("prices: prices.csv", "prices: prices.csv\n    fewest: 5", "with a price and 5 draws"),
    "an unknown model": (
        "[n, m]\n    prices: {",
        "[n, k]\n    prices: {k: 1, ",
        "'d' must hold every model of stage 's', but lacks 'k'; it has m, n",
    ),
    "a model without price": ("[n, m]", "[n, m, k]", "every model must have a price, but 'k' has none in .*; add it"),
    "a priced model that is not in the table": (
        "prices: prices.csv",
        "prices: {large: 1, lagre: 2}",
        r"every model with a price must have 1 draws of each question in counts\.csv, .*, but 'lagre' has not; mend",
    ),
    "nobody has a price": ("prices: prices.csv", "prices: {}", r"counts\.csv must hold a model .* with a price"),
    "price 0": ("m: 2,", "m: 0,", r"task\.yaml:16: stages\.vote\.prices\.m: .* greater than 0, got 0"),
    "a price that is no number": ("m: 2,", "m: .nan,", r"stages\.vote\.prices\.m: .*got nan"),
    "a price without end": ("m: 2,", "m: .inf,", r"stages\.vote\.prices\.m: .*got inf"),
    "a price of words": ("m: 2,", "m: cheap,", r"stages\.vote\.prices\.m: .*got 'cheap'"),
    "shares that descend": ("[0.25, 0.5]", "[0.5, 0.25]", "top level: shares must ascend; sort them"),
    "a share twice": ("[0.25, 0.5]", "[0.5, 0.5]", "shares must ascend"),
    "no share": ("[0.25, 0.5]", "[]", r"shares: .*at least 1"),
    "a share above 1": ("[0.25, 0.5]", "[0.25, 1.5]", r"shares\.1: .*less than or equal to 1, got 1\.5"),
    "a share that is none": ("[0.25, 0.5]", "[0.25, .nan]", r"shares\.1: .*got nan"),
    "share 0": ("[0.25, 0.5]", "[0, 0.5]", r"shares\.0: .*greater than 0, got 0"),
    "budget 0": ("budget: 4", "budget: 0", r"task\.yaml:4: budget: .*greater than 0, got 0"),
    "a budget that is none": ("budget: 4", "budget: .nan", r"budget: .*got nan"),
    "a budget without end": ("budget: 4", "budget: .inf", r"budget: .*finite number, got inf"),
    "a budget that buys nothing": ("budget: 4", "budget: 0.5", "must cost at most 0.25, but the cheapest costs 0.5"),
    "one example": ("search: 2", "search: 1", r"search: .*greater than or equal to 2, got 1"),
    "half an example": ("search: 2", "search: 2.5", r"search: .*got 2\.5"),
    "no trial": ("trials: 3", "trials: 0", r"trials: .*got 0"),
    "combined in no known way": (
        "combine: mean",
        "combine: most",
        r"combine: must be .*, got 'most'; use one of all, mean, any$",
    ),
    "an unknown rule": ("[majority,", "[best,", r"stages\.vote\.select\.0: must be .*, got 'best'; use one of any_c"),
    "a rule misspelt": (
        "[majority,",
        "[majorty,",
        r"^[^\n]*task\.yaml:17: stages\.vote\.select\.0: must be a name that is known here, got 'majorty'; "
        r"did you mean 'majority'\?$",
    ),
    "a rule that is a number": ("[majority,", "[3,", r"^[^\n]*select\.0: must be a name .*, got 3; use.*$"),
    "prices that are a number": (
        "prices: prices.csv",
        "prices: 3",
        r"^[^\n]*solve\.prices: .*valid string, got 3; mend it\.$",
    ),
    "more examples than questions": (
        "search: 2",
        "search: 3",
        "`search` must be at most the 2 questions of the smallest table, got 3; lower it",
    ),
    "no rule": ("[majority, {completeness: 0.9, soundness: 0.8}]", "[]", r"stages\.vote\.select: .*at least 1"),
    "a rule twice": ("[majority,", "[majority, majority,", r"task\.yaml:11: stages\.vote: each of select must"),
    "a model twice": ("[n, m]", "[n, m, n]", r"stages\.vote: each of models must stand once"),
    "a certain verifier": ("soundness: 0.8", "soundness: 2", r"select\.1\.soundness: .*equal to 1, got 2"),
    "a verifier that is none": ("soundness: 0.8", "soundness: .nan", r"select\.1\.soundness: .*got nan"),
    "half a verifier": (", soundness: 0.8", "", r"select\.1\.soundness: Field required"),
    "no draws": ("most: 2", "most: 0", r"stages\.vote\.most: .*got 0"),
    "a missing cell": (
        "prices: prices.csv",
        "prices: prices.csv\n    models: [partial]",
        "'c' must hold 1 samples of 'partial' for each question, but has 0 for 'b'",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG_FILES)
def test_a_wrong_file_is_refused(tmp_path: Path, name: str) -> None:
    old, new, said = WRONG_FILES[name]
    assert TASK.count(old) == 1
    with pytest.raises(RecordedError, match=said):
        load(write(tmp_path, task=TASK.replace(old, new)))


WRONG_TEXTS: dict[str, tuple[str, str]] = {
    "a list": ("- 1\n- 2\n", r"task\.yaml:1: top level: .*valid dictionary"),
    "nothing": ("", r"task\.yaml:1: top level: .*valid dictionary .*got None"),
    "no YAML": ("name: [1\n", r"task\.yaml:2: YAML: "),
    "a key twice": (TASK + "name: again\n", r"task\.yaml:19: .*name"),
    "no stages": (TASK[: TASK.index("stages:")] + "stages: {}\n", r"task\.yaml:7: stages: .*at least 1 item"),
    "stages of nothing": (TASK[: TASK.index("stages:")] + "stages:\n  s:\n", r"task\.yaml:8: stages\.s: .*got None"),
}


@pytest.mark.parametrize("name", WRONG_TEXTS)
def test_what_is_no_task_is_refused(tmp_path: Path, name: str) -> None:
    text, said = WRONG_TEXTS[name]
    with pytest.raises(RecordedError, match=said):
        load(write(tmp_path, task=text))


def test_every_mistake_is_named_on_a_line_of_its_own(tmp_path: Path) -> None:
    text = TASK.replace("trials: 3", "trials: 0").replace("budget: 4", "budget: 0")
    with pytest.raises(RecordedError) as error:
        load(write(tmp_path, task=text))
    assert [line.split(": ")[1] for line in str(error.value).splitlines()] == ["trials", "budget"]


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    for path in (tmp_path / "none.yaml", tmp_path):
        with pytest.raises(RecordedError, match=r"must be a readable task file, but .*; mend the path"):
            load(path)


WRONG_TABLES: dict[str, tuple[str, str, str]] = {
    "no draws": ("counts", "c,b,small,0,0", r"`n_samples` must be 1 or more, got 0 in row 4 of .*counts\.csv"),
    "more right than drawn": ("counts", "c,b,small,3,4", "`n_correct` must not be above `n_samples`, got 4 in row 4"),
    "a count twice": (
        "counts",
        "c,b,small,3,0\nc,b,small,3,0",
        "must stand once in row 5 of .*question_id b, model small",
    ),
    "price 0": ("prices", "large,0", r"a price must be above 0, got '0' for 'large' in row 2 of .*prices\.csv"),
    "a price below 0": ("prices", "large,-1", "got '-1' for 'large' in row 2"),
    "a price that is none": ("prices", "large,nan", "got 'nan' for 'large' in row 2"),
    "a price without end": ("prices", "large,inf", "got 'inf' for 'large' in row 2"),
    "a price of words": ("prices", "large,dear", "got 'dear' for 'large' in row 2"),
    "an empty price": ("prices", "large,", "got '' for 'large' in row 2"),
    "a short row": ("prices", "large", "got None for 'large' in row 2"),
    "two prices": (
        "prices",
        "large,1\nlarge,2",
        "a model must stand once, got 'large' again in row 3 of .*; strike one",
    ),
    "no answers": ("samples", "", "'d' must hold answers for a vote, but has none; choose any_correct"),
}
REPLACED = {"counts": "c,b,small,3,0", "prices": "large,1"}


@pytest.mark.parametrize("name", WRONG_TABLES)
def test_a_wrong_table_is_refused(tmp_path: Path, name: str) -> None:
    table, row, said = WRONG_TABLES[name]
    good = {"counts": COUNTS, "prices": PRICES, "samples": SAMPLES}[table]
    text = good.replace(REPLACED[table], row) if row else good.replace("answer", "said")
    assert text != good
    with pytest.raises(RecordedError, match=said):
        _ = load(write(tmp_path, **{table: text})).truth


def test_one_mistake_is_one_error(tmp_path: Path) -> None:
    with pytest.raises(RecordedError, match="did you mean 'any_correct'") as error:
        load(write(tmp_path, task=TASK.replace("data: counts.csv", "data: counts.csv\n    select: [anycorrect]")))
    assert "\n" not in str(error.value)


def test_the_same_sample_twice(tmp_path: Path) -> None:
    with pytest.raises(RecordedError, match=r"must stand once, got 2 in row 37 of .*samples\.csv"):
        load(write(tmp_path, samples=SAMPLES + "d,x,s,m,2,0,true\n"))


def test_prices_without_their_column(tmp_path: Path) -> None:
    with pytest.raises(
        RecordedError, match=r"prices\.csv must be a CSV file with columns model and price, but: 'price'"
    ):
        load(write(tmp_path, prices=PRICES.replace("price", "cost")))


def test_a_digest_is_of_the_file_and_of_all_that_it_names(tmp_path: Path) -> None:
    path = write(tmp_path)
    known = {digest(path)}
    assert digest(path) in known
    for changed in (
        {"task": TASK + "\n"},
        {"counts": COUNTS + "\n"},
        {"samples": SAMPLES + "\n"},
        {"prices": PRICES + "\n"},
    ):
        assert digest(write(tmp_path, **changed)) not in known
        known.add(digest(path))
    assert len(known) == 5
    (tmp_path / "another.csv").write_text("1", encoding="utf-8")
    assert digest(write(tmp_path)) in known


def test_no_digest_of_what_is_no_task(tmp_path: Path) -> None:
    with pytest.raises(RecordedError, match=r"task\.yaml:3: trails: Extra inputs"):
        digest(write(tmp_path, task=TASK.replace("trials", "trails")))
    with pytest.raises(RecordedError, match="must be a readable task file"):
        digest(tmp_path / "none.yaml")
