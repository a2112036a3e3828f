"""What is stated of a lead is the share of samples in which it is near the best."""

from __future__ import annotations

import numpy as np

from apportion.search.allocator.stated import stated


def test_it_is_the_share_of_samples_within_one_percent_of_the_best() -> None:
    values = np.array([[0.5, 0.4, 0.5], [0.5, 0.505, 0.1], [0.5, 0.506, 0.1], [0.2, 0.9, 0.9]])
    assert [stated(values, leader) for leader in range(3)] == [0.5, 0.75, 0.5]


def test_one_configuration_is_surely_the_best_also_where_nothing_is_right() -> None:
    assert stated(np.zeros((5, 1)), 0) == 1.0
