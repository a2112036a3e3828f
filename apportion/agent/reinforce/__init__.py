"""Agent-REINFORCE (arXiv 2511.00086): an agent and gradients move one distribution over collaboration graphs."""
