"""Sums over the pixels of a view, compiled: each goes over them once."""

from __future__ import annotations

import math

import numpy as np

from speckle_plugin.scattering import compiled

__all__ = ["beam_likelihoods", "map_sums", "neighbour_outliers", "pixel_sums", "ring_sums", "zone_sums"]

MOST = 12.0
"""Intensities above so many times the mean of their ring count as that many times it."""


@compiled()
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


@compiled()
def ring_sums(values, ring, rings):  # type: ignore[no-untyped-def]
    """Sum the values of each ring, negative ones as 0."""
    sums = np.zeros(rings)
    for i in range(values.shape[0]):
        for j in range(values.shape[1]):
            if ring[i, j] >= 0:
                sums[ring[i, j]] += max(values[i, j], 0.0)
    return sums


@compiled(fastmath={"contract", "reassoc", "nsz"})
def zone_sums(values, ring, zone, mean, slope, cosine, sine, unit, zones):  # type: ignore[no-untyped-def]
    """Sum, over zones of rings, moments and angular harmonics of the intensity over its ring's mean.

    Columns: pixels, y^2 less what photons add, y / (1 + y), 1 / (1 + 8 y), (y - 1) times cos 2p, sin 2p and cos 4p of
    the angle p, and (y - 1) times the slope of the logarithm of the mean times cos p and sin p.
    """
    sums = np.zeros((zones, 9))
    for i in range(values.shape[0]):
        for j in range(values.shape[1]):
            r = ring[i, j]
            if r >= 0 and mean[r] > 0.0:
                y = min(max(values[i, j], 0.0) / mean[r], MOST)
                c, s, z, w = cosine[i, j], sine[i, j], zone[r], slope[r]
                c2, s2 = c * c - s * s, 2.0 * s * c
                sums[z, 0] += 1.0
                sums[z, 1] += y * y - unit / mean[r]
                sums[z, 2] += y / (1.0 + y)
                sums[z, 3] += 1.0 / (1.0 + 8.0 * y)
                sums[z, 4] += (y - 1.0) * c2
                sums[z, 5] += (y - 1.0) * s2
                sums[z, 6] += (y - 1.0) * (c2 * c2 - s2 * s2)
                sums[z, 7] += (y - 1.0) * w * c
                sums[z, 8] += (y - 1.0) * w * s
    return sums


@compiled(fastmath={"nnan", "nsz"})
def neighbour_outliers(values, ring, unit):  # type: ignore[no-untyped-def]
    """Compare pixels with the largest and the smallest of the eight around them.

    In counts (`unit` above 0) in deviations of photons, else in logarithms. Gives, for brighter and for darker
    pixels, the largest difference and the numbers of those above 1, 2, 4 and 8.
    """
    rows, columns = values.shape
    found = np.zeros((2, 5))
    # The largest and the smallest of three in a row; a pixel that is left out lets none beside it stand out.
    high, low = np.empty((rows, columns), np.float32), np.empty((rows, columns), np.float32)
    clean_high, clean_low = np.empty_like(high), np.empty_like(low)
    for i in range(rows):
        for j in range(columns):
            out = ring[i, j] < 0
            v = max(values[i, j], np.float32(0.0))
            clean_high[i, j] = np.float32(1e38) if out else v
            clean_low[i, j] = np.float32(-1.0) if out else v
        for j in range(1, columns - 1):
            high[i, j] = max(clean_high[i, j - 1], max(clean_high[i, j], clean_high[i, j + 1]))
            low[i, j] = min(clean_low[i, j - 1], min(clean_low[i, j], clean_low[i, j + 1]))
    for i in range(1, rows - 1):
        for j in range(1, columns - 1):
            v = clean_low[i, j]
            most = max(max(high[i - 1, j], high[i + 1, j]), max(clean_high[i, j - 1], clean_high[i, j + 1]))
            least = min(min(low[i - 1, j], low[i + 1, j]), min(clean_low[i, j - 1], clean_low[i, j + 1]))
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


@compiled()
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


@compiled()
def beam_likelihoods(values, ring, candidates, rings):  # type: ignore[no-untyped-def]
    """Give, for rings about each candidate of the beam, the log-likelihood of exponential intensities a pixel.

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
