#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A file includes its own layer or lower ones: docs/architecture.md, "Layers".
set -u
cd "${SIPALG_SOURCE_DIR:?}" || exit 1

declare -A allowed=(
	[base]="base"
	[conf]="base conf"
	[sip]="base sip"
	[tcp]="base sip tcp"
	[state]="base conf sip tcp state"
	[kernel]="base conf sip tcp state kernel"
	[sim]="base conf sip tcp state sim"
	[daemon]="base conf sip tcp state kernel daemon"
	[ctl]="base conf ctl"
	[tools]="base conf sip tcp state kernel daemon sim ctl"
)
# sipalg-replay and sipalgctl run on any machine, sipalgd has no simulation
declare -A program=(
	[src/tools/sipalg-replay.c]="base conf sip tcp state sim"
	[src/tools/sipalgctl.c]="base conf ctl"
	[src/tools/sipalgd.c]="base conf sip tcp state kernel daemon"
)
bad=0 files=0

for dir in src/*/ include/*/; do
	layer=$(basename "$dir")
	if [[ ! ${allowed[$layer]:-} ]]; then
		echo "$dir: a layer that docs/architecture.md does not name"
		bad=1
		continue
	fi
	for file in "$dir"*.[ch]; do
		[[ -e $file ]] || continue
		files=$((files + 1))
		lower=${program[$file]:-${allowed[$layer]}}
		while read -r name; do
			if [[ ! -e include/$name ]]; then
				echo "$file: includes \"$name\", which is none of ours"
				bad=1
			elif [[ " $lower " != *" ${name%%/*} "* ]]; then
				echo "$file: includes $name, not a lower layer"
				bad=1
			fi
		done < <(sed -n 's/^#[ \t]*include[ \t]*"\(.*\)".*/\1/p' "$file")
	done
done
if ((files < 30)); then
	echo "only $files files found"
	bad=1
fi
exit "$bad"
