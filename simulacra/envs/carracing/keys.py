"""How a person drives the car (see envs/controls.py)."""

from typing import Any

CONTROLS: dict[str, Any] = {
    "axes": [
        {
            "name": "steer",
            "stick": 0,
            "ends": [
                {"name": "left", "keys": ["ArrowLeft", "a"], "value": -1, "pad": 14},
                {"name": "right", "keys": ["ArrowRight", "d"], "value": 1, "pad": 15},
            ],
        },
        {
            "name": "gas",
            "low": 0,
            "ends": [{"name": "gas", "keys": ["ArrowUp", "w"], "value": 1, "pad": 7}],
        },
        {
            "name": "brake",
            "low": 0,
            "ends": [{"name": "brake", "keys": ["ArrowDown", "s"], "value": 0.8, "pad": 6}],
        },
    ]
}
