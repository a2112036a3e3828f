"""The first trials of AgentTTS, with the numbers of the paper's own budgets."""

from __future__ import annotations

import pytest

from apportion.agent.tts.allocation import Allocation, affordable
from apportion.agent.tts.initial import initial
from tests.agent.tts.kit import LLAMA, Subtask, Units, two_wiki

BIG_SMALL = {"8b": 8e9, "70b": 70e9}
TINY_BIG = {"3b": 3e9, "70b": 70e9}


def brief(allocation: Allocation) -> str:
    return ", ".join(f"{choice.model}x{choice.samples}" for choice in allocation.values())


def test_2wiki_at_1000_units() -> None:
    """7b: 158 samples, capped at 60; 32b: 22.25; 8b: 39.75; the largest model exactly one, though computed 0.999."""
    assert [brief(a) for a in initial(two_wiki())] == [
        "7bx60, 70bx1", "32bx22, 70bx1", "72bx1, 70bx1", "72bx1, 3bx60", "72bx1, 8bx39",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("lengths", "models", "budget", "small"),
    [
        ([(1024, 64), (1024, 256), (1024, 2048)], BIG_SMALL, 1978.0, [60, 39, 12]),
        ([(1024, 1024), (1024, 512), (1024, 256)], TINY_BIG, 1768.0, [45, 60, 60]),
    ],
    ids=["taskbench", "chatdev"],
)
def test_three_stages(
    lengths: list[tuple[int, int]], models: dict[str, float], budget: float, small: list[int]
) -> None:
    space = Units([Subtask(f"s{i}", models, *own) for i, own in enumerate(lengths)], budget)
    first, last = models
    largest = {f"s{i}": f"{last}x1" for i in range(3)}
    wanted = []
    for i, samples in enumerate(small):
        own = ", ".join((largest | {f"s{i}": f"{first}x{samples}"}).values())
        wanted += [own, ", ".join(largest.values())]
    assert [brief(a) for a in initial(space)] == list(dict.fromkeys(wanted))


@pytest.mark.parametrize("budget", [300.0, 500.0, 900.0, 2000.0])
def test_all_are_within_the_budget_and_none_twice(budget: float) -> None:
    space = two_wiki(budget)
    found = initial(space)
    assert found and all(affordable(space, allocation) for allocation in found)
    assert len({brief(allocation) for allocation in found}) == len(found)


def test_a_budget_below_the_largest_caps_what_its_stage_may_cost() -> None:
    """500 units leave 497 for the retrieval beside one pass of 3b: no 72b, and 32b only as often as that pays for."""
    found = [brief(allocation) for allocation in initial(two_wiki(500.0))]
    assert not any("72b" in own for own in found)
    assert "32bx7, 3bx1" in found


def test_a_model_that_cannot_pay_for_one_pass_is_left_out() -> None:
    assert not any("70b" in brief(allocation) for allocation in initial(two_wiki(160.0)))


def test_without_known_costs_every_model_has_its_fewest_samples() -> None:
    class Unknown(Units):
        def cost(self, allocation: Allocation) -> float | None:
            return None

    space = Unknown([Subtask("answer", LLAMA, 256, 64)], 10.0)
    assert [brief(allocation) for allocation in initial(space)] == ["3bx1", "8bx1", "70bx1"]


def test_of_many_models_some_stand_for_all() -> None:
    many = {f"{n}b": n * 1e9 for n in range(1, 42)}
    found = [brief(allocation) for allocation in initial(Units([Subtask("answer", many, 256, 64)], None))]
    assert [own.split("x")[0] for own in found] == ["1b", "14b", "28b", "41b"]
