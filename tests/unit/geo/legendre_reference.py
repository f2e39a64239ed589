"""`toolkit.geo.wigner.wigner_sums` by another way and library: for each order n, ducc0's Legendre transform of spin n."""

from __future__ import annotations

import ducc0
import numpy as np

from toolkit.geo.wigner import Products


def wigner_sums(factors: Products, colatitude: np.ndarray, out: np.ndarray, threads: int = 0) -> None:
    """As the function of that name there; `out` should be complex128. Goldberg et al. 1967, equation 3.9, relates d to the harmonics."""
    size = factors.bandwidth
    turn = np.array([1, 1j, -1, -1j])[np.arange(size) % 4]
    degree = np.concatenate([np.arange(order, size) for order in range(size)])
    order = np.repeat(np.arange(size), np.arange(size, 0, -1))
    world = (np.conj(factors.panorama) * np.conj(turn)[:, None])[:, order, degree]
    seen = factors.photo * np.sqrt(4 * np.pi / (2 * np.arange(size) + 1))
    limits = {"lmax": size - 1, "theta": np.asarray(colatitude, np.float64), "nthreads": threads}
    rows = len(colatitude)
    for n in range(factors.orders + 1):
        positive = (world * np.conj(seen[:, n])[:, degree]).sum(axis=0)
        if n == 0:
            out[:size, 0, :rows] = np.conj(ducc0.sht.alm2leg(alm=positive[None], spin=0, **limits)[0] * turn).T
            continue
        # P_l,-n = (-1)^n conj P_ln; ducc0's harmonics of spin +n and -n are -(-1)^n d_m,-n and -d_m,n (times sqrt((2l+1)/4 pi)).
        negative = -(world * seen[:, n][:, degree]).sum(axis=0)
        positive = -positive
        legendre = ducc0.sht.alm2leg(alm=np.stack([positive + negative, 1j * (positive - negative)]), spin=n, **limits)
        out[:size, -n, :rows] = np.conj((legendre[0] - 1j * legendre[1]) / 2 * turn).T
        out[:size, n, :rows] = np.conj((legendre[0] + 1j * legendre[1]) / 2 * turn).T
