"""Check the sample courses the way a reader of docs/PUBLISHING.md would, and play every file to its end.

`check.py COURSES_DIR` prints every fault it finds and ends with 1 if there is one. Needs ffmpeg and ffprobe.
"""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path, PurePosixPath

KEY = re.compile(r"[a-z0-9-]{1,64}")
CUE = re.compile(r"^(\d+):(\d\d):(\d\d)\.(\d{3}) --> (\d+):(\d\d):(\d\d)\.(\d{3})$", re.M)
PICTURE = re.compile(r"!\[([^\]]*)\]\(([^)\s]+)\)")
QUESTION_KINDS = {"single", "multiple", "order", "match", "short_text", "numeric"}
LESSON_KINDS = {"audio", "video", "page", "document", "image", "quiz"}
LIMIT = 12_000_000
COVER_LIMIT = 120_000

faults, used = [], set()


def fault(where, what):
    faults.append(f"{where}: {what}")


def inside(course, unit, path, where):
    """The file that a relative path names, or None with a fault."""
    parts = PurePosixPath(path).parts
    if PurePosixPath(path).is_absolute() or ".." in parts:
        fault(where, f"path leaves the folder: {path}")
        return None
    file = unit.joinpath(*parts)
    if not file.is_file() or file.is_symlink() or not file.resolve().is_relative_to(course.resolve()):
        fault(where, f"no such file: {path}")
        return None
    used.add(file.resolve())
    return file


def toml(path):
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        fault(path, error)
        return {}


def duration_ms(file, where):
    """Decode the file to its end and return how long it is."""
    played = subprocess.run(["ffmpeg", "-v", "error", "-xerror", "-i", file, "-f", "null", "-"], capture_output=True, text=True, check=False)
    if played.returncode or played.stderr:
        fault(where, f"{file.name} does not play: {played.stderr.strip()}")
    probed = subprocess.run(["ffprobe", "-v", "error", "-of", "json", "-show_format", "-show_streams", file], capture_output=True, text=True, check=True)
    facts = json.loads(probed.stdout)
    for stream in facts["streams"]:
        if stream["codec_type"] == "video" and (stream["codec_name"], stream["pix_fmt"]) != ("h264", "yuv420p"):
            fault(where, f"{file.name} is {stream['codec_name']} {stream['pix_fmt']}, not h264 yuv420p")
    if file.suffix == ".mp4":
        head = file.read_bytes()
        if head.find(b"moov") > head.find(b"mdat"):
            fault(where, f"{file.name} has its index at the end")
    return round(float(facts["format"]["duration"]) * 1000)


def captions(file, length, where):
    text = file.read_text(encoding="utf-8")
    if not text.startswith("WEBVTT\n\n"):
        fault(where, f"{file.name} is not WebVTT")
    starts, last = [], 0
    for cue in CUE.findall(text):
        numbers = [int(part) for part in cue]
        start, end = (((h * 60 + m) * 60 + s) * 1000 + ms for h, m, s, ms in (numbers[:4], numbers[4:]))
        if not last <= start < end <= length:
            fault(where, f"{file.name}: cue {start}–{end} ms overlaps or is outside 0–{length} ms")
        starts.append(start)
        last = end
    if not starts or len(starts) != text.count("-->"):
        fault(where, f"{file.name}: cues missing or malformed")
    return starts


def question(ask, where):
    kind = ask.get("kind")
    if kind not in QUESTION_KINDS or not ask.get("prompt"):
        fault(where, f"question needs a known kind and a prompt: {kind}")
        return
    correct = ask.get("correct")

    def ids(key):
        listed = [option["id"] for option in ask.get(key, []) if option["text"]]
        if len(listed) < 2 or len(set(listed)) != len(listed):
            fault(where, f"{key} need two or more different ids")
        return set(listed)

    right = {
        "single": lambda: correct in ids("options"),
        "multiple": lambda: bool(correct) and len(set(correct)) == len(correct) and set(correct) <= ids("options"),
        "order": lambda: sorted(correct) == sorted(ids("options")) and correct != [option["id"] for option in ask["options"]],
        "match": lambda: set(correct) == ids("left") and set(correct.values()) <= ids("right"),
        "short_text": lambda: bool(ask.get("accept")) and all(word.strip() for word in ask["accept"]),
        "numeric": lambda: isinstance(ask.get("value"), (int, float)) and ask.get("tolerance", 0) >= 0,
    }[kind]
    if not right():
        fault(where, "the answer does not fit the question")


def lesson(course, unit, path):
    where = path.relative_to(course.parent)
    parts = path.read_text(encoding="utf-8").split("+++\n", 2)
    if len(parts) != 3 or parts[0]:
        fault(where, "no front matter between two lines of +++")
        return None
    try:
        front = tomllib.loads(parts[1])
    except tomllib.TOMLDecodeError as error:
        fault(where, error)
        return None
    kind = front.get("kind")
    if kind not in LESSON_KINDS or not front.get("title"):
        fault(where, "needs a known kind and a title")
    media = front.get("media", {})
    lengths = []
    for quality, name in (media if isinstance(media, dict) else {"high": media}).items():
        if quality not in {"low", "medium", "high"}:
            fault(where, f"unknown quality {quality}")
        file = inside(course, unit, name, where)
        if file and kind in {"audio", "video"}:
            lengths.append(duration_ms(file, where))
        if file and kind == "document" and not file.read_bytes().startswith(b"%PDF-"):
            fault(where, f"{name} is not a PDF")
    if kind in {"audio", "video", "document", "image"} and not media:
        fault(where, "no media")
    starts = []
    for track in front.get("captions", []):
        file = inside(course, unit, track["file"], where)
        if file and lengths:
            starts.append(captions(file, min(lengths), where))
    chapters = [chapter["at_ms"] for chapter in front.get("chapters", [])]
    if chapters != sorted(set(chapters)) or (chapters and chapters[0] != 0):
        fault(where, "chapters must rise from 0")
    if starts and not set(chapters[1:]) <= set(starts[0]):
        fault(where, "a chapter does not begin with a caption")
    if any(track != starts[0] for track in starts):
        fault(where, "the captions of two languages differ in time")
    for alt, name in PICTURE.findall(parts[2]):
        inside(course, unit, name, where)
        if not alt:
            fault(where, f"{name} has no description")
    asked = front.get("questions", [])
    names = [ask.get("id") for ask in asked]
    if (kind == "quiz") != bool(asked) or len(set(names)) != len(names) or None in names:
        fault(where, "a quiz, and only a quiz, has questions with different ids")
    for ask in asked:
        question(ask, f"{where} · {ask.get('id')}")
    return kind, {ask.get("kind") for ask in asked}


def cover(course, unit, settings, where):
    file = inside(course, unit, settings.get("cover", "cover.png"), where)
    if file and file.stat().st_size > COVER_LIMIT:
        fault(where, f"{file.name} is larger than {COVER_LIMIT} bytes")


def main():
    root = Path(sys.argv[1]).resolve()
    kinds, in_one_quiz, languages = set(), set(), set()
    for course in sorted(path for path in root.iterdir() if path.is_dir()):
        settings = toml(course / "course.toml")
        used.add(course / "course.toml")
        if not KEY.fullmatch(settings.get("key", course.name)) or not settings.get("title"):
            fault(course.name, "needs a proper key and a title")
        cover(course, course, settings, course.name)
        units = sorted(path for path in course.iterdir() if path.is_dir())
        for unit in units:
            own = toml(unit / "unit.toml")
            used.add(unit / "unit.toml")
            if not KEY.fullmatch(own.get("key", re.sub(r"^\d+-", "", unit.name))) or not own.get("title"):
                fault(unit.name, "needs a proper key and a title")
            languages.add(own.get("language", settings.get("language", "en")))
            cover(course, unit, own, unit.name)
            for path in sorted(unit.glob("[0-9][0-9]-*.md")):
                used.add(path)
                kind, asked = lesson(course, unit, path) or (None, set())
                kinds.add(kind)
                in_one_quiz |= {frozenset(asked)}
    if missing := LESSON_KINDS - kinds:
        fault("courses", f"no lesson of kind {sorted(missing)}")
    if not any(asked >= QUESTION_KINDS for asked in in_one_quiz):
        fault("courses", "no quiz with every kind of question")
    if "ar" not in languages:
        fault("courses", "no unit in Arabic")
    files = [path for path in root.rglob("*") if path.is_file()]
    for path in files:
        if path not in used:
            fault(path.relative_to(root), "belongs to no lesson")
    credits = (root.parent / "CREDITS.md").read_text(encoding="utf-8")
    for path in files:
        if path.suffix not in {".md", ".toml"} and path.name != "cover.png" and f"`{path.name}`" not in credits:
            fault(path.relative_to(root), "has no credit in CREDITS.md")
    size = sum(path.stat().st_size for path in root.parent.rglob("*") if path.is_file())
    if size > LIMIT:
        fault("samples", f"{size} bytes are more than {LIMIT}")
    print("\n".join(faults) or f"{len(files)} files, {size / 1e6:.2f} MB: all sound")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
