"""An example that a test fails."""


def sorted_copy(values: list[int]) -> list[int]:
    """Sort nothing."""
    return values


assert sorted_copy([3, 1, 2]) == [1, 2, 3]
assert sorted_copy([]) == []
