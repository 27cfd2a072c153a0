#!/bin/bash
# Builds the test images; the bytes are the same on every run. See README.md.
# usage: make.sh [-k] [FOLDER]     -k: keep the undamaged original.img too
set -euo pipefail

keep=
if [ "${1-}" = -k ]; then keep=1; shift; fi
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
out=${1:-$here}
mkdir -p "$out"
out=$(cd "$out" && pwd)

# Everything that could leak into the bytes is pinned.
umask 022
export LC_ALL=C TZ=UTC PATH="$PATH:/usr/sbin:/sbin"
export SOURCE_DATE_EPOCH=1700000000 E2FSPROGS_FAKE_TIME=1700000000
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

disk_sectors=2560
boot_start=40 boot_sectors=56
root_start=96 root_sectors=2400
boot=$((boot_start * 512))
root=$((root_start * 512))

die() { echo "make.sh: $*" >&2; exit 1; }

# put FILE OFFSET: stdin over the file's bytes, in place
put() { dd of="$1" seek="$2" bs=64K oflag=seek_bytes iflag=fullblock conv=notrunc status=none; }
# get FILE OFFSET LENGTH
get() { dd if="$1" skip="$2" count="$3" bs=64K iflag=skip_bytes,count_bytes,fullblock status=none; }

# noise SEED LENGTH: bytes that do not compress, the same for the same seed
noise() {
  local s=$1 i h
  for ((i = 0; i < $2; i++)); do
    s=$(((s * 1103515245 + 12345) & 0x7fffffff))
    printf -v h '\\x%02x' $((s >> 16 & 255))
    printf '%s' "$h"
  done | while IFS= read -r -n 4096 h || [ -n "$h" ]; do printf "$h"; done
}

# fill OCTAL LENGTH: one byte repeated
fill() { head -c "$2" /dev/zero | tr '\0' "\\$1"; }

words() {
  local w=(disk sector copy vote quorum block repair image table header bit
    replica offset journal inode label mirror parity stripe medium) s=7 i line=
  for ((i = 0; i < 5200; i++)); do
    s=$(((s * 1103515245 + 12345) & 0x7fffffff))
    line+="${w[(s >> 16) % ${#w[@]}]} "
    if ((${#line} > 64)); then printf '%s\n' "${line% }"; line=; fi
  done
}

# log_lines DAY: every line has the same length, so an older log lines up
log_lines() {
  local i
  for ((i = 0; i < 360; i++)); do
    printf '2023-11-%02d %02d:%02d:%02d host kernel[%05d]: unit %03d started, code %05d\n' \
      "$1" $((i / 60 + $1 % 7)) $((i % 60)) $((i * $1 % 60)) $((i * 37 + $1)) "$i" \
      $((i * $1 * 911 % 100000))
  done
}

# --- the files -------------------------------------------------------------
t=$tmp/tree
mkdir -p "$t"/{bin,etc,srv,usr/share,var/log}
echo quorum >"$t/etc/hostname"
echo 'PARTLABEL=root / ext4 defaults 0 1' >"$t/etc/fstab"
echo 'A small disk for tests.' >"$t/etc/motd"
words >"$t/usr/share/words"
log_lines 14 >"$t/var/log/boot.log"
{ printf '\177ELF\2\1\1'; noise 11 24000; } >"$t/bin/tool"
{ printf 'RAW1'; noise 22 49000; } >"$t/srv/photo.raw"
ln -s tool "$t/bin/tool-link"
find "$t" -type f -exec chmod 0644 {} +
find "$t" -type d -exec chmod 00755 {} + # five digits also clear setgid
chmod 0755 "$t/bin/tool"
find "$t" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +

# --- the original ----------------------------------------------------------
# Own defaults: the system's mke2fs.conf may differ.
cat >"$tmp/mke2fs.conf" <<'CONF'
[defaults]
	base_features = none
[fs_types]
	ext4 = {
		inode_size = 256
	}
	floppy = {
		blocksize = 1024
	}
CONF
fs=$tmp/root.fs
truncate -s $((root_sectors * 512)) "$fs"
MKE2FS_CONFIG=$tmp/mke2fs.conf mke2fs -q -F -t ext4 -b 1024 -I 256 -N 32 -m 0 -L root \
  -O none,ext_attr,filetype,extents,sparse_super,large_file,extra_isize,metadata_csum \
  -U 5b1f6f0e-0c7a-4e57-9d35-3c0a5c6d1e01 \
  -E hash_seed=8e0c9a52-7d43-4c1b-a6f8-2f1d0b7c3e02,root_owner=0:0,lazy_itable_init=0,nodiscard,no_copy_xattrs \
  -d "$t" "$fs"

# mke2fs copies the builder's uid, gid and change times: overwrite them.
{
  (cd "$t" && find . | sort) | while IFS= read -r p; do
    for f in 'uid 0' 'gid 0' "ctime @$SOURCE_DATE_EPOCH" "atime @$SOURCE_DATE_EPOCH" \
      "mtime @$SOURCE_DATE_EPOCH" "crtime @$SOURCE_DATE_EPOCH" \
      'ctime_extra 0' 'atime_extra 0' 'mtime_extra 0' 'crtime_extra 0'; do
      echo "set_inode_field /${p#.} $f"
    done
  done
  echo 'set_super_value flags 1' # char is not signed on every machine
} | sed 's,//*,/,' >"$tmp/fix"
debugfs -w -f "$tmp/fix" "$fs" >"$tmp/fix.log" 2>&1 || { cat "$tmp/fix.log" >&2; exit 1; }

orig=$tmp/original.img
truncate -s $((disk_sectors * 512)) "$orig"
sfdisk -q --wipe never "$orig" <<PARTS
label: gpt
label-id: 3D2C1F7A-54B0-4C8E-9E61-0A7B6C5D4E03
unit: sectors
first-lba: 34
start=$boot_start, size=$boot_sectors, name="boot", uuid=A1E0B2C3-1111-4D5E-8F60-718293A4B504, type=21686148-6449-6E6F-744E-656564454649
start=$root_start, size=$root_sectors, name="root", uuid=B2F1C3D4-2222-4E6F-9071-8293A4B5C605, type=0FC63DAF-8483-4772-8E79-3D69D8477DE4
PARTS
{ printf 'BOOTSTAGE 1\n'; noise 33 12000; } | put "$orig" "$boot"
put "$orig" "$root" <"$fs"

# --- the damage ------------------------------------------------------------
# at PATH: where a file's bytes start in the image
at() {
  local n first last
  n=$((($(stat -c %s "$t$1") + 1023) / 1024))
  first=$(debugfs -R "bmap $1 0" "$fs" 2>/dev/null)
  last=$(debugfs -R "bmap $1 $((n - 1))" "$fs" 2>/dev/null)
  [ $((last - first)) -eq $((n - 1)) ] || die "$1 is not in one piece"
  echo $((root + first * 1024))
}
log=$(at /var/log/boot.log)
photo=$(at /srv/photo.raw)
tool=$(at /bin/tool)
text=$(at /usr/share/words)
split=$(((photo + 16384 + 4095) / 4096 * 4096)) # a block no replica holds whole

log_lines 7 >"$tmp/old.log"
for r in a b c d; do cp "$orig" "$tmp/$r.img"; done
tsv=$tmp/damage.tsv
: >"$tsv"
note() { printf '%s.img\t%d\t%d\t%s\n' "$@" >>"$tsv"; }

# each: REPLICA OFFSET ...
bit_flip() { # BIT
  local v
  v=$(get "$orig" "$2" 1 | od -An -tu1)
  printf "\\x$(printf %02x $((v ^ 1 << $3)))" | put "$tmp/$1.img" "$2"
  note "$1" "$2" 1 bit-flip
}
zeros() { fill 000 "$3" | put "$tmp/$1.img" "$2"; note "$1" "$2" "$3" zeros; }
ones() { fill 377 "$3" | put "$tmp/$1.img" "$2"; note "$1" "$2" "$3" ones; }
garbage() { noise "$4" "$3" | put "$tmp/$1.img" "$2"; note "$1" "$2" "$3" "${5:-noise}"; }
misplaced() { get "$orig" "$3" 512 | put "$tmp/$1.img" "$2"; note "$1" "$2" 512 misplaced; }
stale() { get "$tmp/old.log" $(($2 - log)) "$3" | put "$tmp/$1.img" "$2"; note "$1" "$2" "$3" stale; }
cut_tail() {
  truncate -s "$2" "$tmp/$1.img"
  note "$1" "$2" $((disk_sectors * 512 - $2)) truncated
}

garbage   a 512 16 44 gpt-header
bit_flip  a $((text + 5000)) 5
zeros     a $((photo + 4096)) 2560
garbage   a "$split" 1024 55

misplaced b $((boot + 1536)) $((photo + 30720))
bit_flip  b $((root + 1024 + 12)) 0 # the superblock's free block count
stale     b $((log + 2048)) 1024
ones      b $((tool + 8192)) 2048
zeros     b $((split + 1536)) 512

bit_flip  c $((boot + 5000)) 7
misplaced c $((text + 12288)) $((text + 20480))
stale     c $((log + 10240)) 1024
zeros     c $((tool + 3000)) 1300 # starts and ends inside a sector
ones      c $((split + 3072)) 512
cut_tail  c $(((disk_sectors - 5) * 512))

garbage   d $((photo + 5120)) 512 66 # inside a's zeros: a, b, d all differ here

sort -t$'\t' -k1,1 -k2,2n -o "$tsv" "$tsv"

# --- check -----------------------------------------------------------------
# The table must name exactly the sectors that differ.
for r in a b c d; do
  awk -F'\t' -v r="$r.img" '$1 == r { for (s = int($2 / 512); s * 512 < $2 + $3; s++) print s }' \
    "$tsv" | sort -n >"$tmp/$r.want"
  {
    cmp -l "$orig" "$tmp/$r.img" 2>/dev/null | awk '{ print int(($1 - 1) / 512) }' || true
    seq $(($(stat -c %s "$tmp/$r.img") / 512)) $((disk_sectors - 1))
  } | sort -nu >"$tmp/$r.got"
  cmp -s "$tmp/$r.want" "$tmp/$r.got" || die "$r.img: damage and table disagree"
done
[ -z "$(sort "$tmp"/[abc].want | uniq -d)" ] || die 'a sector is damaged in two of a, b, c'
[ "$(sort "$tmp"/[abd].want | uniq -d | wc -l)" = 1 ] || die 'a, b, d: not one undecided sector'

(cd "$tmp" && sha256sum original.img >original.sha256)
if [ -e "$here/original.sha256" ] && ! cmp -s "$here/original.sha256" "$tmp/original.sha256"; then
  echo 'make.sh: warning: not the original that original.sha256 named; other tool versions?' >&2
fi
for f in a.img b.img c.img d.img damage.tsv original.sha256 ${keep:+original.img}; do
  cp "$tmp/$f" "$out/$f"
done
