"""Draw the film “A meander grows”, its poster pictures and the cover of its unit.

`film.py BUILD_DIR film` writes a lossless film without sound, timed by the narration (`narrate.py` first);
`film.py BUILD_DIR cover` writes the cover. The film has no words in it, so that captions in any language fit.
"""

import json
import math
import subprocess
import sys
from pathlib import Path

import cairocffi as cairo
import numpy as np

import river

W, H, FPS = 1280, 720, 25
PLAIN, TREES = "#a9b894", ("#7f966c", "#6c8761", "#8ea37b")
SAND, SAND_DARK = "#efe4cb", "#e0d0ab"
WATER, DEEP, GLINT, LAKE = "#2f6f73", "#1c4a4f", "#5d979a", "#4f8787"
SKY, SUN, SOIL, SOIL_DARK = "#f0e6d2", "#f4d58d", "#b98b5e", "#8d6440"
AGES = ("#7a4b52", "#b98b82", "#c4623a", "#d9784f", "#f4d58d", "#8aa17b", "#4f6b49", "#5d979a", "#46548f", "#303c70")
LAST = 470  # steps of the calculation that the film shows


def colour(context, text, alpha=1.0):
    red, green, blue = (int(text[i:i + 2], 16) / 255 for i in (1, 3, 5))
    context.set_source_rgba(red, green, blue, alpha)


def surface():
    made = cairo.ImageSurface(cairo.FORMAT_RGB24, W, H)
    context = cairo.Context(made)
    context.set_line_join(cairo.LINE_JOIN_ROUND)
    context.set_line_cap(cairo.LINE_CAP_ROUND)
    return made, context


def trace(context, line, width, text, alpha=1.0):
    for x, y in line:
        context.line_to(x, y)
    context.set_line_width(width)
    colour(context, text, alpha)
    context.stroke()


def plain(seed=5):
    """Grass with a wood scattered over it."""
    ground, context = surface()
    colour(context, PLAIN)
    context.paint()
    chance = np.random.default_rng(seed)
    groves = chance.uniform((0, 0), (W, H), (70, 2))
    for _ in range(2600):
        x, y = groves[chance.integers(70)] + chance.normal(0, 42, 2)
        colour(context, TREES[chance.integers(3)])
        context.arc(x, y, chance.uniform(2, 6.5), 0, math.tau)
        context.fill()
    return ground, context


class Plan:
    """The river from above, at any step, remembering what it left behind."""

    def __init__(self, lines, births):
        self.lines, self.births = lines, births
        self.ground, self.pen = plain()
        self.at = -1

    def advance(self, step):
        while self.at < step:
            self.at += 1
            for lake in self.births[self.at]:
                trace(self.pen, lake, river.WIDTH + 5, SAND_DARK)
                trace(self.pen, lake, river.WIDTH - 3, LAKE)
            bar = SAND if self.at // 5 % 2 else SAND_DARK
            trace(self.pen, self.lines[self.at], river.WIDTH + 7, bar)

    def draw(self, context, step, seconds):
        self.advance(int(step))
        context.set_source_surface(self.ground)
        context.paint()
        low = int(step)
        line = self.lines[low]
        following = self.lines[min(low + 1, LAST)]
        if len(line) == len(following) and not self.births[min(low + 1, LAST)]:
            line = line + (following - line) * (step - low)
        trace(context, line, river.WIDTH, DEEP)
        trace(context, line, river.WIDTH - 5, WATER)
        context.set_dash([26, 58], -seconds * 70)
        trace(context, line, 3, GLINT, 0.8)
        context.set_dash([18, 90], -seconds * 55 - 40)
        trace(context, line + [0, 5], 2, GLINT, 0.6)
        context.set_dash([])


def ages(lines, births, context, share):
    """Every course the river has had, the youngest on top, each age in its colour."""
    until = int(share * LAST)
    for step in range(0, until + 1, 2):
        text = AGES[min(step * len(AGES) // (LAST + 1), len(AGES) - 1)]
        trace(context, lines[step], river.WIDTH + 3, "#fbfaf7", 0.16)
        trace(context, lines[step], river.WIDTH, text)
    return until


def section(context, seconds, length):
    """A cut through a bend, looking along the river: the right bank is the outer one."""
    share = min(max((seconds - 3) / (length - 4), 0), 1)
    moved = 190 * share
    colour(context, SKY)
    context.paint()
    colour(context, SUN)
    context.arc(1030, 150, 62, 0, math.tau)
    context.fill()
    for base, height, shade in ((330, 60, "#c9d0b4"), (350, 34, "#b7c2a0")):
        context.move_to(0, H)
        for x in range(0, W + 40, 40):
            context.line_to(x, base - height * (0.5 + 0.5 * math.sin(x / 210 + base)))
        context.line_to(W, H)
        colour(context, shade)
        context.fill()
    left, deep, right, top = 250 + moved, 700 + moved, 800 + moved, 372
    # the ground, in layers
    context.rectangle(0, top, W, H)
    colour(context, SOIL)
    context.fill()
    for row, y in enumerate((470, 560, 640)):
        context.rectangle(0, y, W, 6 + 4 * row)
        colour(context, SOIL_DARK, 0.35)
        context.fill()
    context.rectangle(0, top - 8, W, 16)
    colour(context, TREES[1])
    context.fill()

    def bed(shift=0.0, up=0.0):
        context.move_to(left - 60 + shift, top - 10)
        context.curve_to(left + 160 + shift, top + 8 + up, left + 300 + shift, 590 + up, deep + shift, 600 + up)
        context.curve_to(deep + 70 + shift, 604 + up, right - 34 + shift, 560 + up, right - 26 + shift, 500 + up)
        context.curve_to(right - 20 + shift, 450, right + shift, top + 30, right + 6 + shift, top - 10)

    # sheets of sand which the moving bend left on the inner side
    context.save()
    context.rectangle(0, top - 9, W, H)
    context.clip()
    sheets = int(moved // 15)
    for sheet in range(sheets, -1, -1):
        context.new_path()
        bed(-moved + (sheets - sheet) * 15)
        context.close_path()
        colour(context, SAND if (sheets - sheet) % 2 else SAND_DARK)
        context.fill()
    context.new_path()
    bed()
    context.close_path()
    colour(context, SAND)
    context.set_line_width(16)
    context.stroke_preserve()
    colour(context, SKY)
    context.fill_preserve()
    context.clip()
    # the water: quicker towards the outer bank
    context.rectangle(0, top + 34, W, H)
    shade = cairo.LinearGradient(left, 0, right, 0)
    for stop, text in ((0, "#7fb0ae"), (0.55, "#3f8285"), (1, "#1c4a4f")):
        red, green, blue = (int(text[i:i + 2], 16) / 255 for i in (1, 3, 5))
        shade.add_color_stop_rgb(stop, red, green, blue)
    context.set_source(shade)
    context.fill()
    # grains in the slow corkscrew of the bend: over to the outer bank, down, and back along the bed
    chance = np.random.default_rng(11)
    for _ in range(90):
        lane, start, size = chance.uniform(0.25, 1.0), chance.uniform(0, 1), chance.uniform(2, 4.6)
        turn = (start + seconds * 0.075) * math.tau
        x = deep - 70 + math.cos(turn) * 165 * lane
        y = 500 + math.sin(turn) * 74 * lane + (x - deep) * 0.12
        colour(context, SAND if y > 500 else "#a7cfcc", 0.9 if y > 500 else 0.7)
        context.arc(x, y, size, 0, math.tau)
        context.fill()
    context.restore()
    # pieces of the outer bank that fall in
    if share > 0:
        for piece in range(5):
            born = 4.2 + piece * 3.6
            age = seconds - born
            if 0 <= age < 1.5:
                x = 800 + 190 * min(max((born - 3) / (length - 4), 0), 1) - 8 - 20 * age
                y = top + 4 + 130 * age * age
                context.save()
                context.translate(x, y)
                context.rotate(-0.7 * age)
                context.rectangle(-20, -14, 34, 44)
                colour(context, SOIL_DARK, 1 - max(age - 1, 0) * 2)
                context.fill()
                context.rectangle(-20, -18, 34, 9)
                colour(context, TREES[1], 1 - max(age - 1, 0) * 2)
                context.fill()
                context.restore()
    # a tree on the outer bank waits for its turn
    lean = min(max((share - 0.8) / 0.2, 0), 1)
    context.save()
    context.translate(1046, top - 6)
    context.rotate(-0.22 * lean)
    colour(context, SOIL_DARK)
    context.rectangle(-6, -70, 12, 72)
    context.fill()
    for x, y, radius, text in ((0, -96, 44, "#4f6b49"), (-26, -78, 30, "#6c8761"), (24, -76, 28, "#5d7a54")):
        colour(context, text)
        context.arc(x, y, radius, 0, math.tau)
        context.fill()
    context.restore()


def between(value, knots):
    times, values = zip(*knots, strict=True)
    return float(np.interp(value, times, values))


def film(build):
    timing = json.loads((build / "meander.en.json").read_text(encoding="utf-8"))
    cue = [start / 1000 for start, _ in timing["cues"]]
    end = timing["end"] / 1000
    cut, years, memory = cue[4], cue[9], cue[15]
    lines, births = river.history(LAST)
    inside = [s for s, born in enumerate(births) if any(0 < lake[:, 0].mean() < W for lake in born)]
    first = inside[0]
    steps = [(0, 0), (cue[1], 4), (cut, 62), (years, 62), (cue[12], first - 26), (cue[13] + 2.2, first + 0.5), (memory, 300)]
    plan = Plan(lines, births)
    old, old_pen = surface()
    colour(old_pen, "#efe9da")
    old_pen.paint()
    shown = -1
    target = build / "meander.mkv"
    encoder = subprocess.Popen(
        ["ffmpeg", "-v", "error", "-y", "-f", "rawvideo", "-pix_fmt", "bgr0", "-s", f"{W}x{H}", "-r", str(FPS), "-i", "-",
         "-vf", "format=yuv420p", "-c:v", "libx264", "-preset", "ultrafast", "-crf", "4", str(target)],
        stdin=subprocess.PIPE)
    frame, context = surface()
    for number in range(int(end * FPS)):
        t = number / FPS
        if t < cut + 1.8 or years - 0.6 <= t < memory + 1.2:
            step = between(t, steps)
            plan.draw(context, step, t)
            if cut - 0.2 <= t < cut + 1.8:  # where the cut will be made
                context.set_dash([14, 10])
                bend = lines[62][np.argmin(lines[62][:, 1] + 1e3 * (np.abs(lines[62][:, 0] - W / 2) > 420))]
                context.move_to(bend[0], bend[1] - 90)
                context.line_to(bend[0], bend[1] + 110)
                context.set_line_width(6)
                colour(context, "#a3271e", min((t - cut + 0.2) * 4, 1))
                context.stroke()
                context.set_dash([])
        if cut + 1.2 <= t < years + 0.2:
            context.push_group()
            section(context, t - cut - 1.2, years - cut - 1.2)
            context.pop_group_to_source()
            context.paint_with_alpha(min((t - cut - 1.2) / 0.6, 1) if t < years - 0.6 else max((years + 0.2 - t) / 0.8, 0))
        if t >= memory:
            until = int(LAST * min((t - memory) / (end - memory - 5), 1))
            while shown < until:
                shown += 1
                trace(old_pen, lines[shown], river.WIDTH + 3, "#fbfaf7", 0.12)
                trace(old_pen, lines[shown], river.WIDTH, AGES[min(shown * len(AGES) // (LAST + 1), len(AGES) - 1)])
            context.set_source_surface(old)
            context.paint_with_alpha(min((t - memory) / 1.2, 1))
            trace(context, lines[until], river.WIDTH, "#fbfaf7", min((t - memory) / 1.2, 1))
        frame.flush()
        encoder.stdin.write(frame.get_data())
    encoder.stdin.close()
    if encoder.wait():
        sys.exit("the film was not written")


def cover(build):
    """960×720, cut from the map of all courses."""
    lines, births = river.history(LAST)
    made = cairo.ImageSurface(cairo.FORMAT_RGB24, 960, 720)
    context = cairo.Context(made)
    context.set_line_join(cairo.LINE_JOIN_ROUND)
    colour(context, "#1c4a4f")
    context.paint()
    context.translate(480, 360)
    context.rotate(-0.32)
    context.scale(1.28, 1.28)
    context.translate(-640, -360)
    for step in range(0, LAST + 1, 3):
        trace(context, lines[step], river.WIDTH + 2, "#fbfaf7", 0.10)
        trace(context, lines[step], river.WIDTH, AGES[min(step * len(AGES) // (LAST + 1), len(AGES) - 1)])
    trace(context, lines[LAST], river.WIDTH + 8, "#1c4a4f")
    trace(context, lines[LAST], river.WIDTH, "#fbfaf7")
    made.write_to_png(str(build / "cover-meander.png"))


if __name__ == "__main__":
    {"film": film, "cover": cover}[sys.argv[2]](Path(sys.argv[1]).resolve())
