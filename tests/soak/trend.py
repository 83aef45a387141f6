"""How fast something grows, and how sure that is: Theil and Sen's slope with its confidence interval.

The median of the slopes of all pairs of points, with Sen's interval from the order statistics (Sen 1968). No
distribution is assumed, and a step (a dict that doubles, an allocator that takes another arena) moves a median little
where it would tilt a least-squares line. The interval takes the points' errors for independent: what settles slowly
over a whole run is a slope to it, and has to be tolerated as such (``process.limits_over``).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import NormalDist, median
from typing import Final

#: Of the two-sided interval.
CONFIDENCE: Final = 0.99

#: With fewer the interval is that of the extreme slopes, and says nothing.
MIN_POINTS: Final = 8


@dataclass(frozen=True, slots=True)
class Trend:
    """A slope in y per x, and the interval it lies in with :data:`CONFIDENCE`."""

    slope: float
    low: float
    high: float
    points: int


def trend_of(points: Sequence[tuple[float, float]]) -> Trend:
    """Return the trend of ``(x, y)`` points, all x different.

    Raises:
        ValueError: Fewer than :data:`MIN_POINTS`.
    """
    count = len(points)
    if count < MIN_POINTS:
        msg = f"{count} points have no trend: at least {MIN_POINTS} are needed"
        raise ValueError(msg)
    slopes = sorted((later[1] - earlier[1]) / (later[0] - earlier[0]) for earlier, later in combinations(points, 2))
    spread = NormalDist().inv_cdf((1 + CONFIDENCE) / 2) * math.sqrt(count * (count - 1) * (2 * count + 5) / 18)
    below = max(0, math.floor((len(slopes) - spread) / 2))
    return Trend(slope=median(slopes), low=slopes[below], high=slopes[-1 - below], points=count)
