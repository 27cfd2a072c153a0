#!/bin/bash
# Builds the qcow2 images from a.img, b.img and c.img. See README.md.
# usage: make-qcow2.sh [FOLDER]
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
out=${1:-$here}
mkdir -p "$out"
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

convert() { qemu-img convert -q -f raw -O qcow2 -o "$1" ${2:+$2} "$tmp/$3.img" "$tmp/$3.qcow2"; }

cp "$here"/[abc].img "$tmp"
# A qcow2 image has no end within its size: what c lacks are zeros.
truncate -s "$(stat -c %s "$here/a.img")" "$tmp/c.img"
convert cluster_size=4k '' a
convert cluster_size=64k,compression_type=zstd -c b
convert cluster_size=16k,compat=0.10 '' c

# In c one entry of the L2 table leads to no cluster's start: the guest's bytes from 0xc8000 on, 16 KiB.
number() { od -An -tu8 -j "$2" -N 8 --endian=big "$1" | tr -d ' '; }
l1=$(number "$tmp/c.qcow2" 40)
l2=$(($(number "$tmp/c.qcow2" "$l1") & 0x00fffffffffffe00))
entry=$((l2 + 0xc8000 / 16384 * 8))
printf '\xc2' | dd of="$tmp/c.qcow2" bs=1 seek=$((entry + 6)) conv=notrunc status=none

for image in a b c; do cp "$tmp/$image.qcow2" "$out/$image.qcow2"; done
