"""Sums over the pixels of a view, compiled: each goes over them once."""

from __future__ import annotations

import math

import numpy as np

from speckle_plugin.scattering import compiled

__all__ = [
    "beam_likelihoods",
    "line_sums",
    "map_heights",
    "map_sums",
    "neighbour_outliers",
    "pixel_sums",
    "ring_sums",
    "zone_sums",
]

REORDERED = {"contract", "reassoc", "nsz", "nnan", "arcp"}
"""What is allowed with sums of floating point numbers, so that they are of vectors."""

FAINTEST = float(np.finfo(np.float32).tiny)
"""Of smaller means there is no inverse in float32: such rings have no light."""

MOST = 12.0
"""Intensities above so many times the mean of their ring count as that many times it."""


@compiled()
def _larger(a, b):  # type: ignore[no-untyped-def]
    return a if a > b else b  # which numba compiles to vectors, unlike Python's `max`


@compiled()
def _smaller(a, b):  # type: ignore[no-untyped-def]
    return a if a < b else b


@compiled(error_model="numpy", fastmath=REORDERED)
def pixel_sums(values, pixels):  # type: ignore[no-untyped-def]
    """Give least positive value, largest one, and the numbers of negative, of zero and of largest ones.

    And of those that are no multiple of the least. But for so many `pixels` the values are left out, and 0.
    """
    flat = values.reshape(-1)
    # As integers positive floating point numbers have the same order, and the least of vectors is quick.
    bits = flat.view(np.int32)
    largest_int = np.int32(0x7F800000)  # infinity
    least_bits, most_bits = largest_int, np.int32(0)
    for i in range(bits.size):
        b = bits[i]
        most_bits = b if b > most_bits else most_bits
        b = b if b > 0 else largest_int
        least_bits = b if b < least_bits else least_bits
    found = np.array([least_bits, most_bits], np.int32).view(np.float32)
    least, most = found[0], found[1]
    nothing, one, thousandth = np.float32(0.0), np.float32(1.0), np.float32(1e-3)
    rounding, most_steps = np.float32(2e-7), np.float32(1e6)
    share = one / least
    negative = zero = largest = fractions = nothing  # exact up to 1.7e7 pixels
    for i in range(flat.size):
        v = flat[i]
        negative += one if v < nothing else nothing
        zero += one if v == nothing else nothing
        largest += one if v == most else nothing
        u = v * share
        # Rounding leaves no fraction to see of a value that is far above the least.
        allowed = thousandth + rounding * u
        fractions += one if abs(u - np.rint(u)) > allowed or u > most_steps else nothing
    left_out = flat.size - pixels
    zero -= left_out
    largest -= left_out if most == nothing else 0
    return least, most, int(negative), int(zero), int(largest), int(fractions)


@compiled(error_model="numpy", fastmath=REORDERED)
def ring_sums(values, starts):  # type: ignore[no-untyped-def]
    """Sum the values of each ring, negative ones as 0; they are sorted, and each begins at its `starts`."""
    sums, nothing = np.zeros(starts.size - 1), np.float32(0.0)
    for r in range(sums.size):
        inside = values[starts[r] : starts[r + 1]]  # counted from 0, or numba does not take vectors
        total = np.float64(0.0)
        for p in range(inside.size):
            total += inside[p] if inside[p] > nothing else nothing
        sums[r] = total
    return sums


@compiled(error_model="numpy", fastmath=REORDERED)
def zone_sums(values, starts, zones, cosine, sine, mean, slope, unit):  # type: ignore[no-untyped-def]
    """Sum, over zones of rings, moments and angular harmonics of the intensity over its ring's mean.

    `starts` says where the pixels of each ring begin, `zones` where the rings of each zone. Columns: pixels,
    y^2 less what photons add, y / (1 + y), 1 / (1 + 8 y), (y - 1) times cos 2p, sin 2p and cos 4p of the
    angle p, and (y - 1) times the slope of the logarithm of the mean times cos p and sin p.
    """
    sums = np.zeros((zones.size - 1, 9))
    nothing, one, eight, most = np.float32(0.0), np.float32(1.0), np.float32(8.0), np.float32(MOST)
    for z in range(zones.size - 1):
        for r in range(zones[z], zones[z + 1]):
            if mean[r] < FAINTEST:
                continue
            share = np.float32(1.0 / mean[r])
            m2 = low = dark = c2s = s2s = c4s = along = across = nothing
            first, end = starts[r], starts[r + 1]
            inside, cosines, sines = values[first:end], cosine[first:end], sine[first:end]
            for p in range(inside.size):
                y = inside[p] * share
                y = y if y > nothing else nothing
                y = y if y < most else most
                c, s, over = cosines[p], sines[p], y - one
                c2, s2 = c * c - s * s, (s + s) * c
                wide = one + eight * y
                both = one / ((one + y) * wide)
                m2 += y * y
                low += y * wide * both
                dark += (one + y) * both
                c2s += over * c2
                s2s += over * s2
                c4s += over * (c2 * c2 - s2 * s2)
                along += over * c
                across += over * s
            pixels = end - first
            sums[z, 0] += pixels
            sums[z, 1] += m2 - pixels * unit * share
            sums[z, 2] += low
            sums[z, 3] += dark
            sums[z, 4] += c2s
            sums[z, 5] += s2s
            sums[z, 6] += c4s
            sums[z, 7] += along * slope[r]
            sums[z, 8] += across * slope[r]
    return sums


@compiled(error_model="numpy", fastmath=REORDERED)
def neighbour_outliers(values, valid, unit):  # type: ignore[no-untyped-def]
    """Compare pixels with the largest and the smallest of the eight around them.

    In counts (`unit` above 0) in deviations of photons, else in logarithms. Gives, for brighter and for
    darker pixels, the largest difference and the numbers of those above 1, 2, 4 and 8.
    """
    rows, columns = values.shape
    found = np.zeros((2, 5))
    nothing, one, two = np.float32(0.0), np.float32(1.0), np.float32(2.0)
    part, tiny, add = np.float32(1.3), np.float32(1e-30), np.float32(0.375)
    share = np.float32(1.0 / unit if unit > 0.0 else 0.0)
    # Of logarithms: the ratio is compared, which is quicker than to take its logarithm.
    limits = np.array([1.0, 2.0, 4.0, 8.0], np.float32)
    if unit <= 0.0:
        limits = np.exp(limits)
    first, second, third, fourth = limits
    # Of three rows at a time: values, and the largest and the smallest of each three in a row. A pixel
    # that is left out lets none beside it stand out.
    top, bottom = np.empty((3, columns), np.float32), np.empty((3, columns), np.float32)
    high, low = np.empty((3, columns), np.float32), np.empty((3, columns), np.float32)
    most = np.zeros((2, columns), np.float32)
    for new in range(rows):
        n = new % 3
        for j in range(columns):
            v, out = values[new, j], not valid[new, j]
            v = v if v > nothing else nothing
            top[n, j] = np.float32(1e30) if out else v
            bottom[n, j] = np.float32(-1.0) if out else v
        for j in range(1, columns - 1):
            high[n, j] = _larger(top[n, j], _larger(top[n, j - 1], top[n, j + 1]))
            low[n, j] = _smaller(bottom[n, j], _smaller(bottom[n, j - 1], bottom[n, j + 1]))
        if new < 2:
            continue
        above, here, below = (new - 2) % 3, (new - 1) % 3, n
        for side in range(2):
            n1 = n2 = n4 = n8 = nothing
            for j in range(1, columns - 1):
                beside = _larger(top[here, j - 1], top[here, j + 1])
                brightest = _larger(_larger(high[above, j], high[below, j]), beside)
                beside = _smaller(bottom[here, j - 1], bottom[here, j + 1])
                darkest = _smaller(_smaller(low[above, j], low[below, j]), beside)
                v = bottom[here, j]
                bright, dark = (v, brightest) if side == 0 else (darkest, v)
                stands_out = (dark >= nothing) & (bright > part * dark)
                bright, dark = _larger(bright, nothing), _larger(dark, nothing)
                if unit > 0.0:
                    difference = two * (np.sqrt(bright * share + add) - np.sqrt(dark * share + add))
                else:
                    difference = (bright + tiny) / (dark + tiny)
                difference = difference if stands_out else nothing
                most[side, j] = _larger(difference, most[side, j])
                n1 += one if difference > first else nothing
                n2 += one if difference > second else nothing
                n4 += one if difference > third else nothing
                n8 += one if difference > fourth else nothing
            found[side, 1] += n1
            found[side, 2] += n2
            found[side, 3] += n4
            found[side, 4] += n8
    for side in range(2):
        found[side, 0] = most[side].max()
        if unit <= 0.0:
            found[side, 0] = math.log(max(found[side, 0], 1.0))
    return found


@compiled(error_model="numpy", fastmath=REORDERED)
def zeros_among(values, valid, limits):  # type: ignore[no-untyped-def]
    """Count pixels whose eight neighbours have so much together, and those of them that are 0.

    Gives an array of shape (limits, 2). Pixels with one beside them that is left out do not count.
    """
    rows, columns = values.shape
    found = np.zeros((limits.size, 2))
    nothing, one, out = np.float32(0.0), np.float32(1.0), np.float32(-1e30)
    rest = np.empty((3, columns), np.float32)  # of three rows at a time
    around, of_zero = np.empty(columns, np.float32), np.empty(columns, np.float32)
    for i in range(rows):
        for j in range(columns):
            v = values[i, j]
            rest[i % 3, j] = (v if v > nothing else nothing) if valid[i, j] else out
        if i < 2:
            continue
        above, here, below = rest[(i - 2) % 3], rest[(i - 1) % 3], rest[i % 3]
        for j in range(1, columns - 1):
            beside = here[j - 1] + here[j + 1] + above[j - 1] + above[j] + above[j + 1]
            beside += below[j - 1] + below[j] + below[j + 1]
            around[j] = beside if here[j] >= nothing else out
            of_zero[j] = beside if here[j] == nothing else out
        for n in range(limits.size):
            limit, all_of, zeros = limits[n], nothing, nothing
            for j in range(1, columns - 1):
                all_of += one if around[j] >= limit else nothing
                zeros += one if of_zero[j] >= limit else nothing
            found[n, 0] += all_of
            found[n, 1] += zeros
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


@compiled()
def _top(before, largest, after):  # type: ignore[no-untyped-def]
    """Give the height of the parabola through three points, of which the middle one is the largest."""
    return largest + (before - after) ** 2 / (8.0 * (2.0 * largest - before - after))


@compiled(error_model="numpy")
def map_heights(values, middle, scale, near, table):  # type: ignore[no-untyped-def]
    """Count points and peaks of half a map by their heights, and give the heights of the peaks.

    The height of a peak is that of the parabolas along row and column, since most are between points.

    Parameters
    ----------
    values : array of float32, shape (rows, columns)
        The map goes on beyond its first row as it does turned about the origin. Its last row, and its first
        and last column, have no peaks.
    middle : int
        Column of the origin, which is in the first row.
    scale : float32
        Of the heights.
    near : float
        Points so far from the origin do not count.
    table : array of int, shape (65536,)
        The bin of each height by its first 16 bits.

    Returns
    -------
    points, peaks : array, shape (bins,)
    heights : array, shape (peaks,)
    """
    rows, columns = values.shape
    bins = table.max() + 1
    points, peaks = np.zeros(bins, np.int64), np.zeros(bins, np.int64)
    heights = np.empty(rows * columns // 4 + rows + columns, np.float32)
    count = 0
    scaled, around = np.empty(columns, np.float32), np.empty(columns, np.float32)
    column = np.empty(columns, np.float32)  # the larger one of the rows above and below
    turned = np.empty(columns, np.float32)
    height = np.empty(1, np.float32)
    bits, height_bits = scaled.view(np.uint32), height.view(np.uint32)
    for j in range(columns):
        turned[j] = values[1, min(max(2 * middle - j, 0), columns - 1)]
    for i in range(rows):
        row = values[i]
        for j in range(columns):
            scaled[j] = row[j] * scale
        outside = near * near - i * i
        gap = -1 if outside < 0 else int(math.sqrt(outside))  # columns on both sides of the middle one
        # Of the first row one half is the other one again.
        left_end = 0 if i == 0 else middle - max(gap, 0)
        spans = ((0, left_end), (middle + gap + 1, columns))
        for first, end in spans:
            for j in range(first, end):
                points[table[bits[j] >> 16]] += 1
        if i + 1 == rows:
            break
        above, below = values[i - 1] if i else turned, values[i + 1]
        for j in range(columns):  # as vectors: few points are peaks, and none is foreseen
            column[j] = _larger(above[j], below[j])
        for j in range(1, columns - 1):
            sides = _larger(row[j - 1], row[j + 1])
            around[j] = _larger(_larger(column[j - 1], column[j]), _larger(column[j + 1], sides))
        for first, end in spans:
            for j in range(max(first, 1), min(end, columns - 1)):
                if row[j] > around[j] and row[j] > 0:
                    height[0] = scale * (
                        _top(above[j], row[j], below[j]) + _top(row[j - 1], row[j], row[j + 1]) - row[j]
                    )
                    peaks[table[height_bits[0] >> 16]] += 1
                    heights[count] = height[0]
                    count += 1
    return points, peaks, heights[:count]


@compiled(error_model="numpy")
def beam_likelihoods(values, candidates, counts):  # type: ignore[no-untyped-def]
    """Give the log-likelihood, a pixel, of exponential intensities in rings about candidates of the beam.

    Of intensities that are exponentially distributed about the means m of their rings it is -sum(log m) - 1,
    if these are estimated from the same pixels. Values that are left out are 0, and not in `counts`.
    """
    found = np.zeros(len(candidates))
    for c in range(len(candidates)):
        sums = np.zeros(counts.shape[1])
        for i in range(candidates.shape[1]):
            for j in range(candidates.shape[2]):
                sums[candidates[c, i, j]] += max(values[i, j], 0.0)
        total = 0.0
        pixels = 0.0
        for r in range(sums.size):
            if counts[c, r] > 1.0 and sums[r] > 0.0:
                total -= counts[c, r] * math.log(sums[r] / counts[c, r])
                pixels += counts[c, r]
        found[c] = total / max(pixels, 1.0)
    return found


@compiled(error_model="numpy", fastmath=REORDERED)
def line_sums(values, start):  # type: ignore[no-untyped-def]
    """Sum the roots of the values along rows, and along columns, both from `start` on."""
    nothing = np.float32(0.0)
    rows, columns = values.shape[0] - start, values.shape[1] - start
    in_rows, in_columns = np.zeros(rows), np.zeros(columns, np.float32)
    for i in range(rows):
        line, total = values[start + i, start:], nothing
        for j in range(line.size):
            root = np.sqrt(line[j] if line[j] > nothing else nothing)
            total += root
            in_columns[j] += root
        in_rows[i] = total
    return in_rows, in_columns
