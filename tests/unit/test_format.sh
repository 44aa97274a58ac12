#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# clang-format with .clang-format would change nothing.
set -u
cd "${SIPALG_SOURCE_DIR:?}" || exit 1

command -v clang-format >/dev/null || { echo "SKIP: needs clang-format"; exit 77; }
mapfile -t files < <(find src include tests docs -name '*.[ch]' | sort)
if ((${#files[@]} < 30)); then
	echo "only ${#files[@]} files found"
	exit 1
fi
clang-format --dry-run --Werror "${files[@]}"
