"""Make the two typefaces of the pictures and the PDF known to rsvg-convert and Chromium, for this build only.

`fonts.py BUILD_DIR` expects the npm packages `@fontsource/literata`, `@fontsource/inter` and
`@fontsource/noto-naskh-arabic` in BUILD_DIR/node_modules and writes BUILD_DIR/fonts.conf; use it with FONTCONFIG_FILE.
"""

import sys
from pathlib import Path

from fontTools.ttLib import TTFont

WANTED = {
    "literata": ("latin-400-normal", "latin-600-normal", "latin-400-italic"),
    "inter": ("latin-400-normal", "latin-600-normal", "latin-ext-400-normal"),
    "noto-naskh-arabic": ("arabic-400-normal", "arabic-600-normal"),
}

build = Path(sys.argv[1]).resolve()
out = build / "fonts"
out.mkdir(exist_ok=True)
for family, cuts in WANTED.items():
    for cut in cuts:
        font = TTFont(build / "node_modules/@fontsource" / family / "files" / f"{family}-{cut}.woff2")
        font.flavor = None
        font.save(out / f"{family}-{cut}.ttf")
(build / "fonts.conf").write_text(f"""<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig><dir>{out}</dir><cachedir>{build / "font-cache"}</cachedir></fontconfig>
""", encoding="utf-8")
