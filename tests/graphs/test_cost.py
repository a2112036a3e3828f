"""Golden FLOPs of the released budget code of arXiv 2511.00086, and what the formulas are sums of."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apportion.graphs.cost import ModelCard, Rates, call_flops, call_latency_s, call_usd, decode_flops, prefill_flops

CARDS = {
    "1B": ModelCard("1B", 1e9, 16, 2048),
    "3B": ModelCard("3B", 3e9, 28, 3072),
    "8B": ModelCard("8B", 8e9, 32, 4096),
    "70B": ModelCard("70B", 7e10, 80, 8192),
}
TASKS = {  # mean prompt tokens, mean completion tokens, FLOPs of the task's unit
    "MATH": (202, 275, 9.71e11),
    "MMLU": (213, 215, 8.68e11),
    "HumanEval": (180, 115, 5.957e11),
}
tokens = st.integers(0, 10_000)


@pytest.mark.parametrize("task", TASKS)
def test_one_small_call_is_one_unit(task: str) -> None:
    prompt, completion, unit = TASKS[task]
    assert call_flops(CARDS["1B"], prompt, completion) == pytest.approx(unit, rel=2.5e-3)


@pytest.mark.parametrize(("model", "units"), [("1B", 0.998), ("3B", 2.988), ("8B", 7.92), ("70B", 69.08)])
def test_one_call_in_units_of_math(model: str, units: float) -> None:
    prompt, completion, unit = TASKS["MATH"]
    assert call_flops(CARDS[model], prompt, completion) / unit == pytest.approx(units, rel=5e-4)


@pytest.mark.parametrize(
    ("task", "width", "units"),
    [
        ("MATH", 4, 17.8),
        ("MATH", 8, 42.9),
        ("MATH", 12, 79.0),
        ("MMLU", 4, 16.3),
        ("MMLU", 8, 38.5),
        ("MMLU", 12, 70.0),
        ("HumanEval", 4, 14.2),
        ("HumanEval", 8, 31.9),
        ("HumanEval", 12, 56.4),
    ],
)
def test_a_complete_graph_in_units(task: str, width: int, units: float) -> None:
    """`width` nodes of 1B, each of which reads all before it, and a last one of 3B that reads them all."""
    prompt, completion, unit = TASKS[task]
    models = [CARDS["1B"]] * width + [CARDS["3B"]]
    total = sum(call_flops(card, prompt + read * completion, completion) for read, card in enumerate(models))
    assert total / unit == pytest.approx(units, abs=0.051)


@given(st.sampled_from(list(CARDS.values())), tokens, tokens)
def test_a_token_costs_the_same_whether_read_or_written(card: ModelCard, prompt: int, completion: int) -> None:
    """Both formulas sum 2M + 4LD·position over positions, so a call costs what reading all its tokens would."""
    assert call_flops(card, prompt, completion) == pytest.approx(prefill_flops(card, prompt + completion))
    assert decode_flops(card, 0, completion) == pytest.approx(prefill_flops(card, completion))


@given(tokens, tokens)
def test_without_layers_a_token_costs_two_flops_a_parameter(prompt: int, completion: int) -> None:
    assert call_flops(ModelCard("m", 7e9), prompt, completion) == pytest.approx(2 * 7e9 * (prompt + completion))


def test_usd() -> None:
    card = ModelCard("m", 1e9, prompt_usd_per_mtok=0.5, completion_usd_per_mtok=2.0)
    assert card.priced and call_usd(card, 2_000_000, 500_000) == pytest.approx(2.0)
    free = ModelCard("m", 1e9, prompt_usd_per_mtok=0.0, completion_usd_per_mtok=0.0)
    assert free.priced and call_usd(free, 10, 10) == 0.0


@pytest.mark.parametrize("prices", [(None, None), (None, 1.0), (1.0, None)])
def test_an_unknown_price_is_not_nothing(prices: tuple[float | None, float | None]) -> None:
    card = ModelCard("m", 1e9, 0, 0, *prices)
    assert not card.priced and call_usd(card, 10, 10) is None


def test_latency() -> None:
    assert call_latency_s(Rates(1000.0, 50.0, 4), 500, 100) == pytest.approx(2.5)
