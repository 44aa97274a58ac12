#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# systemd understands every line of the unit, and thinks well of its sandbox.

skip() { echo "SKIP: $*"; exit 77; }
fail() { echo "FAIL: $*"; exit 1; }

command -v systemd-analyze >/dev/null || skip "needs systemd-analyze"
built=$SIPALG_BUILD_DIR/systemd/sipalgd.service
[ -r "$built" ] || fail "no $built"
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

# The programs are not installed here: others stand for them
sed 's#^\(Exec[A-Za-z]*=[-+]*\)[^ ]*#\1/bin/true#' "$built" \
	>"$dir/sipalgd.service"
said=$(systemd-analyze verify --man=no "$dir/sipalgd.service" 2>&1 |
	grep -F sipalgd.service)
[ -z "$said" ] || fail "$said"
grep -q '^ExecStart=/bin/true' "$dir/sipalgd.service" || fail "no ExecStart"

# In tenths; 1.4 when written
systemd-analyze security --offline=true --threshold=15 \
	"$dir/sipalgd.service" >"$dir/exposure" 2>&1 ||
	fail "$(tail -1 "$dir/exposure")"
tail -1 "$dir/exposure"
