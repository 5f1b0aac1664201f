"""An example that passes."""


def sorted_copy(values: list[int]) -> list[int]:
    """Sort."""
    return sorted(values)


assert sorted_copy([3, 1, 2]) == [1, 2, 3]
assert sorted_copy([]) == []
