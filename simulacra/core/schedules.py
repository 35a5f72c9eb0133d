"""Numbers that change with the step: learning rates, noise, weights of losses."""

from typing import Annotated

from msgspec import Meta

NonNegative = Annotated[float, Meta(ge=0)]
Points = Annotated[tuple[tuple[Annotated[int, Meta(ge=0)], NonNegative], ...], Meta(min_length=1)]
Schedule = NonNegative | Points
"""A number, or (step, value) points: constant before the first and after the last, linear in
between. Two points at the same step are a jump."""


def value_at(schedule: Schedule, k: int) -> float:
    """The schedule's value at step k."""
    if isinstance(schedule, (int, float)):
        return float(schedule)
    before = [point for point in schedule if point[0] <= k]
    after = [point for point in schedule if point[0] > k]
    if not before or not after:
        return float(before[-1][1] if before else after[0][1])
    (k0, v0), (k1, v1) = before[-1], after[0]
    return v0 + (v1 - v0) * (k - k0) / (k1 - k0)
