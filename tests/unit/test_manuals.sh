#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# The manual pages are clean mdoc.

command -v mandoc >/dev/null || { echo "SKIP: needs mandoc"; exit 77; }
[ -d "$SIPALG_SOURCE_DIR/docs/man" ] || exit 1
for page in "$SIPALG_SOURCE_DIR"/docs/man/*.[58]; do
	# Which manuals are installed here says nothing of ours
	said=$(mandoc -T lint "$page" 2>&1 |
		grep -v -e 'outdated mandoc.db' -e 'referenced manual not found')
	[ -z "$said" ] || { echo "$said"; exit 1; }
done
