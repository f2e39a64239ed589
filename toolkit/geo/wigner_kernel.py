"""The compiled part of `toolkit.geo.wigner`: one order m against all orders n, for a set of colatitudes.

For m >= n >= 0 and colatitudes beta of up to 90 degrees, Wigner's functions d^l_m,n and d^l_m,-n come from the three-term recursion
in l (Varshalovich et al. 1988, 4.8.1)

    d_l+1 = (A_l (cos beta - (+-n) m / (l (l+1)))) d_l - C_l d_l-1
    A_l = (l+1) (2l+1) / (r_m r_n)(l+1),   C_l = (l+1)/l (r_m r_n)(l) / (r_m r_n)(l+1),   r_m(l) = sqrt(l^2 - m^2),

scaled by s_l with s_l+1 = C_l s_l-1, so that a step is two multiply-adds: u_l+1 = (a_l + b_l y) u_l - u_l-1 with y = 1 - cos beta, which
near the pole loses nothing. By the symmetries of d (ibid. 4.4) each value serves (m, n), (n, m) at beta and (m, -n), (n, -m) at
pi - beta. For -n the recursion runs with alternating sign, which is (-1)^l: then both use the same products.

Left of the turning point d can be smaller than any number of the type: each lane starts as value times 2^(-_SCALE k), grows, and takes part
in sums once k is 0.
"""

from __future__ import annotations

import math
from functools import partial

import numba
import numpy as np

from toolkit.geo.vectors import add, divide, lanes, load, multiply, multiply_add, multiply_subtract, spread, store, subtract

CHUNK = 8  # degrees between two looks at the size of the numbers
PADDING = 48  # zeros behind the degrees of each array: for whole vectors and chunks
_COLUMNS = 11  # of the table: a for n, b, a for -n; then re, im of the products X, Z, Y', W' (X, Y' where there is no (n, m))
_PRODUCTS = 3  # the first product's column
_STEP = lanes("float64")

_compiled = partial(numba.njit, nogil=True, error_model="numpy", fastmath={"contract"})
# A call would hand over a hundred words about arrays, and counting references to arrays that threads share makes these wait for each
# other: both take as long as some of the sums.
_inlined = _compiled(forceinline=True, _nrt=False)


def kept(function, **options):  # type: ignore[no-untyped-def]
    """Compile a function, and keep what was compiled for the next process."""
    try:
        return _compiled(cache=True, **options)(function)
    except RuntimeError:  # neither this package nor a home directory can be written: it is compiled each time
        return _compiled(**options)(function)


def room(orders: int, bandwidth: int, count: int, lanes: int, precision: str) -> tuple[np.ndarray, ...]:
    """What `sums_of_orders` needs for so many orders m and colatitudes in groups of `lanes`."""
    stride = (bandwidth + PADDING) // 32 * 32 + 40  # columns apart by an odd number of cache lines: they do not push each other out
    degree = np.arange(bandwidth + PADDING)
    scratch = np.zeros((5, len(degree)))
    scratch[2], scratch[3] = 2.0 * degree + 1.0, 1.0 / np.maximum(1.0, degree * (degree + 1.0))
    factors = np.zeros((2, len(degree)), precision)
    factors[1] = 1 - 2 * (degree % 2)
    return (
        np.zeros((_COLUMNS, stride), precision), factors, scratch, np.empty((2, count), precision), np.empty(count),
        np.empty((orders, 2, count)), np.empty((orders, 2, count), np.int64),
        np.zeros(2 * lanes, precision), np.zeros(2 * lanes, precision), np.zeros(lanes, np.int64), np.zeros(8 * lanes, precision),
    )  # fmt: skip


@partial(kept, _nrt=False)
def sums_of_orders(first, last, tile, only, orders, panorama, photo, roots, half, groups, rows, scaling, work, out, counts):  # type: ignore[no-untyped-def]
    """Put the sums of m = first ... last - 1 into `out`, see `toolkit.geo.wigner.wigner_sums`; if `only` is an order, those of this n.

    panorama (F, 2, M, B + PADDING) for m < M and photo (F, 2, N + 1, B + PADDING): re and im of the coefficients [m or n, l]; their
    type is that in which sums are made. roots (2, M, B + PADDING): r_m(l) / sqrt(l) and its inverse. half (4, R): log2 of cos * sin,
    cot, sin, sin^2 of beta / 2. groups (G, 4): whether north rows and south rows are wanted, and whether they are neighbours in `out`.
    rows (2, R): the row of `out` for beta and for pi - beta, or -1. scaling: log2 of a scale step, and of the least value that counts.
    `tile`: orders n that are done for all m before others, so that their coefficients stay in the cache. `work` is from `room`.
    counts[0] is given the number of multiply-adds, counts[1] of values of d.
    """
    size, count = panorama.shape[3] - PADDING, half.shape[1]
    lanes = count // len(groups)
    columns, factors, scratch, y, limit, starts, exponents, live, dead, below, sums = work
    table, stride = columns.reshape(columns.size), columns.shape[1]
    # d^l behaves as Bessel's function of order v = sqrt(m^2 + n^2 - 2 m n cos beta) at l sin beta: below 1e-20 from 14 v^(1/3) before v on
    margin = 14.0 * size ** (1.0 / 3.0) + 20.0
    for lane in range(count):
        y[0, lane] = 2.0 * half[3, lane]
        y[1, lane] = -y[0, lane]
        limit[lane] = (2.0 * size * math.sqrt(half[3, lane] * (1.0 - half[3, lane])) + margin) ** 2
    for low in range(0, min(last - 1, orders) + 1, tile):
        for m in range(max(first, low), last):
            start, exponent = starts[m - first], exponents[m - first]
            both = m <= orders
            for n in range(low, min(low + tile - 1, m, orders) + 1):
                if n == 0:
                    _start(m, half[0], scaling, start, exponent)
                else:
                    _next_start(m, n, half[1], scaling, start, exponent)
                if n != only and only >= 0:
                    continue
                _fill(m, n, both, panorama, photo, roots, scratch, factors, table, stride, lanes)
                for group in range(len(groups)):
                    begin = group * lanes
                    for sign in range(2):
                        # where the first products (X, Z) go, and the others (Y', W')
                        direct, mirrored = groups[group, sign] > 0, groups[group, 1 - sign] > 0
                        width = (4 if both else 2) * (2 if direct and mirrored else 1)
                        column = _PRODUCTS if direct else _PRODUCTS + (4 if both else 2)
                        sums[: width * lanes] = 0.0
                        if _reached(m, n if sign == 0 else -n, half[3, begin : begin + lanes], limit[begin : begin + lanes]):
                            _sum(
                                size - m, sign, table, stride, column, width, y[sign], begin,
                                start[sign], exponent[sign], scaling, live, dead, below, sums, counts,
                            )  # fmt: skip
                        _put(m, n, sign, both, direct, mirrored, sums, begin, lanes, rows, groups[group], out)


@_inlined
def _start(m, log_product, scaling, start, exponent):  # type: ignore[no-untyped-def]
    """|d^m_m0| = sqrt(binom(2m, m)) (cos sin)^m of beta / 2, as number and count of scale steps."""
    constant = 0.5 * (math.lgamma(2.0 * m + 1.0) - 2.0 * math.lgamma(m + 1.0)) / math.log(2.0)
    for lane in range(len(log_product)):
        power = constant + m * log_product[lane]
        steps = max(0, int(math.ceil((scaling[1] - power) / scaling[0])))
        for sign in range(2):
            start[sign, lane] = 2.0 ** (power + steps * scaling[0])
            exponent[sign, lane] = steps


@_inlined
def _next_start(m, n, cotangent, scaling, start, exponent):  # type: ignore[no-untyped-def]
    """From |d^m_m,+-(n-1)| to |d^m_m,+-n|."""
    ratio = math.sqrt((m - n + 1.0) / (m + n))
    up, down = 2.0 ** scaling[0], 2.0 ** -scaling[0]
    least, most = 2.0 ** scaling[1], 2.0 ** (scaling[0] + scaling[1])
    for lane in range(len(cotangent)):
        for sign in range(2):
            value = start[sign, lane] * ratio * (cotangent[lane] if sign == 0 else 1.0 / cotangent[lane])
            if value >= most and exponent[sign, lane] > 0:
                value *= down
                exponent[sign, lane] -= 1
            elif value < least:
                value *= up
                exponent[sign, lane] += 1
            start[sign, lane] = value


@_inlined
def _fill(m, n, both, panorama, photo, roots, scratch, factors, table, stride, lanes):  # type: ignore[no-untyped-def]
    """Fill the table for l = m ... B - 1, and with zeros for a chunk beyond."""
    length = roots.shape[2] - PADDING - m
    s, c, twice, inverse_square = scratch[0], scratch[1], scratch[2], scratch[3]
    root_m, root_n, inverse_m, inverse_n = roots[0, m], roots[0, n], roots[1, m], roots[1, n]
    for i in range(0, length, _STEP):
        inverse = multiply(load(inverse_m, m + i + 1), load(inverse_n, m + i + 1))
        store(c, i, multiply(multiply(load(root_m, m + i), load(root_n, m + i)), inverse))
    s[0] = 1.0
    s[1] = 1.0
    for i in range(1, length - 1):
        s[i + 1] = s[i - 1] * c[i]
    scratch[4, 0] = float(m) * n
    mn = spread(scratch[4], 0)
    for i in range(0, length, _STEP):
        inverse = multiply(load(inverse_m, m + i + 1), load(inverse_n, m + i + 1))
        a = multiply(multiply(load(twice, m + i), inverse), divide(load(s, i), load(s, i + 1)))
        shift = multiply(a, multiply(mn, load(inverse_square, m + i)))
        minus = subtract(subtract(a, a), a)
        store(table, i, subtract(a, shift))
        store(table, stride + i, minus)
        store(table, 2 * stride + i, subtract(minus, shift))
        store(factors[0], i, load(s, i))
    for column in range(3):
        table[column * stride + length - 1 : column * stride + length + CHUNK] = 0.0
    mirrored = _PRODUCTS + (4 if both else 2)
    _multiply(panorama, m, photo, n, m, factors, table, _PRODUCTS * stride, mirrored * stride, stride, lanes)
    if both:
        _multiply(panorama, n, photo, m, m, factors, table, (_PRODUCTS + 2) * stride, (mirrored + 2) * stride, stride, lanes)


@_inlined
def _multiply(panorama, a, photo, b, first, factors, table, x, y, stride, lanes):  # type: ignore[no-untyped-def]
    """Columns from x on: re and im of s_l times the sum of G_la P_lb over the fields; from y on: of (-1)^l s_l times that of G conj(P)."""
    fields, _, rows, length = panorama.shape
    g, p = panorama.reshape(panorama.size), photo.reshape(photo.size)
    field_g, field_p = rows * length, photo.shape[2] * length
    for i in range(0, length - PADDING - first + CHUNK, lanes):
        at_g, at_p = a * length + first + i, b * length + first + i
        gr, gi, pr, pi = load(g, at_g), load(g, at_g + field_g), load(p, at_p), load(p, at_p + field_p)
        same, crossed, up, down = multiply(gr, pr), multiply(gi, pi), multiply(gr, pi), multiply(gi, pr)
        for _ in range(1, fields):
            at_g, at_p = at_g + 2 * field_g, at_p + 2 * field_p
            gr, gi, pr, pi = load(g, at_g), load(g, at_g + field_g), load(p, at_p), load(p, at_p + field_p)
            same, crossed = multiply_add(gr, pr, same), multiply_add(gi, pi, crossed)
            up, down = multiply_add(gr, pi, up), multiply_add(gi, pr, down)
        factor = load(factors[0], i)
        alternating = multiply(factor, load(factors[1], first + i))
        store(table, x + i, multiply(subtract(same, crossed), factor))
        store(table, x + stride + i, multiply(add(up, down), factor))
        store(table, y + i, multiply(add(same, crossed), alternating))
        store(table, y + stride + i, multiply(subtract(down, up), alternating))


@_inlined
def _reached(m, n, sine2, limit):  # type: ignore[no-untyped-def]
    """Whether any of the lanes comes near its turning point."""
    difference, product, most = float(m - n) * (m - n), 4.0 * m * n, -1.0
    for lane in range(len(limit)):
        most = max(most, limit[lane] - difference - product * sine2[lane])
    return most >= 0.0


@_inlined
def _sum(  # type: ignore[no-untyped-def]
    degrees, sign, table, stride, column, width, y, begin, start, exponent, scaling, live, dead, below, sums, counts
):
    """Run the recursion of one group of lanes through the table, and add `width` columns' products with it to `sums`."""
    lanes = len(below)
    waiting = 0
    for lane in range(lanes):
        waiting += exponent[begin + lane] > 0
        live[lane] = 0.0
        live[lanes + lane] = start[begin + lane]
    if waiting > 0:
        for lane in range(lanes):
            below[lane] = exponent[begin + lane]
            dead[lane] = 0.0
            dead[lanes + lane] = start[begin + lane] if below[lane] > 0 else 0.0
            live[lanes + lane] -= dead[lanes + lane]
    most, down = 2.0 ** (scaling[0] + scaling[1]), 2.0 ** -scaling[0]
    recursion, degree = 2 * sign, 0
    while waiting > 0 and degree < degrees:
        if waiting < lanes:
            _accumulate(width, table, stride, degree, degree + CHUNK, y, begin, live, sums, recursion, column)
            counts[0] += (width + 2) * lanes * CHUNK
            counts[1] += lanes * CHUNK
        _advance(table, stride, degree, degree + CHUNK, y, begin, dead, recursion)
        counts[0] += 2 * lanes * CHUNK
        counts[1] += lanes * CHUNK
        degree += CHUNK
        grown = 0
        for lane in range(lanes):
            grown += abs(dead[lanes + lane]) >= most
        if grown == 0:
            continue
        for lane in range(lanes):
            if abs(dead[lanes + lane]) >= most:
                dead[lane] *= down
                dead[lanes + lane] *= down
                below[lane] -= 1
                if below[lane] == 0:
                    live[lane], live[lanes + lane] = dead[lane], dead[lanes + lane]
                    dead[lane] = 0.0
                    dead[lanes + lane] = 0.0
                    waiting -= 1
    if degree < degrees:
        _accumulate(width, table, stride, degree, degrees, y, begin, live, sums, recursion, column)
        counts[0] += (width + 2) * lanes * (degrees - degree)
        counts[1] += lanes * (degrees - degree)


@_inlined
def _advance(table, stride, first, last, y, begin, state, recursion):  # type: ignore[no-untyped-def]
    lanes = len(state) // 2
    yy, before, value = load(y, begin), load(state, 0), load(state, lanes)
    for i in range(first, last):
        factor = multiply_add(spread(table, i + stride), yy, spread(table, i + recursion * stride))
        before, value = value, multiply_subtract(factor, value, before)
    store(state, 0, before)
    store(state, lanes, value)


@_inlined
def _accumulate(width, table, stride, first, last, y, begin, state, sums, recursion, column):  # type: ignore[no-untyped-def]
    if width == 8:
        _accumulate_8(table, stride, first, last, y, begin, state, sums, recursion)
    elif width == 4:
        _accumulate_4(table, stride, first, last, y, begin, state, sums, recursion, column)
    else:
        _accumulate_2(table, stride, first, last, y, begin, state, sums, recursion, column)


@_inlined
def _accumulate_8(table, stride, first, last, y, begin, state, sums, recursion):  # type: ignore[no-untyped-def]
    lanes = len(state) // 2
    yy, before, value = load(y, begin), load(state, 0), load(state, lanes)
    s0, s1, s2, s3 = load(sums, 0), load(sums, lanes), load(sums, 2 * lanes), load(sums, 3 * lanes)
    s4, s5, s6, s7 = load(sums, 4 * lanes), load(sums, 5 * lanes), load(sums, 6 * lanes), load(sums, 7 * lanes)
    for i in range(first, last):
        s0 = multiply_add(spread(table, i + 3 * stride), value, s0)
        s1 = multiply_add(spread(table, i + 4 * stride), value, s1)
        s2 = multiply_add(spread(table, i + 5 * stride), value, s2)
        s3 = multiply_add(spread(table, i + 6 * stride), value, s3)
        s4 = multiply_add(spread(table, i + 7 * stride), value, s4)
        s5 = multiply_add(spread(table, i + 8 * stride), value, s5)
        s6 = multiply_add(spread(table, i + 9 * stride), value, s6)
        s7 = multiply_add(spread(table, i + 10 * stride), value, s7)
        factor = multiply_add(spread(table, i + stride), yy, spread(table, i + recursion * stride))
        before, value = value, multiply_subtract(factor, value, before)
    store(state, 0, before)
    store(state, lanes, value)
    store(sums, 0, s0)
    store(sums, lanes, s1)
    store(sums, 2 * lanes, s2)
    store(sums, 3 * lanes, s3)
    store(sums, 4 * lanes, s4)
    store(sums, 5 * lanes, s5)
    store(sums, 6 * lanes, s6)
    store(sums, 7 * lanes, s7)


@_inlined
def _accumulate_4(table, stride, first, last, y, begin, state, sums, recursion, column):  # type: ignore[no-untyped-def]
    lanes = len(state) // 2
    yy, before, value = load(y, begin), load(state, 0), load(state, lanes)
    s0, s1, s2, s3 = load(sums, 0), load(sums, lanes), load(sums, 2 * lanes), load(sums, 3 * lanes)
    for i in range(first, last):
        s0 = multiply_add(spread(table, i + column * stride), value, s0)
        s1 = multiply_add(spread(table, i + (column + 1) * stride), value, s1)
        s2 = multiply_add(spread(table, i + (column + 2) * stride), value, s2)
        s3 = multiply_add(spread(table, i + (column + 3) * stride), value, s3)
        factor = multiply_add(spread(table, i + stride), yy, spread(table, i + recursion * stride))
        before, value = value, multiply_subtract(factor, value, before)
    store(state, 0, before)
    store(state, lanes, value)
    store(sums, 0, s0)
    store(sums, lanes, s1)
    store(sums, 2 * lanes, s2)
    store(sums, 3 * lanes, s3)


@_inlined
def _accumulate_2(table, stride, first, last, y, begin, state, sums, recursion, column):  # type: ignore[no-untyped-def]
    lanes = len(state) // 2
    yy, before, value = load(y, begin), load(state, 0), load(state, lanes)
    s0, s1 = load(sums, 0), load(sums, lanes)
    for i in range(first, last):
        s0 = multiply_add(spread(table, i + column * stride), value, s0)
        s1 = multiply_add(spread(table, i + (column + 1) * stride), value, s1)
        factor = multiply_add(spread(table, i + stride), yy, spread(table, i + recursion * stride))
        before, value = value, multiply_subtract(factor, value, before)
    store(state, 0, before)
    store(state, lanes, value)
    store(sums, 0, s0)
    store(sums, lanes, s1)


@_inlined
def _put(m, n, sign, both, direct, mirrored, sums, begin, lanes, rows, group, out):  # type: ignore[no-untyped-def]
    """Put a group's sums where they belong; X and W' have the sign (-1)^(m+n) in all cases."""
    width = out.shape[1]
    odd = -1.0 if (m + n) % 2 else 1.0
    at = 0
    if direct:
        place, neighbours = rows[sign, begin : begin + lanes], group[2 + sign] > 0
        _put_one(sums, at, lanes, odd, place, neighbours, out[m, (width - n) % width])
        at += 2 * lanes
        if both:
            _put_one(sums, at, lanes, 1.0, place, neighbours, out[n, (width - m) % width])
            at += 2 * lanes
    if mirrored:
        place, neighbours = rows[1 - sign, begin : begin + lanes], group[3 - sign] > 0
        _put_one(sums, at, lanes, 1.0, place, neighbours, out[m, n])
        at += 2 * lanes
        if both:
            _put_one(sums, at, lanes, odd, place, neighbours, out[n, m])
            at += 2 * lanes


@_inlined
def _put_one(sums, at, lanes, sign, place, neighbours, out):  # type: ignore[no-untyped-def]
    if neighbours:
        first = place[0]
        for lane in range(lanes):
            out[first + lane] = complex(sign * sums[at + lane], sign * sums[at + lanes + lane])
    else:
        for lane in range(lanes):
            if place[lane] >= 0:
                out[place[lane]] = complex(sign * sums[at + lane], sign * sums[at + lanes + lane])
