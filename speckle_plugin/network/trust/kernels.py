"""Sums over the pixels of a view, compiled: each goes over them once."""

from __future__ import annotations

import math

import numpy as np

from speckle_plugin.scattering import compiled

__all__ = ["beam_likelihoods", "map_sums", "neighbour_outliers", "pixel_sums", "ring_sums", "zone_sums"]

MOST = 12.0
"""Intensities above so many times the mean of their ring count as that many times it."""


@compiled(error_model="numpy")
def pixel_sums(values, ring):  # type: ignore[no-untyped-def]
    """Give least positive value, largest one, and the numbers of negative, of zero and of largest ones."""
    least, most = np.inf, 0.0
    for i in range(values.shape[0]):
        for j in range(values.shape[1]):
            if ring[i, j] >= 0:
                v = values[i, j]
                most = max(most, v)
                if v > 0.0:
                    least = min(least, v)
    negative = zero = largest = fractions = 0
    for i in range(values.shape[0]):
        for j in range(values.shape[1]):
            if ring[i, j] >= 0:
                v = values[i, j]
                negative += v < 0.0
                zero += v == 0.0
                largest += v == most
                u = v / least
                fractions += abs(u - np.rint(u)) > 1e-3 * max(1.0, u)
    return least, most, negative, zero, largest, fractions


@compiled(error_model="numpy")
def ring_sums(values, ring, rings):  # type: ignore[no-untyped-def]
    """Sum the values of each ring, negative ones as 0."""
    sums = np.zeros(rings)
    for i in range(values.shape[0]):
        for j in range(values.shape[1]):
            if ring[i, j] >= 0:
                sums[ring[i, j]] += max(values[i, j], 0.0)
    return sums


@compiled(error_model="numpy", fastmath={"contract", "reassoc", "nsz", "nnan", "ninf", "arcp"})
def zone_sums(values, ring, starts, mean, slope, cosine, sine, unit, zones):  # type: ignore[no-untyped-def]
    """Sum, over zones of rings, moments and angular harmonics of the intensity over its ring's mean.

    Columns: pixels, y^2 less what photons add, y / (1 + y), 1 / (1 + 8 y), (y - 1) times cos 2p, sin 2p and
    cos 4p of the angle p, and (y - 1) times the slope of the logarithm of the mean times cos p and sin p.
    """
    sums = np.zeros((zones, 9))
    # A pixel that is left out has the ring -1, whose weight is the last.
    inverse, steep = np.zeros(mean.size + 1, np.float32), np.zeros(mean.size + 1, np.float32)
    for r in range(mean.size):
        steep[r] = slope[r]
        if mean[r] > 0.0:
            inverse[r] = 1.0 / mean[r]
    unit = np.float32(unit)
    one, eight, most = np.float32(1.0), np.float32(8.0), np.float32(MOST)
    for i in range(values.shape[0]):
        for z in range(zones):
            n = m2 = low = dark = c2s = s2s = c4s = along = across = np.float32(0.0)
            for j in range(starts[i, z], starts[i, z + 1]):  # without branches, for vectors of pixels
                r = ring[i, j] if ring[i, j] >= 0 else mean.size
                share = inverse[r]
                here = one if share > 0.0 else np.float32(0.0)
                y = values[i, j] * share
                y = y if y > 0.0 else np.float32(0.0)
                y = y if y < most else most
                c, s, over = cosine[i, j], sine[i, j], (y - one) * here
                c2, s2 = c * c - s * s, (s + s) * c
                wide = one + eight * y
                both = here / ((one + y) * wide)
                n += here
                m2 += y * y - unit * share
                low += y * wide * both
                dark += (one + y) * both
                c2s += over * c2
                s2s += over * s2
                c4s += over * (c2 * c2 - s2 * s2)
                along += over * steep[r] * c
                across += over * steep[r] * s
            sums[z, 0] += n
            sums[z, 1] += m2
            sums[z, 2] += low
            sums[z, 3] += dark
            sums[z, 4] += c2s
            sums[z, 5] += s2s
            sums[z, 6] += c4s
            sums[z, 7] += along
            sums[z, 8] += across
    return sums


@compiled(error_model="numpy", fastmath={"nnan", "nsz"})
def neighbour_outliers(values, ring, unit):  # type: ignore[no-untyped-def]
    """Compare pixels with the largest and the smallest of the eight around them.

    In counts (`unit` above 0) in deviations of photons, else in logarithms. Gives, for brighter and for
    darker pixels, the largest difference and the numbers of those above 1, 2, 4 and 8.
    """
    rows, columns = values.shape
    found = np.zeros((2, 5))
    # Of three rows at a time: values, and the largest and the smallest of each three in a row. A pixel
    # that is left out lets none beside it stand out.
    top, bottom = np.empty((3, columns), np.float32), np.empty((3, columns), np.float32)
    high, low = np.empty((3, columns), np.float32), np.empty((3, columns), np.float32)
    for new in range(rows):
        n = new % 3
        for j in range(columns):
            out = ring[new, j] < 0
            v = max(values[new, j], np.float32(0.0))
            top[n, j] = np.float32(1e38) if out else v
            bottom[n, j] = np.float32(-1.0) if out else v
        for j in range(1, columns - 1):
            high[n, j] = max(top[n, j - 1], max(top[n, j], top[n, j + 1]))
            low[n, j] = min(bottom[n, j - 1], min(bottom[n, j], bottom[n, j + 1]))
        if new < 2:
            continue
        above, here, below = (new - 2) % 3, (new - 1) % 3, n
        for j in range(1, columns - 1):
            v = bottom[here, j]
            most = max(max(high[above, j], high[below, j]), max(top[here, j - 1], top[here, j + 1]))
            least = min(min(low[above, j], low[below, j]), min(bottom[here, j - 1], bottom[here, j + 1]))
            if v > np.float32(1.3) * most:
                side, bright, dark = 0, v, most
            elif v >= 0.0 and least > np.float32(1.3) * v:
                side, bright, dark = 1, least, v
            else:
                continue
            if unit > 0.0:
                difference = 2.0 * (math.sqrt(bright / unit + 0.375) - math.sqrt(dark / unit + 0.375))
            else:
                difference = math.log((bright + 1e-30) / (dark + 1e-30))
            found[side, 0] = max(found[side, 0], difference)
            found[side, 1] += difference > 1.0
            found[side, 2] += difference > 2.0
            found[side, 3] += difference > 4.0
            found[side, 4] += difference > 8.0
    return found


@compiled(error_model="numpy")
def map_sums(values, bins, count):  # type: ignore[no-untyped-def]
    """Give sum, sum of squares and largest value of an array in bins, shape (3, bins)."""
    found = np.zeros((3, count))
    found[2] = -np.inf
    for i in range(values.shape[0]):
        for j in range(values.shape[1]):
            b, v = bins[i, j], values[i, j]
            found[0, b] += v
            found[1, b] += v * v
            found[2, b] = max(found[2, b], v)
    return found


@compiled(error_model="numpy")
def beam_likelihoods(values, ring, candidates, rings):  # type: ignore[no-untyped-def]
    """Give the log-likelihood, a pixel, of exponential intensities in rings about candidates of the beam.

    Of intensities that are exponentially distributed about the means m of their rings it is -sum(log m) - 1,
    if these are estimated from the same pixels.
    """
    found = np.zeros(len(candidates))
    for c in range(len(candidates)):
        sums, counts = np.zeros(rings), np.zeros(rings)
        for i in range(candidates.shape[1]):
            for j in range(candidates.shape[2]):
                if ring[i, j] >= 0:
                    r = candidates[c, i, j]
                    sums[r] += max(values[i, j], 0.0)
                    counts[r] += 1.0
        total = 0.0
        pixels = 0.0
        for r in range(rings):
            if counts[r] > 1.0 and sums[r] > 0.0:
                total -= counts[r] * math.log(sums[r] / counts[r])
                pixels += counts[r]
        found[c] = total / max(pixels, 1.0)
    return found
