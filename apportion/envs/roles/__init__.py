"""What each role does: one module and one prompt a role, and the door for roles of the user's own.

An operator gets the texts that reach a node and gives the texts that leave it. Texts that are cut off, refused or
failed are not candidates. A node that gets none ends with the status of what it lacks, and nothing after it is run.
What a role needs and gives is data in `apportion.graphs.roles`.
"""

from __future__ import annotations

import inspect

from apportion.envs.roles import prompts
from apportion.envs.roles.critic import criticise
from apportion.envs.roles.decider import decide
from apportion.envs.roles.fuser import fuse
from apportion.envs.roles.generator import generate
from apportion.envs.roles.id_voter import vote_ids
from apportion.envs.roles.job import Buy, Job, Operator
from apportion.envs.roles.ranker import rank
from apportion.envs.roles.refiner import refine
from apportion.envs.roles.scorer import score
from apportion.envs.roles.tester import unit_test
from apportion.envs.roles.verifier import verify
from apportion.envs.roles.voter import vote
from apportion.envs.roles.weighted_voter import vote_by_score
from apportion.envs.rollout import Candidate, NodeRun
from apportion.errors import GraphError
from apportion.graphs import roles
from apportion.graphs.roles import Role

__all__ = ["OPERATORS", "Buy", "Candidate", "Job", "NodeRun", "Operator", "Role", "add_role"]

OPERATORS: dict[str, Operator] = {
    "generator": generate,
    "refiner": refine,
    "fuser": fuse,
    "decider": decide,
    "critic": criticise,
    "ranker": rank,
    "scorer": score,
    "verifier": verify,
    "tester": unit_test,
    "voter": vote,
    "id_voter": vote_ids,
    "weighted_voter": vote_by_score,
}
"""Every operator by the name of its role."""


def add_role(name: str, role: Role, operator: Operator, prompt: str | None = None) -> None:
    """Make a role of your own known, for graphs and for running them. The same one may be added again.

    Args:
        name: a plain lower-case word.
        role: what it needs and gives.
        operator: what it does.
        prompt: template of `{task}` and `{candidates}` for an operator that calls `Job.dressed`.

    Raises:
        GraphError: it is no role or no coroutine function, the name is taken by a different role, or the prompt cannot
            be filled in.
    """
    if not isinstance(role, Role) or not inspect.iscoroutinefunction(operator):
        text = f"a role must be a Role with an `async def`, but {name!r} has {str(role)[:40]} and {str(operator)[:40]}"
        raise GraphError(f"{text}; mend it.")
    known = OPERATORS.get(name)
    if known is not None and (_place(known), prompts.added.get(name)) != (_place(operator), prompt):
        raise GraphError(f"a role is added once, but {name!r} is there and does something else; choose another name.")
    if prompt is not None:
        prompts.check(name, prompt)
    roles.add(name, role)
    OPERATORS[name] = operator
    if prompt is not None:
        prompts.added[name] = prompt


def _place(operator: Operator) -> tuple[str, str]:
    """Where an operator is defined: a notebook's cell that is run again defines the same one."""
    return operator.__module__, operator.__qualname__
