"""REINFORCE over a distribution of graphs: how it is moved, how graphs are drawn from it, and the sampler.

All but `settings` needs torch.
"""
