"""Maps and outlines in the plane. A place is a complex number x + iy, x to the right, y down."""

from typing import NamedTuple

import numpy as np


class Similarity(NamedTuple):
    """One map of places a frame: z becomes turn * z + shift, both (T,) complex128."""

    turn: np.ndarray
    shift: np.ndarray

    def __call__(self, z: np.ndarray) -> np.ndarray:
        """Where places (n,), or (T, n) of each frame, go: (T, n)."""
        return self.turn[:, None] * z + self.shift[:, None]

    def inverse(self) -> "Similarity":
        """The maps (T,) that bring every place back."""
        return Similarity(1 / self.turn, -self.shift / self.turn)

    def then(self, other: "Similarity") -> "Similarity":
        """This map, followed by the other."""
        return Similarity(other.turn * self.turn, other.turn * self.shift + other.shift)

    def select(self, frames: slice) -> "Similarity":
        """The maps of these frames alone."""
        return Similarity(self.turn[frames], self.shift[frames])


class Outline(NamedTuple):
    """A blob about 0: r(phi) = radius * (1 + the real part of the sum over k from 2 of
    waves[k - 2] * exp(i k phi))."""

    radius: float  # pixels of the frame
    waves: np.ndarray  # (5,) complex128

    @property
    def reach(self) -> float:
        """A radius in pixels that holds all of the blob: no place inside is farther from 0."""
        return float(self.radius * (1 + np.abs(self.waves).sum()))

    def depth(self, z: np.ndarray) -> np.ndarray:
        """How deep inside the edge places z lie, in pixels, to first order at the edge:
        float32 of z's shape."""
        z = z.astype(np.complex64)
        rho = np.maximum(np.abs(z), np.float32(1e-6))
        once = power = z / rho
        r, slope = np.ones_like(rho), np.zeros_like(rho)
        for k, wave in enumerate(self.waves.astype(np.complex64), 2):
            power = power * once
            term = wave * power
            r, slope = r + term.real, slope - k * term.imag
        return (np.float32(self.radius) * r - rho) / np.sqrt(1 + np.square(slope / r))

    def points(self) -> np.ndarray:
        """Some hundreds of places inside, evenly spread, (n,) complex128."""
        line = np.linspace(-self.reach, self.reach, 31)
        grid = (line + 1j * line[:, None]).ravel()
        return grid[self.depth(grid) > 0]
