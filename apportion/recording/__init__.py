"""Recordings: what models once said, as one file that goes where the models do not, and searches on it.

`sampling` buys what a recording needs, `taking` makes the file of a run folder, `replaying` answers from it.
"""
