#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# The sample and the manual say what the option table says; docs/options.c tells
# how they are made.

options=$SIPALG_BUILD_DIR/docs/options
sample=$SIPALG_SOURCE_DIR/conf/sipalgd.conf
manual=$SIPALG_SOURCE_DIR/docs/man/sipalgd.conf.5
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT

fail()
{
	echo "$1"
	exit 1
}

"$options" sample > "$dir/sample" || exit 1
diff -u "$sample" "$dir/sample" || fail "conf/sipalgd.conf is out of date"
"$options" manual "$manual" > "$dir/manual" || exit 1
diff -u "$manual" "$dir/manual" || fail "sipalgd.conf.5 is out of date"

# What is wrong is mended: another default, an item that is not there, the last
# of a section and one before others
sed -e 's/^\.It Ic mode = active/.It Ic mode = bypass/' \
	-e '/^\.It Ic max_length/,/^\.\\"$/d' \
	-e '/^\.It Ic ports/,/^\.\\"$/d' "$manual" > "$dir/wrong"
"$options" manual "$dir/wrong" > "$dir/mended" || exit 1
for item in 'mode = active' 'max_length = 8192' 'ports = 5060'; do
	[ "$(grep -cx "\.It Ic $item" "$dir/mended")" = 1 ] ||
		fail "'$item' was not mended"
done

# What it does not know is not passed over
refuses()
{
	sed "$1" "$manual" > "$dir/wrong"
	"$options" manual "$dir/wrong" > "$dir/out" 2> "$dir/err" &&
		fail "not refused: $1"
	grep -q "is not in the option table" "$dir/err" || fail "$1: no reason"
}
refuses 's/^\.It Ic mode =/.It Ic modus =/'
refuses 's/^\.Ss \[queue\]/.Ss [queues]/'
refuses '/^\.\\"$/d'
