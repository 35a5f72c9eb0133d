"""What gymnasium's CarRacing shows, to the pixel, in less than half the time.

The same calls draw the same polygons, but their corners are computed together; what lies outside
the window, or under the bar of score and speed, is not drawn; surfaces and words are kept; and the
picture is turned upside down once it is narrow. All of it rests on how one version of gymnasium
draws: with another `known` warns, and gymnasium draws itself.

Reference: gymnasium 1.4.0, gymnasium/envs/box2d/car_racing.py, `_render("state_pixels")`.
"""

import math
import sys
import warnings
from importlib.metadata import version
from typing import Any

import numpy as np

KNOWN = "1.4.0"  # gymnasium, whose drawing this is
# pixels of the window; as it is drawn, upside down, the car is at (500, 200)
WIDE, HIGH = 1000, 800
BAR = 100  # lowest rows of the window, black below score and speed
SIDE, SCENE = 96, 84  # rows and columns of a frame, its rows above the bar
EDGE = 3  # pixels, no polygon reaches so far beyond its corners
MOST = 3.9  # of a gauge; from 4 on it leaves the bar
# of the window as it is drawn: left, top, width, height of what is not the bar
VIEW = 0, BAR, WIDE, HIGH - BAR


class Drawing:
    """The drawing of one game, in place of its `_render`."""

    def __init__(self, env: Any, hud: bool) -> None:
        # hud: False leaves rows 84 to 95 black
        self.env, self.hud, self.own = env, hud, env._render
        self.rules: Any = sys.modules[type(env).__module__]
        self.pygame = self.rules.pygame
        self.scene, self.bar = (self.pygame.Surface((WIDE, HIGH)) for _ in range(2))
        self.view, self.strip = (
            self.scene.subsurface(VIEW),
            self.bar.subsurface((0, HIGH - BAR, WIDE, BAR)),
        )
        self.narrow = self.pygame.Surface((SIDE, HIGH if hud else HIGH - BAR))
        self.road: object = None  # whose corners, and least boxes around them, these are
        self.corners = np.zeros((4, 0, 2))
        self.low = self.high = np.zeros((0, 2))
        self.words: tuple[str, Any] = "", None  # the last score, written

    def __call__(self, mode: str) -> np.ndarray | None:
        """The frame (96, 96, 3) uint8; other modes,
        and a game that was not reset, as gymnasium has them."""
        if mode != "state_pixels" or "t" not in vars(self.env) or self._gauge() > MOST:
            return self.own(mode)
        self._world()
        pygame, tall = self.pygame, HIGH - BAR
        narrow = pygame.surfarray.pixels2d(self.narrow)
        narrow[:, :tall] = pygame.surfarray.pixels2d(
            pygame.transform.smoothscale(self.view, (SIDE, tall))
        )[:, ::-1]
        if self.hud:
            self._gauges()
            narrow[:, tall:] = pygame.surfarray.pixels2d(
                pygame.transform.smoothscale(self.strip, (SIDE, BAR))
            )
        del narrow  # which locks the surface
        rows = SIDE if self.hud else SCENE
        frame = np.zeros((SIDE, SIDE, 3), np.uint8)
        seen = pygame.transform.smoothscale(self.narrow, (SIDE, rows))
        frame[:rows] = pygame.surfarray.pixels3d(seen).transpose(1, 0, 2)
        return frame

    def _gauge(self) -> float:
        """How high the highest gauge stands, in heights of its foot."""
        speed = math.hypot(*self.env.car.hull.linearVelocity)
        return max(0.02 * speed, *(0.01 * wheel.omega for wheel in self.env.car.wheels))

    def _world(self) -> None:
        """Draw lawns, road and car, upside down."""
        env, rules, scene = self.env, self.rules, self.scene
        env.surf, hull = scene, env.car.hull
        angle, (x, y) = -hull.angle, hull.position
        zoom = 0.1 * rules.SCALE * max(1 - env.t, 0) + rules.ZOOM * rules.SCALE * min(env.t, 1)
        turn, moved = (
            self.pygame.math.Vector2(one).rotate_rad(angle)
            for one in ((1, 0), (-x * zoom, -y * zoom))
        )
        to, field = (WIDE / 2 + moved[0], HIGH / 4 + moved[1]), rules.PLAYFIELD
        low, high = visible_box(zoom, to, *turn)
        if low.min() > -field and high.max() < field:
            scene.fill(env.bg_color, VIEW)
        else:
            scene.fill(0, VIEW)
            square = [(field, field), (field, -field), (-field, -field), (-field, field)]
            env._draw_colored_polygon(scene, square, env.bg_color, zoom, to, angle, clip=False)
        if self.road is not env.road_poly:
            self.road, self.corners = env.road_poly, corners(rules.GRASS_DIM, env.road_poly)
            self.low, self.high = self.corners.min(0), self.corners.max(0)
        near = np.flatnonzero(((self.high > low) & (self.low < high)).all(1))
        self._polygons(near, zoom, to, *turn)
        env.car.draw(scene, zoom, to, angle, False)

    def _polygons(
        self, near: np.ndarray, zoom: float, to: tuple[float, float], c: float, s: float
    ) -> None:
        """Draw what can be seen of these lawns, tiles and kerbs,
        in gymnasium's order and rounded as there."""
        lawns = self.corners.shape[1] - len(self.env.road_poly)
        x, y = self.corners[:, near].transpose(2, 0, 1)
        spots = np.stack(
            [(c * x - s * y) * zoom + to[0], (s * x + c * y) * zoom + to[1]], -1
        ).astype(np.int64)
        left, top, wide, tall = VIEW
        shown = (spots.max(0) >= (left - EDGE, top - EDGE)) & (
            spots.min(0) <= (left + wide + EDGE, top + tall + EDGE)
        )
        shown = shown.all(1)
        for i, points in zip(
            near[shown].tolist(), spots[:, shown].transpose(1, 0, 2).tolist(), strict=True
        ):
            shade = self.env.grass_color if i < lawns else self.env.road_poly[i - lawns][1]
            colour = [int(one) for one in shade]
            self.rules.gfxdraw.aapolygon(self.scene, points, colour)
            self.rules.gfxdraw.filled_polygon(self.scene, points, colour)

    def _gauges(self) -> None:
        """Draw the bar."""
        self.env.surf = self.bar
        self.env._render_indicators(WIDE, HIGH)
        told, written = f"{self.env.reward:04.0f}", self.words[1]
        if told != self.words[0]:
            font = self.pygame.font
            font.init()
            written = font.Font(font.get_default_font(), 42).render(
                told, True, (255, 255, 255), (0, 0, 0)
            )
            self.words = told, written
        place = written.get_rect()
        place.center = 60, HIGH - HIGH * 2.5 / 40.0
        self.bar.blit(written, place)


def visible_box(
    zoom: float, to: tuple[float, float], c: float, s: float
) -> tuple[np.ndarray, np.ndarray]:
    """The least box, lowest and highest x and y (2,) in units of length,
    around what the window shows above the bar."""
    left, top, wide, tall = VIEW
    x = (np.array([left - EDGE, left + wide + EDGE])[:, None] - to[0]) / zoom
    y = (np.array([top - EDGE, top + tall + EDGE]) - to[1]) / zoom
    spots = np.stack([c * x + s * y, c * y - s * x])
    return spots.min((1, 2)), spots.max((1, 2))


def corners(side: float, road: list[tuple[Any, Any]]) -> np.ndarray:
    """The corners (4, n, 2), units of length, of 400 lawns of this side, then of the road."""
    cells = np.array([(x, y) for x in range(-20, 20, 2) for y in range(-20, 20, 2)], float)
    lawns = side * cells[:, None] + side * np.array([(1, 0), (0, 0), (0, 1), (1, 1)])
    return np.concatenate([lawns, np.array([poly for poly, _ in road], float)]).transpose(1, 0, 2)


def version_is_known() -> bool:
    """Whether gymnasium is of the version whose drawing this is; a warning if not."""
    found = version("gymnasium")
    if found != KNOWN:
        told = (
            f"gymnasium is {found}; "
            f"how {KNOWN} draws is known: frames are drawn by gymnasium itself, half as fast"
        )
        warnings.warn(told, RuntimeWarning, stacklevel=2)
    return found == KNOWN
