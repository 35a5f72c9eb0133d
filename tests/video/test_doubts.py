"""What is doubtful of masks, and which frame's mask would help most: rules, by hand."""

import numpy as np
import pytest
import torch

from simulacra.video.doubts import (
    HALF,
    Seen,
    Watch,
    advised,
    doubts,
    gains,
    of_clip,
    without,
)

T = 8


def seen(
    area: list[float], apart: list[float] | None = None, confidence: list[float] | None = None
) -> Seen:
    """Of one object."""
    count = len(area)
    columns = area, apart or [0.0] * count, confidence or [0.9] * count
    return Seen(*(np.array(one, float)[:, None] for one in columns))


def told(found: Seen, given: tuple[int, ...] = (0,)) -> list[tuple[str, list[int]]]:
    return [(one.kind, one.frames) for one in doubts(found, [1], given)]


def test_an_object_that_is_lost_is_named_from_which_frame_to_which() -> None:
    found = seen([100, 100, 0, 0, 0, 90, 100, 0])
    assert told(found) == [("lost", [2, 3, 4]), ("lost", [7])]
    assert doubts(found, [1], [0])[0].text == "frames 2 to 4: the object is not found"
    assert told(found, (0, 3)) == [("lost", [7])], "a mask of frame 3 says that it is not there"


@pytest.mark.parametrize(
    ("after", "kinds"), [(201, ["jump"]), (199, []), (51, []), (49, ["jump"]), (0, ["lost"])]
)
def test_an_area_that_more_than_doubles_or_halves(after: float, kinds: list[str]) -> None:
    found = seen([100, 100, after, after])
    assert [kind for kind, _ in told(found)] == kinds
    if kinds == ["jump"]:
        assert told(found) == [("jump", [2])]
        times = f"frame 2: the object has {after / 100:.2g} times the area"
        assert doubts(found, [1], [0])[0].text.startswith(times)
    assert not told(seen([10, 10, 30])), "of few pixels nothing is said"
    assert not told(found, (0, 2)) or kinds == ["lost"], "a person's mask is not doubted"


def test_parts_apart_that_are_gained() -> None:
    """30 of 100 pixels beyond the largest part, from frame 2 on to frame 4;
    a mask that falls into two halves gains nothing."""
    found = seen([100, 100, 135, 130, 130, 100], [0, 0, 30, 30, 20, 5])
    assert told(found) == [("spill", [2, 3, 4])]
    assert "22% of its mask" in doubts(found, [1], [0])[0].text
    assert not told(seen([100, 100, 95, 95], [0, 0, 45, 45]))
    assert not told(seen([100, 100, 114, 114], [0, 0, 14, 14])), "little of it"


def test_low_confidence_where_there_is_a_mask() -> None:
    found = seen([100] * 5 + [0], confidence=[1, 0.6, 0.4, 0.3, 0.6, 0.2])
    assert told(found) == [("low", [2, 3]), ("lost", [5])]
    assert "below 0.5, down to 0.30" in doubts(found, [1], [0])[0].text


def test_objects_are_named_and_in_order() -> None:
    area = np.array([[100, 100], [0, 100], [0, 0]], float)
    found = Seen(area, 0 * area, np.ones_like(area))
    texts = [one.text for one in doubts(found, [3, 7], [0])]
    assert texts == ["frames 1 to 2: object 3 is not found", "frame 2: object 7 is not found"]
    assert without(area) == [2]


def test_areas_of_masks() -> None:
    soft = torch.zeros(2, 1, 20, 30)
    soft[0, 0, 2:10, 2:10] = 0.9
    soft[1, 0, 2:10, 2:10] = soft[1, 0, 12:15, 20:24] = 0.6
    soft[1, 0, 17, :] = 0.4
    found = of_clip(soft, torch.tensor([[1.0], [0.5]]))
    assert found.area[:, 0].tolist() == [64, 76] and found.apart[:, 0].tolist() == [0, 12]
    assert found.confidence[:, 0].tolist() == [1, 0.5]


@pytest.mark.parametrize("order", [range(T), range(T - 1, -1, -1)])
def test_each_run_is_said_once_when_it_begins(order: range) -> None:
    said: list[str] = []
    watch = Watch(T, [1], [0], said.append)
    for t in order:
        soft = torch.zeros(1, 20, 20)
        soft[0, :10, :10] = float(t not in (3, 4, 5))
        watch.arrived(t, soft, torch.ones(1))
    first = 3 if order[0] == 0 else 5
    assert said == [f"frame {first}: the object is not found"]
    watch.arrived(4, torch.zeros(1, 20, 20), torch.ones(1))
    assert len(said) == 1


def test_gain_is_what_lacks_around_up_to_the_next_mask() -> None:
    confidence = np.array([[1.0], [0.8], [0.6], [1.0], [0.5]])
    half = 0.5 ** (1 / HALF)
    found = gains(confidence, [0, 3])
    assert found == pytest.approx([0, 0.2 + 0.4 * half, 0.4 + 0.2 * half, 0, 0.5])


def test_the_frame_that_is_advised() -> None:
    low = np.ones((40, 1))
    low[10], low[20:30] = 0.2, 0.5
    assert 20 <= (advised(low, [0]) or 0) <= 30, "many frames weigh more than the worst one"
    assert advised(low, [0, 24, 26]) not in (24, 26)
    assert advised(np.full((40, 2), 0.999), [0]) is None
    assert advised(np.array([[1.0], [1.0]]), [0, 1]) is None
