#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The daemon starts no program, no shell and no thread, and loads no code: it has
# no function that could, beside the filter of system calls that would end it.

command -v nm >/dev/null || { echo "SKIP: needs nm"; exit 77; }
status=0
imports=$(nm -D --undefined-only "$SIPALG_BUILD_DIR/sipalgd" |
	sed 's/.* U //; s/@.*//')
for name in fork socket recvmmsg; do
	if ! grep -qx "$name" <<<"$imports"; then
		echo "is that the daemon? it does not import $name"
		status=1
	fi
done
found=$(grep -Ex 'f?exec(l|v)[a-z]*|execveat|system|p(open|close)|posix_spawn.*|vfork|clone|wordexp|dlm?open|pthread_create|ptrace|setuid|unshare' \
	<<<"$imports")
if [[ $found ]]; then
	echo "sipalgd imports" $found
	status=1
fi

# A call that arm64 makes by another name, or a later C library, stands in the
# filter's table by each
table=$(sed -n 's/^\t{ \(ANY\|IF\)(\([a-z0-9_]*\).*/\2/p' \
	"$SIPALG_SOURCE_DIR/src/daemon/syscalls.c")
for pair in epoll_wait:epoll_pwait poll:ppoll unlink:unlinkat \
	renameat:renameat2 newfstatat:fstat time:clock_gettime; do
	for name in ${pair/:/ }; do
		if ! grep -qx "$name" <<<"$table"; then
			echo "syscalls.c has not both of $pair"
			status=1
		fi
	done
done
exit $status
