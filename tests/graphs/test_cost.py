"""Golden values of the cost formulas of three papers, what they are sums of, and whole graphs on paper."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apportion.envs.rollout import NodeRun, Rollout
from apportion.evaluators.costs import costs
from apportion.graphs.cost import (
    COSTS,
    ModelCard,
    Rates,
    call_flops,
    call_latency_s,
    call_usd,
    decode_flops,
    eflops,
    node_flops,
    prefill_flops,
    samples_for,
    units,
    whole_samples_for,
)
from apportion.graphs.graph import Graph, Node
from apportion.graphs.paper import Length, Lengths, Measured, on_paper, refined
from apportion.store.calls import Draw
from tests.strategies import MODELS, STAGES, graphs

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
    total = sum(node_flops(card, prompt, completion, in_degree) for in_degree, card in enumerate(models))
    assert total / unit == pytest.approx(units, abs=0.051)


@pytest.mark.parametrize(("in_degrees", "last", "units"), [([0] * 8, 8, 25.8), ([0] + [1] * 7, 1, 16.9)])
def test_a_star_and_a_chain_in_units_of_math(in_degrees: list[int], last: int, units: float) -> None:
    prompt, completion, unit = TASKS["MATH"]
    total = sum(node_flops(CARDS["1B"], prompt, completion, in_degree) for in_degree in in_degrees)
    total += node_flops(CARDS["3B"], prompt, completion, last)
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


@pytest.mark.parametrize(
    ("billions", "prompt", "completion", "samples", "expected"),
    [
        (3, 128, 64, 1, 1),
        (3, 256, 64, 1, 3),
        (3, 256, 64, 10, 12),
        (3, 256, 64, 90, 92),
        (8, 256, 64, 1, 11.33),
        (8, 256, 64, 10, 35.3),
        (8, 256, 64, 90, 248.7),
        (70, 256, 64, 1, 114.67),
        (70, 256, 64, 5, 208),
        (70, 256, 64, 10, 324.7),
        (70, 256, 64, 90, 2191.3),
        (7, 2048, 128, 1, 77.3),
        (32, 2048, 128, 1, 360.7),
        (72, 2048, 128, 1, 814),
        (7, 2048, 128, 10, 119.3),
        (32, 2048, 128, 10, 552.7),
        (72, 2048, 128, 10, 1246),
        (7, 1024, 64, 1, 37.7),
        (72, 1024, 64, 1, 406),
        (8, 128, 64, 1, 6),
        (70, 128, 64, 1, 68),
        (8, 128, 64, 10, 30),
        (70, 1024, 64, 1, 394.67),
        (70, 1024, 256, 1, 464.67),
        (70, 1024, 2048, 1, 1118),
        (8, 1024, 64, 1, 43.33),
        (8, 1024, 256, 1, 51.33),
        (8, 1024, 2048, 1, 126),
        (70, 1024, 1024, 1, 744.67),
        (70, 1024, 512, 1, 558),
        (70, 1024, 256, 1, 464.67),
        (3, 1024, 1024, 1, 30),
        (3, 1024, 512, 1, 22),
        (3, 1024, 256, 1, 18),
    ],
)
def test_units_of_agenttts(billions: float, prompt: int, completion: int, samples: int, expected: float) -> None:
    """What the paper lists (arXiv 2508.00890, Table 5), to the digits that it prints or the formula gives."""
    assert units(billions * 1e9, prompt, completion, samples) == pytest.approx(expected, abs=0.05)


@pytest.mark.parametrize(
    ("largest", "smaller", "prompt", "completion", "samples"),
    [
        (72, 7, 2048, 128, 158.9),
        (72, 32, 2048, 128, 22.25),
        (70, 3, 256, 64, 112.7),
        (70, 8, 256, 64, 39.75),
        (70, 8, 1024, 256, 39.75),
        (70, 8, 1024, 2048, 12.63),
        (70, 3, 1024, 1024, 45.67),
    ],
)
def test_one_pass_of_the_largest_in_samples_of_a_smaller(
    largest: float, smaller: float, prompt: int, completion: int, samples: float
) -> None:
    """The initial trials of AgentTTS; by its exchange rate (M / m)·(r + 1) - r samples."""
    pays = units(largest * 1e9, prompt, completion, 1)
    ratio = prompt / completion
    assert samples_for(pays, smaller * 1e9, prompt, completion) == pytest.approx(samples, abs=0.06)
    assert samples_for(pays, smaller * 1e9, prompt, completion) == pytest.approx(
        largest / smaller * (ratio + 1) - ratio
    )
    assert whole_samples_for(pays, smaller * 1e9, prompt, completion) == int(samples)
    assert whole_samples_for(pays, largest * 1e9, prompt, completion) == 1


@given(st.floats(0.1, 1000), st.integers(0, 10_000), st.integers(1, 10_000), st.integers(1, 1000))
def test_units_pay_for_the_samples_that_cost_them(billions: float, prompt: int, completion: int, samples: int) -> None:
    spent = units(billions * 1e9, prompt, completion, samples)
    assert samples_for(spent, billions * 1e9, prompt, completion) == pytest.approx(samples, abs=1e-6)
    assert whole_samples_for(spent, billions * 1e9, prompt, completion) == samples


def test_units_below_one_pass_pay_for_nothing() -> None:
    assert samples_for(10.0, 70e9, 256, 64) < 0
    assert whole_samples_for(10.0, 70e9, 256, 64) == 0


KV = ModelCard("8B", 8.19e9, kv_elements_per_token=2 * 8 * 128 * 36, gqa_ratio=4)


def test_eflops_of_kinetics() -> None:
    assert eflops(KV, 512, 8192) == pytest.approx(3.2875e15, rel=5e-5)
    without_parameters = eflops(replace(KV, parameters=0.0), 512, 8192)
    assert without_parameters == pytest.approx(3.2875e15 - 1.34e14, rel=5e-4)
    assert decode_flops(ModelCard("8B", 8.19e9), 512, 8192) == pytest.approx(1.34e14, rel=5e-3)


@given(tokens, st.integers(1, 10_000), st.integers(1, 100))
def test_samples_share_the_traffic_of_their_prompt(prompt: int, completion: int, samples: int) -> None:
    one, many = eflops(KV, prompt, completion), eflops(KV, prompt, completion, samples)
    assert one is not None and many is not None
    shared = 562.5 * 2 * prompt * KV.kv_elements_per_token * completion
    assert many == pytest.approx(samples * (one - shared) + shared)


@pytest.mark.parametrize("card", [replace(KV, kv_elements_per_token=0), replace(KV, gqa_ratio=0)])
def test_eflops_of_a_card_without_its_cache_are_not_known(card: ModelCard) -> None:
    assert eflops(card, 512, 8192) is None


TRIO = {  # the models of `tests.strategies`
    "small": ModelCard("small", 1e9, 16, 2048, 0.1, 0.2, 4096, 2),
    "medium": ModelCard("medium", 3e9, 28, 3072, 0.3, 0.6, 8192, 4),
    "large": ModelCard("large", 8e9, 32, 4096, 0.8, 1.6, 16384, 4),
}
SPEEDS = {name: Rates(1000.0 / i, 100.0 / i, 4) for i, name in enumerate(TRIO, 1)}
counts = st.builds(Length, st.integers(1, 500), st.integers(1, 500))
by_stage = st.fixed_dictionaries({stage: counts for stage in STAGES}).map(
    lambda known: Lengths({(stage,): length for stage, length in known.items()})
)
KINDS = [(stage, role, model) for stage in STAGES for role in ("generator", "refiner", "scorer") for model in MODELS]


@st.composite
def lengths_of_kinds(draw: st.DrawFn) -> Lengths:
    """Lengths by stage, and finer ones here and there."""
    finer = draw(st.dictionaries(st.sampled_from([*KINDS, *(kind[:2] for kind in KINDS)]), counts, max_size=8))
    return Lengths({**draw(by_stage).known, **finer})


def known(graph: Graph, lengths: Lengths) -> dict[str, float]:
    """Costs on paper where nothing is unknown."""
    found = on_paper(graph, TRIO, lengths, SPEEDS)
    assert set(found) == set(COSTS)
    return {name: cost for name, cost in found.items() if cost is not None}


def rolled_out(graph: Graph, lengths: Lengths) -> Rollout:
    """The graph run by models that write as many tokens as expected."""
    texts: dict[str, list[float]] = {}
    runs: dict[str, NodeRun] = {}
    for node in graph.nodes:
        length = lengths.of(node)
        assert length is not None
        read = [tokens for source in graph.candidates(node) for tokens in texts[source.id]]
        chosen = node.role in ("voter", "scorer")
        texts[node.id] = [sum(read) / len(read)] if chosen else [length.completion_tokens] * node.samples
        prompts = [] if node.role == "voter" else [[tokens] for tokens in read] if node.role == "scorer" else [read]
        draws = [
            Draw(
                f"{node.stage} {node.role} {node.model} {node.inputs} {i}",
                sample,
                "ok",
                prompt_tokens=length.prompt_tokens + sum(held),  # type: ignore[arg-type]  # means may be fractions
                completion_tokens=length.completion_tokens,  # type: ignore[arg-type]
            )
            for i, held in enumerate(prompts)
            for sample in range(node.samples)
        ]
        runs[node.id] = NodeRun("ok", (), tuple(draws))
    return Rollout(graph, "1", "ok", "x", runs)


@given(graphs(), lengths_of_kinds())
def test_paper_says_what_is_counted_when_lengths_are_exact(graph: Graph, lengths: Lengths) -> None:
    rollout = rolled_out(graph, lengths)
    assert known(graph, lengths) == pytest.approx({name: cost(rollout) for name, cost in costs(TRIO, SPEEDS).items()})


@given(graphs(), by_stage, st.data())
def test_a_sample_more_never_costs_less(graph: Graph, lengths: Lengths, data: st.DataObject) -> None:
    fuller = [
        replace(node, samples=node.samples + 1)
        for node in graph.nodes
        if node.role == "scorer" or (node.role == "generator" and graph.stage_outputs[node.stage] is not node)
    ]
    if not fuller:
        return
    node = data.draw(st.sampled_from(fuller))
    more = Graph(tuple(node if other.id == node.id else other for other in graph.nodes))
    before, after = known(graph, lengths), known(more, lengths)
    assert all(after[name] >= cost for name, cost in before.items())
    assert after["calls"] > before["calls"] and after["usd"] > before["usd"]


@given(graphs(), by_stage, st.sampled_from(MODELS))
def test_a_node_more_never_costs_less(graph: Graph, lengths: Lengths, model: str) -> None:
    """At the end of the graph, and amid its first stage."""
    last = Node("more", graph.output.stage, "refiner", model, inputs=(graph.output.id,))
    before, longer = known(graph, lengths), known(Graph((*graph.nodes, last)), lengths)
    assert all(longer[name] > cost for name, cost in before.items())
    reader = next(node for node in graph.nodes if graph.stage_outputs[node.stage] is node)
    if reader.role != "generator":
        draft = Node("more", reader.stage, "generator", model)
        wider = Graph((draft, *(replace(n, inputs=(*n.inputs, "more")) if n is reader else n for n in graph.nodes)))
        after = known(wider, lengths)
        assert all(after[name] >= cost for name, cost in before.items())


@given(by_stage, st.lists(st.sampled_from(MODELS), min_size=2, max_size=5))
def test_seconds_of_a_chain_add_up_and_those_side_by_side_do_not(lengths: Lengths, models: list[str]) -> None:
    alone = [Node(f"n{i}", "find", "generator", model) for i, model in enumerate(models)]
    seconds = [known(Graph((node,)), lengths)["latency_s"] for node in alone]
    vote = Node("v", "find", "voter", inputs=tuple(node.id for node in alone))
    assert known(Graph((*alone, vote)), lengths)["latency_s"] == pytest.approx(max(seconds))
    length = lengths.known["find",]
    chain = [alone[0], *(replace(n, role="refiner", inputs=(f"n{i}",)) for i, n in enumerate(alone[1:]))]
    refining = [
        call_latency_s(SPEEDS[m], length.prompt_tokens + length.completion_tokens, length.completion_tokens)
        for m in models[1:]
    ]
    assert known(Graph(tuple(chain)), lengths)["latency_s"] == pytest.approx(seconds[0] + sum(refining))


DRAFTS = Node("d", "s", "generator", "small", 3)
STAGE = Lengths({("s",): Length(100, 20)})


@pytest.mark.parametrize(
    ("nodes", "calls", "prompt_tokens"),
    [
        ((Node("x", "s", "fuser", "large", 1, ("d",)),), 1, 100 + 3 * 20),
        ((Node("x", "s", "decider", "large", 1, ("d",)),), 1, 100 + 3 * 20),
        ((Node("x", "s", "scorer", "large", 2, ("d",)),), 6, 6 * (100 + 20)),
        ((Node("x", "s", "verifier", "large", 2, ("d",)),), 6, 6 * (100 + 20)),
        ((Node("x", "s", "ranker", "large", 2, ("d",)),), 2, 2 * (100 + 3 * 20)),
        ((Node("x", "s", "tester", "large", 2, ("d",)),), 2, 2 * 100),
        ((Node("x", "s", "voter", inputs=("d",)),), 0, 0),
        (
            (
                Node("c", "s", "critic", "small", 1, ("d",)),
                Node("x", "s", "refiner", "large", 1, ("c",)),
            ),
            4,
            3 * (100 + 20) + (100 + 3 * (20 + 20)),  # three drafts, each with its comment
        ),
        (
            (
                Node("r", "s", "ranker", "small", 1, ("d",), keep=2),
                Node("w", "s", "weighted_voter", inputs=("r",)),
                Node("x", "s", "refiner", "large", 1, ("r", "w")),
            ),
            2,
            (100 + 3 * 20) + (100 + 3 * 20),  # two that are kept and the one voted for
        ),
    ],
)
def test_how_a_role_calls_its_model(nodes: tuple[Node, ...], calls: int, prompt_tokens: int) -> None:
    found = known(Graph((DRAFTS, *nodes)), STAGE)
    assert found["calls"] == 3 + calls
    assert found["tokens"] == 3 * (100 + 20) + prompt_tokens + calls * 20


def test_comments_are_not_shown_to_roles_that_ignore_them() -> None:
    critic = Node("c", "s", "critic", "small", 1, ("d",))
    ranker = Node("r", "s", "ranker", "small", 1, ("c",), keep=2)
    scorer = Node("x", "s", "scorer", "small", 1, ("r",))
    found = known(Graph((DRAFTS, critic, ranker, scorer)), STAGE)
    assert found["tokens"] == 3 * 120 + 3 * 140 + (100 + 3 * 40 + 20) + 2 * 140


def test_two_nodes_that_ask_the_same_encode_it_once_but_pay_it_twice() -> None:
    twins = (Node("d", "s", "generator", "small"), Node("e", "s", "generator", "small"))
    warmer = (twins[0], replace(twins[1], temperature=1.5))
    vote = Node("v", "s", "voter", inputs=("d", "e"))
    same, other = known(Graph((*twins, vote)), STAGE), known(Graph((*warmer, vote)), STAGE)
    assert other["flops"] - same["flops"] == pytest.approx(prefill_flops(TRIO["small"], 100))
    assert other["usd"] == same["usd"] == pytest.approx(2 * (100 * 0.1 + 20 * 0.2) / 1e6)


def test_what_is_not_known_is_not_nothing() -> None:
    graph = Graph((DRAFTS, Node("x", "s", "fuser", "large", 1, ("d",))))
    assert on_paper(graph, TRIO, Lengths({}), SPEEDS) == {**dict.fromkeys(COSTS), "calls": 4.0}
    free: Mapping[str, ModelCard] = {**TRIO, "large": ModelCard("large", 8e9)}
    slow = {"small": SPEEDS["small"]}
    unknown = [name for name, cost in on_paper(graph, free, STAGE, slow).items() if cost is None]
    assert unknown == ["eflops", "usd", "latency_s"]


SEEN = (
    Measured()
    .plus("s", "generator", "small", 90, 10)
    .plus("s", "generator", "small", 110, 20)
    .plus("s", "generator", "large", 100, 60)
    .plus("s", "scorer", "large", 190, 2, read_tokens=40)
)


@pytest.mark.parametrize(
    ("node", "expected"),
    [
        (Node("x", "s", "generator", "small"), Length(100, 15)),
        (Node("x", "s", "generator", "large"), Length(100, 60)),
        (Node("x", "s", "generator", "medium"), Length(100, 30)),  # the role in this stage: every model's draws
        (Node("x", "s", "scorer", "small"), Length(150, 2)),
        (Node("x", "s", "fuser", "small"), Length(112.5, 23)),  # the stage: every role's draws
        (Node("x", "t", "generator", "small"), Length(7, 8)),  # the guess
        (Node("x", "u", "generator", "small"), None),
    ],
)
def test_means_take_the_place_of_guesses(node: Node, expected: Length | None) -> None:
    guess = Lengths({("s",): Length(1, 2), ("t",): Length(7, 8)})
    assert refined(guess, SEEN).of(node) == expected


def test_a_prompt_is_never_shorter_than_nothing() -> None:
    measured = Measured().plus("s", "refiner", "small", 50, 10, read_tokens=80)
    assert refined(STAGE, measured).of(Node("x", "s", "refiner", "small")) == Length(0, 10)


draws = st.tuples(st.sampled_from(KINDS), st.integers(0, 1000), st.integers(0, 1000), st.integers(0, 1000))


@given(st.lists(draws))
def test_counts_survive_json(seen: list[tuple[tuple[str, str, str], int, int, int]]) -> None:
    measured = Measured()
    for kind, prompt, completion, read in seen:
        measured = measured.plus(*kind, prompt, completion, read)
    assert Measured.from_dict(json.loads(json.dumps(measured.to_dict()))) == measured
    assert refined(STAGE, Measured()) == STAGE
