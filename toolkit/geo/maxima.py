"""The compiled search for local maxima of correlations, the same rule as `toolkit.geo.candidates`, for scores that are in memory."""

from __future__ import annotations

import math

import numpy as np

from toolkit.geo.wigner_kernel import kept


@kept
def add_maxima(scores, inner, code, around_yaw, around_roll, state, values, codes, around):  # type: ignore[no-untyped-def]
    """Add the local maxima of rows inner[0] up to inner[1] of scores (pitch, roll, yaw), float32 or float64, to the list kept so far.

    A maximum is not lower than any of its 26 neighbours, where the array has them; yaw and roll go around where the flags say so.
    `code` is the number of the first inner row's first cell, counted pitch by pitch, yaw by yaw, roll by roll. The list: `values`
    (K,), `codes` (K,) and `around` (K, 27), the scores around it in that order, NaN outside; state: how many there are, and how many
    were dropped, the lowest ones, because no more than K fit.
    """
    pitches, rolls, yaws = scores.shape
    lowest = scores.dtype.type(-np.inf)
    floor = lowest
    highest = np.empty(yaws + 2, scores.dtype)
    for i in range(inner[0], inner[1]):
        for j in range(rolls):
            here = scores[i, j]
            for y in range(yaws):
                highest[y + 1] = here[y]
            for other in range(max(i - 1, 0), min(i + 2, pitches)):
                for step in range(-1, 2):
                    k = j + step
                    if around_roll:
                        k %= rolls
                    if 0 <= k < rolls:
                        line = scores[other, k]
                        for y in range(yaws):
                            value = line[y]
                            highest[y + 1] = value if value > highest[y + 1] else highest[y + 1]
            highest[0] = highest[yaws] if around_yaw else lowest
            highest[yaws + 1] = highest[1] if around_yaw else lowest
            for y in range(yaws):
                if here[y] < highest[y + 1] or here[y] < highest[y] or here[y] < highest[y + 2]:
                    continue
                if here[y] < floor:
                    state[1] += 1
                    continue
                if state[0] == len(values):
                    floor = _drop_lower_half(state, values, codes, around)
                    if here[y] < floor:
                        state[1] += 1
                        continue
                n = state[0]
                state[0] += 1
                values[n] = here[y]
                codes[n] = code + ((i - inner[0]) * yaws + y) * rolls + j
                for a in range(3):
                    for b in range(3):
                        for c in range(3):
                            p, q, r = i + a - 1, y + b - 1, j + c - 1
                            if around_yaw:
                                q += yaws if q < 0 else -yaws if q >= yaws else 0
                            if around_roll:
                                r += rolls if r < 0 else -rolls if r >= rolls else 0
                            inside = 0 <= p < pitches and 0 <= q < yaws and 0 <= r < rolls
                            around[n, 9 * a + 3 * b + c] = scores[p, r, q] if inside else np.nan


@kept
def _drop_lower_half(state, values, codes, around):  # type: ignore[no-untyped-def]
    """Drop about half of the values, the lowest ones; returns a bound that what is kept reaches."""
    count = state[0]
    keep = count // 2
    low, high = values[0], values[0]
    for k in range(count):
        low, high = min(low, values[k]), max(high, values[k])
    for _ in range(30):  # halving: of the values at least `keep` reach low, fewer reach high
        middle = low + (high - low) / 2
        n = 0
        for k in range(count):
            n += values[k] >= middle
        if n >= keep:
            low = middle
        else:
            high = middle
    n = 0
    for k in range(count):
        if values[k] >= low and n < count - 1:
            values[n], codes[n] = values[k], codes[k]
            for place in range(27):
                around[n, place] = around[k, place]
            n += 1
    state[0] = n
    state[1] += count - n
    return low


@kept
def suppress(order, codes, yaw, pitch, roll, top, separation, chosen):  # type: ignore[no-untyped-def]
    """Of maxima in that order put into `chosen` the places of the first `top` none of which is closer than `separation` degrees to another.

    `yaw`, `pitch`, `roll`: the axes, degrees. Returns how many there are.
    """
    rotations = np.empty((top, 9))
    found = 0
    for k in order:
        cell = codes[k]
        alpha = math.radians(90.0 - yaw[cell // len(roll) % len(yaw)])
        beta = math.radians(90.0 - pitch[cell // len(roll) // len(yaw)])
        gamma = math.radians(roll[cell % len(roll)])
        ca, sa, cb, sb, cc, sc = math.cos(alpha), math.sin(alpha), math.cos(beta), math.sin(beta), math.cos(gamma), math.sin(gamma)
        matrix = rotations[found]
        matrix[0], matrix[1], matrix[2] = ca * cb * cc - sa * sc, -ca * cb * sc - sa * cc, ca * sb
        matrix[3], matrix[4], matrix[5] = sa * cb * cc + ca * sc, -sa * cb * sc + ca * cc, sa * sb
        matrix[6], matrix[7], matrix[8] = -sb * cc, sb * sc, cb
        free = True
        for other in range(found):
            distance = 0.0
            for e in range(9):
                distance += (matrix[e] - rotations[other, e]) ** 2
            if math.degrees(2.0 * math.asin(min(1.0, math.sqrt(distance / 8.0)))) < separation:
                free = False
                break
        if free:
            chosen[found] = k
            found += 1
            if found == top:
                break
    return found


def compile_search() -> None:
    """Compile both, where they were not compiled before on this machine."""
    axis, cells = np.zeros(1), np.zeros(1, np.int64)
    add_maxima(
        np.zeros((1, 1, 1), np.float32), np.array([0, 1]), 0, True, True,
        np.zeros(2, np.int64), np.zeros(1, np.float32), cells, np.zeros((1, 27), np.float32),
    )  # fmt: skip
    suppress(cells, cells, axis, axis, axis, 1, 0.0, np.zeros(1, np.int64))
