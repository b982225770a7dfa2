"""Speak the lessons and write captions that fit to the millisecond.

A narration is a text file with one caption per line; `# Title` opens a chapter, an empty line is a breath.
Each line is spoken on its own, so its length is known rather than guessed, and the captions and chapters
follow from adding the lengths up. Run `narrate.py BUILD_DIR`; results go straight into `../courses`.
"""

import json
import re
import subprocess
import sys
import textwrap
import wave
from pathlib import Path

HERE = Path(__file__).resolve().parent
COURSES = HERE.parent / "courses"
RATE = 24_000
LEAD_S, BETWEEN_S, BREATH_S, TAIL_S = 0.4, 0.4, 0.9, 0.8

LAND = COURSES / "rivers/01-how-rivers-shape-the-land"
FLOOD = COURSES / "rivers/02-living-with-the-flood"
NILE = COURSES / "rivers/03-the-nile"
ALOUD = COURSES / "look-and-listen/01-a-sentence-read-aloud"

# name, voice, lesson file, media file without ending, title. No media ending: the film takes the sound.
NARRATIONS = [
    ("lecture.en", "slt", LAND / "01-what-a-river-carries.md", LAND / "media/lecture", "What a river carries"),
    ("meander.en", "rms", LAND / "02-a-meander-grows.md", LAND / "media/meander", None),
    ("flood.en", "slt", FLOOD / "01-when-the-rain-arrives.md", FLOOD / "media/rain", "When the rain arrives"),
    ("nile.ar", "ar", NILE / "01-the-gift-of-the-river.md", NILE / "media/nile", "هبة النهر"),
    ("austen.en", "librivox", ALOUD / "01-listen-first.md", ALOUD / "media/austen", "Listen first"),
]
VOWEL_SIGNS = re.compile("[\u064b-\u0652\u0670]")


def run(*command):
    subprocess.run([str(part) for part in command], check=True, stdin=subprocess.DEVNULL)


def speak(voice, line, out, build):
    """Write one line as mono PCM at RATE and return its frames, without the silence at its ends."""
    raw = out.with_suffix(".raw.wav")
    if voice == "librivox":
        take, _ = line.split("|", 1)
        source = build / f"librivox/sense_and_sensibility_01_austen_64kb-{take}.wav"
        run("ffmpeg", "-v", "error", "-y", "-i", source, "-ar", RATE, "-ac", 1, out)
    else:
        if voice == "ar":
            run("espeak-ng", "-v", "ar", "-s", "125", "-w", raw, line)
        else:
            run("flite", "-voice", voice, "--setf", "duration_stretch=1.06", "-t", line, "-o", raw)
        trim = "silenceremove=start_periods=1:start_threshold=-50dB"
        run("ffmpeg", "-v", "error", "-y", "-i", raw, "-af", f"{trim},areverse,{trim},areverse", "-ar", RATE, "-ac", 1, out)
    with wave.open(str(out)) as piece:
        return piece.readframes(piece.getnframes())


def stamp(ms):
    return f"{ms // 3_600_000:02}:{ms // 60_000 % 60:02}:{ms // 1000 % 60:02}.{ms % 1000:03}"


def write_captions(path, cues, texts):
    blocks = ["WEBVTT\n"]
    for number, ((start, end), text) in enumerate(zip(cues, texts, strict=True), 1):
        folded = "\n".join(textwrap.wrap(text, 46))
        blocks.append(f"{number}\n{stamp(start)} --> {stamp(end)}\n{folded}\n")
    path.write_text("\n".join(blocks), encoding="utf-8")


def write_chapters(lesson, chapters):
    """Replace the `chapters = [ … ]` block of a lesson file."""
    rows = "".join(f"  {{ at_ms = {at}, title = {json.dumps(title, ensure_ascii=False)} }},\n" for at, title in chapters)
    text = lesson.read_text(encoding="utf-8")
    text, replaced = re.subn(r"^chapters = \[.*?^\]", lambda _: f"chapters = [\n{rows}]", text, flags=re.S | re.M)
    if replaced != 1:
        sys.exit(f"{lesson}: needs exactly one block `chapters = [` … `]`")
    lesson.write_text(text, encoding="utf-8")


def narrate(build, name, voice, lesson, media, title):
    sound, cues, texts, chapters = bytearray(), [], [], []

    def hush(seconds):
        sound.extend(bytes(2 * int(seconds * RATE)))

    def now():
        return len(sound) * 1000 // (2 * RATE)

    hush(LEAD_S)
    pending = None
    for number, line in enumerate((HERE / "narration" / f"{name}.txt").read_text(encoding="utf-8").splitlines()):
        if not line:
            hush(BREATH_S - BETWEEN_S)
        elif line.startswith("# "):
            pending = line[2:]
        else:
            frames = speak(voice, line, build / f"{name}-{number:02}.wav", build)
            start = now()
            if pending:
                chapters.append((0 if not chapters else start, pending))
                pending = None
            sound.extend(frames)
            cues.append((start, now()))
            texts.append(VOWEL_SIGNS.sub("", line.split("|")[-1]))
            hush(BETWEEN_S)
    hush(TAIL_S - BETWEEN_S)

    whole = build / f"{name}.wav"
    with wave.open(str(whole), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(RATE)
        out.writeframes(bytes(sound))
    language = name.split(".")[1]
    media.parent.mkdir(parents=True, exist_ok=True)
    write_captions(media.with_name(f"{media.name}.{language}.vtt"), cues, texts)
    write_chapters(lesson, chapters)
    timing = {"chapters": chapters, "cues": cues, "end": now()}
    (build / f"{name}.json").write_text(json.dumps(timing, ensure_ascii=False), encoding="utf-8")
    if title:
        run("ffmpeg", "-v", "error", "-y", "-i", whole, "-af", "loudnorm=I=-17:TP=-2:LRA=9", "-ar", RATE, "-ac", 1,
            "-c:a", "libmp3lame", "-b:a", "56k", "-metadata", f"title={title}", "-metadata", "album=Carrel sample course",
            media.with_suffix(".mp3"))
    print(f"{name}: {now() / 1000:.1f} s, {len(cues)} captions, {len(chapters)} chapters")


def main():
    build = Path(sys.argv[1]).resolve()
    build.mkdir(parents=True, exist_ok=True)
    for narration in NARRATIONS:
        narrate(build, *narration)
    timing = json.loads((build / "meander.en.json").read_text(encoding="utf-8"))
    arabic = (HERE / "narration/meander.ar.txt").read_text(encoding="utf-8").split("\n")
    write_captions(LAND / "media/meander.ar.vtt", timing["cues"], [line for line in arabic if line])


if __name__ == "__main__":
    main()
