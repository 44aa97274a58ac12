#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# systemd understands every line of the unit, and thinks well of its sandbox. Of
# that and the daemon's own filter of system calls, neither is in the other's way.

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

# ---- what the daemon's own filter lets through, the unit's does, too ----

# expand NAME...: system calls, those of sets among them
expand() {
	for set; do
		case $set in
		@*) expand $(systemd-analyze syscall-filter "$set" |
			sed '1d; s/#.*//') ;;
		*) echo "$set" ;;
		esac
	done
}
filters=$(sed -n 's/^SystemCallFilter=//p' "$built")
expand @default $(echo "$filters" | grep -v '^~') | sort -u >"$dir/allowed"
expand $(echo "$filters" | sed -n 's/^~//p') | sort -u |
	comm -23 "$dir/allowed" - >"$dir/left"
sed '/^#ifdef SIPALG_SANITIZE/,/^#endif/d' \
	"$SIPALG_SOURCE_DIR/src/daemon/syscalls.c" |
	sed -n 's/^\t{ \(ANY\|IF\)(\([a-z0-9_]*\).*/\2/p' | sort -u >"$dir/own"
[ "$(wc -l <"$dir/own")" -gt 40 ] || fail "no table in syscalls.c"
for call in $(cat "$dir/own") seccomp prctl; do
	grep -qx "$call" "$dir/left" || fail "SystemCallFilter= forbids $call"
done
grep -qx -e execve "$dir/own" && fail "the daemon may exec"
grep -qx -e capset "$dir/left" && fail "capset is not privileged any more?"
exit 0
