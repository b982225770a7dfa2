"""A river that learns to bend: the calculation behind the film and the cover of the first unit.

The rule is the one of Howard and Knutson (1984): a point of the channel moves sideways with the local curvature and,
more strongly and with the other sign, with the curvature upstream of it, whose influence fades with distance.
Everything else – loops, cut-offs, oxbow lakes – follows. Same seed, same river.
"""

import numpy as np

WIDTH = 22.0  # of the channel, in picture units
SPACING = 6.5  # between points of the centre line
FADE = 0.62 / WIDTH  # how fast the upstream influence fades
STEP = 3.4
LOCAL, UPSTREAM = -1.0, 2.5
MIDDLE, VALLEY = 360.0, 330.0  # the walls of the valley turn the river back
NECK = 1.15 * WIDTH  # two stretches nearer than this join


def resample(line):
    lengths = np.hypot(*np.diff(line, axis=0).T)
    along = np.concatenate([[0.0], np.cumsum(lengths)])
    count = max(int(along[-1] / SPACING), 8)
    at = np.linspace(0.0, along[-1], count)
    return np.stack([np.interp(at, along, line[:, 0]), np.interp(at, along, line[:, 1])], axis=1)


def smooth(values, rounds):
    for _ in range(rounds):
        values = values.copy()
        values[1:-1] = 0.25 * values[:-2] + 0.5 * values[1:-1] + 0.25 * values[2:]
    return values


def migrate(line):
    """One step of sideways movement."""
    tangent = np.gradient(line, axis=0)
    tangent /= np.hypot(*tangent.T)[:, None]
    normal = np.stack([-tangent[:, 1], tangent[:, 0]], axis=1)
    turn = np.cross(tangent[:-1], tangent[1:])
    curvature = smooth(np.concatenate([[0.0], turn]) / SPACING, 3) * WIDTH
    felt, upstream = 0.0, np.empty(len(line))
    keep = np.exp(-FADE * SPACING)
    for index, value in enumerate(curvature):
        felt = felt * keep + value * (1.0 - keep)
        upstream[index] = felt
    shift = STEP * (LOCAL * curvature + UPSTREAM * upstream)
    calm = np.clip((line[:, 0] - line[0, 0]) / 160, 0, 1) * np.clip((line[-1, 0] - line[:, 0]) / 160, 0, 1)
    move = -normal * (shift * calm)[:, None]
    off = line[:, 1] - MIDDLE
    outwards = np.sign(move[:, 1]) == np.sign(off)
    move[:, 1] *= np.where(outwards, np.clip(1 - (np.abs(off) / VALLEY) ** 4, 0, 1), 1)
    moved = line + move
    return resample(smooth(moved, 1) * 0.04 + moved * 0.96)


def cut_off(line):
    """Join stretches that touch; returns the new line and the loops that were left behind."""
    lakes = []
    apart = int(4 * WIDTH / SPACING)
    index = 0
    while index < len(line) - apart:
        gaps = np.hypot(*(line[index + apart:] - line[index]).T)
        near = np.nonzero(gaps < NECK)[0]
        if len(near):
            end = index + apart + int(near[-1])
            lakes.append(line[index + 2:end - 1].copy())
            line = np.concatenate([line[:index + 1], line[end:]])
        index += 1
    return (resample(line) if lakes else line), lakes


def history(steps, seed=7, left=-420.0, right=1700.0):
    """The centre line of every step, and the lakes born in it."""
    chance = np.random.default_rng(seed)
    xs = np.arange(left, right, SPACING)
    wobble = smooth(chance.normal(0, 16, len(xs)), 12)
    line = resample(np.stack([xs, MIDDLE + wobble], axis=1))
    lines, births = [line], [[]]
    for _ in range(steps):
        line = migrate(line)
        line, lakes = cut_off(line)
        lines.append(line)
        births.append(lakes)
    return lines, births
