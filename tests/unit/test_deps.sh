#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# tests/deps installs every library that CMake asks for, also where it is here
# for another reason already.

command -v dpkg-query >/dev/null || { echo "SKIP: needs Debian's dpkg"; exit 77; }
cd "$SIPALG_SOURCE_DIR" || exit 1
listed=$(sed -n '/^build=(/,/)$/p; /^test=(/,/)$/p' tests/deps |
	tr -s '()"\t ' '\n' | grep '^[a-z0-9.+-]*$')
# They, and what they bring along: libpcap-dev is but libpcap0.8-dev
brought=$(echo "$listed"
	dpkg-query -W -f '${Depends},' $listed 2>/dev/null | tr ',|' '\n' |
		sed 's/^ *//; s/[ (:].*//')
mapfile -t modules < <(cat CMakeLists.txt tests/unit/CMakeLists.txt |
	sed -n 's/.*pkg_check_modules([A-Z]* REQUIRED IMPORTED_TARGET \([a-z0-9_]*\).*/\1/p')
if ((${#modules[@]} < 8)); then
	echo "only ${#modules[@]} libraries found"
	exit 1
fi
status=0
for module in "${modules[@]}"; do
	file=$(pkg-config --variable=pcfiledir "$module")/$module.pc
	package=$(dpkg-query -S "$file" | sed 's/[:,].*//')
	if ! grep -qxF -- "$package" <<<"$brought"; then
		echo "$module: tests/deps does not install '$package'"
		status=1
	fi
done
exit $status
