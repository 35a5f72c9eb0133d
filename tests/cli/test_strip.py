"""Confidence over time as a line of text."""

import pytest

from simulacra.cli.strip import ruler, strip


def test_a_character_a_frame() -> None:
    values = [1.0, 0.99, 0.5, 0.13, 0.0, 0.7]
    assert strip(values, [5], 80, "utf-8") == "██▅▂▁-"
    assert strip(values, [5], 80, "ascii") == strip(values, [5], 80, "none") == "99510-"
    assert ruler(6, 80) == "0    5" and ruler(1, 80) == "0"


@pytest.mark.parametrize("frames", [79, 81, 600])
def test_at_most_the_width_and_the_least_of_several_frames(frames: int) -> None:
    values = [1.0] * frames
    values[41] = 0.0
    found = strip(values, [], 80, "utf-8")
    assert len(found) == min(frames, 80) == len(ruler(frames, 80)) and found.count("▁") == 1
    assert ruler(frames, 80).endswith(str(frames - 1))
