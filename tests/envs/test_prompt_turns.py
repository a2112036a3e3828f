"""One prompt's requests follow one another in one slot."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apportion.envs.prompt_turns import PromptTurns


class Recorder:
    """Requests that take a few turns of the loop, and what ran when."""

    def __init__(self, slots: int) -> None:
        self.turns = PromptTurns(slots)
        self.running: list[int] = []
        self.order: list[int] = []
        self.most = 0

    async def request(self, prompt: int, steps: int = 2) -> None:
        async with self.turns.turn(prompt):
            assert prompt not in self.running
            self.running.append(prompt)
            self.order.append(prompt)
            self.most = max(self.most, len(self.running))
            for _ in range(steps):
                await asyncio.sleep(0)
            self.running.remove(prompt)


@given(st.integers(1, 4), st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=40))
def test_all_are_served_within_the_slots(slots: int, asked: list[tuple[int, int]]) -> None:
    async def run() -> Recorder:
        recorder = Recorder(slots)
        await asyncio.gather(*(recorder.request(prompt, steps) for prompt, steps in asked))
        return recorder

    recorder = asyncio.run(run())
    assert sorted(recorder.order) == sorted(prompt for prompt, _ in asked)
    assert recorder.most <= slots
    assert not recorder.turns._prompts


def test_a_prompt_keeps_its_slot_while_requests_for_it_wait() -> None:
    async def run() -> list[int]:
        recorder = Recorder(1)
        await asyncio.gather(*(recorder.request(prompt) for prompt in (7, 8, 7, 8, 7)))
        return recorder.order

    assert asyncio.run(run()) == [7, 7, 7, 8, 8]


def test_prompts_run_side_by_side() -> None:
    async def run() -> int:
        recorder = Recorder(3)
        await asyncio.gather(*(recorder.request(prompt) for prompt in range(9)))
        return recorder.most

    assert asyncio.run(run()) == 3


@pytest.mark.parametrize("victim", range(4))
def test_a_cancelled_request_frees_what_it_held(victim: int) -> None:
    async def run() -> list[int]:
        recorder = Recorder(1)
        tasks = [asyncio.create_task(recorder.request(prompt, 5)) for prompt in (1, 1, 2, 2)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        tasks[victim].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        async with asyncio.timeout(1):
            await recorder.request(3)
        assert not recorder.turns._prompts
        return recorder.order

    served = asyncio.run(run())
    assert served[-1] == 3
    assert len(served) >= 4
