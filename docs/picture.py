#!/usr/bin/env python3
"""Draws what a command prints as an SVG: docs/picture.py docs/check.svg quorum-img check a.img b.img c.img"""
import html
import re
import subprocess
import sys

COLOURS = {"31": "#ff6b6b", "32": "#5fd75f", "33": "#e5c07b", "34": "#61afef", "35": "#c678dd", "36": "#56b6c2"}
LINE, WIDTH, MARGIN = 18, 8.43, 16


def spans(line):
    """The line as SVG: bold and coloured where the terminal would be."""
    out, style = "", ""
    for part in re.split(r"(\x1b\[[0-9;]*m)", line):
        found = re.fullmatch(r"\x1b\[([0-9;]*)m", part)
        if found is None:
            out += f'<tspan style="{style}">{html.escape(part)}</tspan>' if part else ""
            continue
        for code in found[1].split(";"):
            if code in ("", "0"):
                style = ""
            elif code == "1":
                style += "font-weight:bold;"
            elif code == "2":
                style += "fill:#8a8f98;"
            elif code in COLOURS:
                style += f"fill:{COLOURS[code]};"
    return out


target, command = sys.argv[1], sys.argv[2:]
shown = subprocess.run(["script", "-qec", "stty cols 96; " + " ".join(command), "/dev/null"], capture_output=True, text=True).stdout
lines = ["$ " + " ".join(command), *shown.replace("\r", "").rstrip("\n").split("\n")]
plain = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in lines]
width = int(max(map(len, plain)) * WIDTH) + 2 * MARGIN
height = len(lines) * LINE + 2 * MARGIN
with open(target, "w") as svg:
    svg.write(f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}">\n')
    svg.write(f'<rect width="{width}" height="{height}" rx="8" fill="#1e2127"/>\n')
    svg.write('<g font-family="DejaVu Sans Mono,Menlo,Consolas,monospace" font-size="14" fill="#d7dae0">\n')
    for number, line in enumerate(lines):
        y = MARGIN + (number + 1) * LINE - 5
        svg.write(f'<text x="{MARGIN}" y="{y}" xml:space="preserve">{spans(line)}</text>\n')
    svg.write("</g>\n</svg>\n")
