"""Wigner's d to sixty digits, from Jacobi's polynomials in decimal arithmetic, whose exponents have no practical limit."""

from __future__ import annotations

from decimal import Decimal, localcontext
from math import comb, pi


def exact_d(m: int, n: int, beta: float, degrees: list[int]) -> list[float]:
    """d^l_mn(beta) for each l of `degrees`, ascending (Varshalovich et al. 1988, 4.3.4, equation 13); `beta` is taken as exact."""
    with localcontext() as context:
        context.prec = 60
        sine, cosine = _sine(Decimal(beta) / 2), _sine((_PI - Decimal(beta)) / 2)
        x = 1 - 2 * sine * sine
        a, b = abs(m - n), abs(m + n)
        lowest = (a + b) // 2
        factor = (-1 if n < m and (m - n) % 2 else 1) * sine**a * cosine**b
        square, before, value = Decimal(comb(a + b, a)), Decimal(0), Decimal(1)
        result = []
        for s in range(max(degrees) - lowest + 1):
            if lowest + s in degrees:
                result.append(float(square.sqrt() * factor * value))
            square = square * ((s + 1) * (s + a + b + 1)) / ((s + a + 1) * (s + b + 1))
            if s == 0:
                before, value = value, (a + 1) + (a + b + 2) * (x - 1) / 2
                continue
            both = 2 * s + a + b
            following = (both + 1) * ((both + 2) * both * x + a * a - b * b) * value - 2 * (s + a) * (s + b) * (both + 2) * before
            before, value = value, following / (2 * (s + 1) * (s + a + b + 1) * both)
        return [0.0] * sum(degree < lowest for degree in degrees) + result


def _sine(angle: Decimal) -> Decimal:
    term, total, count = angle, Decimal(0), 1
    while abs(term) > Decimal("1e-75"):
        total += term
        term *= -angle * angle / ((count + 1) * (count + 2))
        count += 2
    return total


_PI = Decimal("3.14159265358979323846264338327950288419716939937510582097494459230781640628620899862803482534211706798214808651")
assert float(_PI) == pi
