/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation
 *
 * What is open when the first packet is taken is what the daemon works with;
 * from then on it makes few system calls, and a seccomp filter ends it at any
 * other. So whoever gets it to run code of his own has no shell, no new
 * program, no thread, no code that was not there, no packet socket, no
 * namespace, and no way into another process.
 *
 * The table below is all there is. A call that the C library makes by different
 * names stands there by each: which it is depends on architecture (x86_64 and
 * arm64) and version. One that an architecture does not have is passed over.
 *
 * What cannot be seen in a filter is what a pointer points to: paths,
 * addresses, netlink messages. For files that is the unit's part
 * (ProtectSystem=), for addresses, too (IPAddressAllow=).
 */
#include "daemon/syscalls.h"

#include <errno.h>
#include <limits.h>
#include <linux/netlink.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#define ARGS 2

/**
 * struct allowed - A system call that may be made
 * @when:	Only if all of these hold; the rest are zero
 * @count:	Of them
 */
struct allowed {
	int call;
	unsigned int count;
	struct scmp_arg_cmp when[ARGS];
};

#define ANY(name) .call = SCMP_SYS(name)
#define IF(name, n) .call = SCMP_SYS(name), .count = (n), .when
/* The argument is that; of it these bits are that; none of them is set */
#define IS(n, value) SCMP_CMP64(n, SCMP_CMP_EQ, value)
#define HAS(n, mask, value) SCMP_CMP64(n, SCMP_CMP_MASKED_EQ, mask, value)
#define HAS_NOT(n, mask) HAS(n, mask, 0)
#define AT_MOST(n, value) SCMP_CMP64(n, SCMP_CMP_LE, value)

/* Of socket(2)'s type: flags are in it, too */
#define SOCK_KIND 0xf
/* fork(2), not pthread_create(3): all that its child shares is its end */
#define FORK_FLAGS (CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID | SIGCHLD)

static const struct allowed table[] = {
	/* Packets, netlink, the log, clients of both sockets */
	{ ANY(recvmmsg) },
	{ ANY(epoll_wait) },
	{ ANY(epoll_pwait) },
	{ ANY(sendto) },
	{ ANY(recvmsg) },
	{ ANY(sendmsg) },
	{ ANY(recvfrom) },
	{ ANY(read) },
	{ ANY(write) },
	{ ANY(poll) },
	{ ANY(ppoll) },
	/* Where the vDSO cannot tell (a virtual machine's clock) */
	{ ANY(clock_gettime) },
	{ ANY(gettimeofday) },
	{ ANY(time) },

	/* Clients come and go */
	{ ANY(accept4) },
	{ ANY(epoll_ctl) },
	{ ANY(getsockopt) },
	{ ANY(shutdown) },
	{ ANY(close) },
	{ ANY(fcntl) },

	/* Sockets: a port is looked at (kernel_ops.is_bound), NAT further out
	 * is kept open (.ping), a page is served (metrics.listen); the journal,
	 * and who supervises us; getifaddrs(3), to check metrics.listen. No
	 * raw one, nor NETLINK_NETFILTER: those are open.
	 */
	{ IF(socket, 1) = { IS(0, AF_UNIX) } },
	{ IF(socket, 2) = { IS(0, AF_INET), HAS(1, SOCK_KIND, SOCK_DGRAM) } },
	{ IF(socket, 2) = { IS(0, AF_INET), HAS(1, SOCK_KIND, SOCK_STREAM) } },
	{ IF(socket, 2) = { IS(0, AF_INET6), HAS(1, SOCK_KIND, SOCK_DGRAM) } },
	{ IF(socket, 2) = { IS(0, AF_INET6), HAS(1, SOCK_KIND, SOCK_STREAM) } },
	{ IF(socket, 2) = { IS(0, AF_NETLINK), IS(2, NETLINK_ROUTE) } },
	{ ANY(bind) },
	{ ANY(connect) },
	{ ANY(listen) },
	{ ANY(setsockopt) },
	{ ANY(getsockname) },
	/* libmicrohttpd, started anew by a reload */
	{ ANY(epoll_create1) },
	/* sd_notify_barrier(3) */
	{ ANY(pipe2) },

	/* Files: configuration, state, /proc, /etc/passwd, the time zone */
	{ ANY(openat) },
	{ ANY(fstat) },
	{ ANY(newfstatat) },
	{ ANY(lseek) },
	{ ANY(fsync) },
	{ ANY(renameat) },
	{ ANY(renameat2) },
	/* The control socket at the end */
	{ ANY(unlink) },
	{ ANY(unlinkat) },
	/* iniparser's input, and what the journal gets in one piece (libsystemd
	 * asks for its own name)
	 */
	{ ANY(memfd_create) },
	{ IF(prctl, 1) = { IS(0, PR_GET_NAME) } },
	/* isatty(3), where one of them is a device: /dev/null */
	{ IF(ioctl, 1) = { IS(1, TCGETS) } },

	/* Memory, but no code; the second and third as other versions of
	 * malloc(3) ask for it
	 */
	{ IF(mmap, 1) = { HAS_NOT(2, PROT_EXEC) } },
	{ IF(mprotect, 1) = { HAS_NOT(2, PROT_EXEC) } },
	{ ANY(madvise) },
	{ ANY(munmap) },
	{ ANY(mremap) },
	{ ANY(brk) },
	/* pthread_once(3), also within libraries; seeds of hash tables */
	{ ANY(futex) },
	{ ANY(getrandom) },

	/* The child that writes the state file */
	{ IF(clone, 1) = { HAS_NOT(0, ~(scmp_datum_t)FORK_FLAGS) } },
	{ ANY(set_robust_list) },
	{ ANY(rseq) },
	{ ANY(wait4) },
	{ IF(kill, 2) = { AT_MOST(0, INT_MAX), IS(1, SIGKILL) } }, /* one */

	/* The metrics page's CPU time; what sd_notify(3) says of us */
	{ ANY(getrusage) },
	{ ANY(getuid) },
	{ ANY(geteuid) },
	{ ANY(getgid) },
	{ ANY(getegid) },

	/* Stopped and continued */
	{ ANY(restart_syscall) },
	/* An end, also by abort(3), which is to be seen as such */
	{ ANY(exit_group) },
	{ ANY(writev) },
	{ ANY(rt_sigaction) },
	{ ANY(rt_sigprocmask) },
	{ ANY(gettid) },
	{ ANY(getpid) },
	{ IF(tgkill, 1) = { IS(2, SIGABRT) } },

#ifdef SIPALG_SANITIZE
	/* The run time of -fsanitize=address: its stacks and maps, and at the
	 * end a thread that stops us and looks for leaks. Still no exec.
	 */
	{ ANY(clone) },
	{ ANY(exit) },
	{ ANY(rt_sigreturn) },
	{ ANY(ptrace) },
	{ ANY(prctl) },
	{ ANY(getppid) },
	{ ANY(ioctl) },
	{ ANY(getdents) },
	{ ANY(getdents64) },
	{ ANY(readlink) },
	{ ANY(readlinkat) },
	{ ANY(sched_yield) },
	{ ANY(sched_getaffinity) },
	{ ANY(sigaltstack) },
	{ ANY(prlimit64) },
	{ ANY(getrlimit) },
	{ ANY(rt_sigtimedwait) },
	{ ANY(process_vm_readv) },
	{ ANY(tgkill) },
	{ ANY(pipe) },
	{ ANY(stat) },
	{ ANY(open) },
#endif
};

static int add_rules(scmp_filter_ctx ctx)
{
	int err = 0;

	for (size_t i = 0; !err && i < sizeof(table) / sizeof(*table); i++) {
		const struct allowed *a = &table[i];

		err = seccomp_rule_add_array(ctx, SCMP_ACT_ALLOW, a->call,
					     a->count, a->when);
	}
	/* Its flags lie in memory, which no filter sees: glibc then asks for
	 * clone()
	 */
	if (!err)
		err = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(ENOSYS),
				       SCMP_SYS(clone3), 0);
	/* A binary search: what is called per packet is found as fast as all */
	if (!err)
		err = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	return err;
}

int syscalls_restrict(uint32_t otherwise)
{
	scmp_filter_ctx ctx;
	int err;

	/* Others make calls of other names, by which it would end there */
	if (seccomp_arch_native() != SCMP_ARCH_X86_64 &&
	    seccomp_arch_native() != SCMP_ARCH_AARCH64)
		return -EOPNOTSUPP;
	ctx = seccomp_init(otherwise);
	if (!ctx)
		return -ENOSYS;
	/* What the kernel says, not -ECANCELED */
	err = seccomp_attr_set(ctx, SCMP_FLTATR_API_SYSRAWRC, 1);
	if (!err)
		err = add_rules(ctx);
	if (!err)
		err = seccomp_load(ctx);
	seccomp_release(ctx);
	return err;
}
