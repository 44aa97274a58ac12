/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the daemon may ask of the kernel: each try is a process of its own, for
 * the filter stays, and kills.
 */
#include "daemon/syscalls.h"

#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <limits.h>
#include <linux/capability.h>
#include <linux/netlink.h>
#include <linux/seccomp.h>
#include <net/ethernet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <seccomp.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <systemd/sd-journal.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

/* It was not as it should; another status is the child's own */
#define WRONG 1
#define NO_FILTER 2

/* Or AddressSanitizer had none */
#ifdef SIPALG_SANITIZE
static const struct rlimit memory = { RLIM_INFINITY, RLIM_INFINITY };
#else
static const struct rlimit memory = { 1 << 28, 1 << 28 };
#endif

/* How a child ends that does that under the filter */
static int end_of(void (*body)(const void *arg), const void *arg)
{
	static const struct rlimit no_core = { 0, 0 };
	int status = 0;
	pid_t child;

	fflush(NULL);
	child = fork();
	if (!child) {
		setrlimit(RLIMIT_CORE, &no_core);
		setrlimit(RLIMIT_AS, &memory);
		if (syscalls_restrict(SCMP_ACT_KILL_PROCESS))
			_exit(NO_FILTER);
		body(arg);
		_exit(0);
	}
	assert_true(child > 0);
	assert_int_equal(waitpid(child, &status, 0), child);
	return status;
}

/* ---- what is not there ---- */

struct call {
	const char *what;
	long number;
	unsigned long arg[6];
};

#define SELF ULONG_MAX /* for getpid() */

static void make_call(const void *arg)
{
	const struct call *c = arg;
	unsigned long a[6];

	for (int i = 0; i < 6; i++)
		a[i] = c->arg[i] == SELF ? (unsigned long)getpid() : c->arg[i];
	syscall(c->number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

/* None of them would do anything here even if it was let through */
static const struct call forbidden[] = {
	{ "execve", SYS_execve, { 0 } },
	{ "execveat", SYS_execveat, { 0 } },
	{ "unshare", SYS_unshare, { 0 } },
	{ "setns", SYS_setns, { -1U } },
	{ "code in new memory",
	  SYS_mmap,
	  { 0, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS,
	    -1UL } },
	{ "code in old memory", SYS_mprotect, { 0, 4096, PROT_EXEC } },
	{ "pkey_mprotect", SYS_pkey_mprotect, { 0, 4096, PROT_EXEC, -1UL } },
	{ "a raw socket", SYS_socket, { AF_INET, SOCK_RAW, IPPROTO_ICMP } },
	{ "a raw IPv6 socket", SYS_socket, { AF_INET6, SOCK_RAW, 255 } },
	{ "a packet socket", SYS_socket, { AF_PACKET, SOCK_DGRAM, 0 } },
	{ "a queue, conntrack, nftables",
	  SYS_socket,
	  { AF_NETLINK, SOCK_RAW, NETLINK_NETFILTER } },
	{ "audit", SYS_socket, { AF_NETLINK, SOCK_RAW, NETLINK_AUDIT } },
	{ "another family", SYS_socket, { AF_ALG, SOCK_SEQPACKET, 0 } },
	{ "another type", SYS_socket, { AF_INET, SOCK_SEQPACKET, 0 } },
	{ "kill", SYS_kill, { SELF, SIGTERM } },
	/* The kernel knows no such group */
	{ "kill of many", SYS_kill, { (unsigned long)INT_MIN, SIGKILL } },
	{ "rt_tgsigqueueinfo", SYS_rt_tgsigqueueinfo, { SELF, SELF, SIGTERM } },
	{ "pidfd_open", SYS_pidfd_open, { SELF } },
	{ "process_vm_writev", SYS_process_vm_writev, { SELF } },
	{ "bpf", SYS_bpf, { -1U } },
	{ "perf_event_open", SYS_perf_event_open, { 0 } },
	{ "userfaultfd", SYS_userfaultfd, { -1U } },
	{ "io_uring_setup", SYS_io_uring_setup, { 0 } },
	{ "keyctl", SYS_keyctl, { -1U } },
	{ "add_key", SYS_add_key, { 0 } },
	{ "open_by_handle_at", SYS_open_by_handle_at, { -1U } },
	{ "name_to_handle_at", SYS_name_to_handle_at, { -1U } },
	{ "mount", SYS_mount, { 0 } },
	{ "umount2", SYS_umount2, { 0 } },
	{ "move_mount", SYS_move_mount, { -1U, 0, -1U } },
	{ "pivot_root", SYS_pivot_root, { 0 } },
	{ "chroot", SYS_chroot, { 0 } },
	{ "init_module", SYS_init_module, { 0 } },
	{ "finit_module", SYS_finit_module, { -1U } },
	{ "kexec_load", SYS_kexec_load, { 0, 0, 0, -1UL } },
	{ "reboot", SYS_reboot, { 0 } },
	{ "sethostname", SYS_sethostname, { 0, -1UL } },
	{ "settimeofday", SYS_settimeofday, { 0 } },
	{ "adjtimex", SYS_adjtimex, { 0 } },
	{ "swapon", SYS_swapon, { 0 } },
	{ "syslog", SYS_syslog, { -1U } },
	{ "quotactl", SYS_quotactl, { -1U } },
	{ "capset", SYS_capset, { 0 } },
	{ "setuid", SYS_setuid, { -1U } },
	{ "setgid", SYS_setgid, { -1U } },
	{ "setgroups", SYS_setgroups, { -1UL } },
	{ "setresuid", SYS_setresuid, { -1U, -1U, -1U } },
	{ "fchmodat", SYS_fchmodat, { -1U } },
	{ "fchownat", SYS_fchownat, { -1U } },
	{ "mknodat", SYS_mknodat, { -1U } },
	{ "mkdirat", SYS_mkdirat, { -1U } },
	{ "linkat", SYS_linkat, { -1U } },
	{ "symlinkat", SYS_symlinkat, { 0, -1U } },
	{ "setxattr", SYS_setxattr, { 0 } },
	{ "truncate", SYS_truncate, { 0, -1UL } },
	{ "inotify_init1", SYS_inotify_init1, { -1U } },
	{ "fanotify_init", SYS_fanotify_init, { -1U, -1U } },
	{ "seccomp", SYS_seccomp, { SECCOMP_SET_MODE_FILTER } },
	{ "personality", SYS_personality, { 0xffffffff } },
	{ "setrlimit", SYS_setrlimit, { -1U } },
	{ "setpriority", SYS_setpriority, { -1U } },
	{ "sched_setscheduler", SYS_sched_setscheduler, { SELF, -1U } },
	{ "shmget", SYS_shmget, { 0, 0 } },
	{ "socketpair", SYS_socketpair, { -1U } },
	{ "sendfile", SYS_sendfile, { -1U, -1U } },
	{ "splice", SYS_splice, { -1U } },
	{ "a number that nobody has", 10000, { 0 } },
#ifndef SIPALG_SANITIZE
	{ "a thread",
	  SYS_clone,
	  { CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD |
	    CLONE_PARENT } },
	{ "a user namespace", SYS_clone, { CLONE_NEWUSER | CLONE_FS } },
	{ "a child that shares memory", SYS_clone, { CLONE_VM | SIGCHLD } },
	{ "ptrace", SYS_ptrace, { -1U } },
	{ "process_vm_readv", SYS_process_vm_readv, { SELF } },
	{ "tgkill", SYS_tgkill, { SELF, SELF, SIGTERM } },
	{ "prctl", SYS_prctl, { PR_SET_DUMPABLE, 1 } },
	{ "ioctl", SYS_ioctl, { -1U } },
	{ "getdents64", SYS_getdents64, { -1U } },
#endif
#ifdef __x86_64__
	{ "fork of old", SYS_fork, { 0 } },
	{ "vfork", SYS_vfork, { 0 } },
	{ "iopl", SYS_iopl, { 0 } },
	{ "modify_ldt", SYS_modify_ldt, { -1U } },
	{ "a call of x32", 0x40000000 | SYS_getpid, { 0 } },
#endif
};

static bool is_killed(int status)
{
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS;
}

static void test_forbidden(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(forbidden) / sizeof(*forbidden); i++) {
		int status = end_of(make_call, &forbidden[i]);

		if (!is_killed(status))
			fail_msg("%s: status %#x", forbidden[i].what, status);
	}
}

#ifdef __x86_64__
static void call_of_i386(const void *arg)
{
	long number = 20; /* getpid() there; writev() here */

	(void)arg;
	__asm__ volatile("int $0x80" : "+a"(number) : : "memory");
}

static void test_forbidden_of_i386(void **state)
{
	(void)state;
	assert_true(is_killed(end_of(call_of_i386, NULL)));
}
#endif

/* ---- what is there ---- */

static void need(bool holds)
{
	if (!holds)
		_exit(WRONG);
}

/* A line of /proc/self/status */
static bool status_says(const char *wanted)
{
	FILE *f = fopen("/proc/self/status", "re");
	bool found = false;
	char line[256];

	while (f && !found && fgets(line, sizeof(line), f))
		found = !strcmp(line, wanted);
	if (f)
		fclose(f);
	return found;
}

static void see_status(const void *arg)
{
	(void)arg;
	need(status_says("NoNewPrivs:\t1\n"));
	need(status_says("Seccomp:\t2\n"));
}

static void open_sockets(const void *arg)
{
	static const int families[] = { AF_INET, AF_INET6 };
	struct ifaddrs *addrs;

	(void)arg;
	for (int i = 0; i < 2; i++) {
		int fd = socket(families[i], SOCK_DGRAM | SOCK_CLOEXEC, 0);

		need(fd >= 0 || errno == EAFNOSUPPORT);
		fd = socket(families[i], SOCK_STREAM | SOCK_NONBLOCK, 0);
		need(fd >= 0 || errno == EAFNOSUPPORT);
	}
	need(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0) >= 0);
	need(!getifaddrs(&addrs));
	freeifaddrs(addrs);
}

/* As daemon/store does */
static void write_file(const void *arg)
{
	char file[64];
	int fd, dir;

	(void)arg;
	snprintf(file, sizeof(file), "/tmp/sipalg-syscalls-%d", getpid());
	fd = open(file, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	dir = open("/tmp", O_DIRECTORY | O_CLOEXEC);
	need(fd >= 0 && dir >= 0 && write(fd, "x", 1) == 1 && !fsync(fd));
	need(!renameat(dir, file, dir, file));
	need(!unlink(file));
	fd = memfd_create("x", MFD_CLOEXEC);
	need(fd >= 0 && lseek(fd, 0, SEEK_SET) == 0);
}

static void have_child(const void *arg)
{
	pid_t child = fork();
	int status;

	(void)arg;
	if (!child)
		_exit(7);
	need(child > 0 && waitpid(child, &status, 0) == child);
	need(WIFEXITED(status) && WEXITSTATUS(status) == 7);
	child = fork();
	if (!child) {
		poll(NULL, 0, -1);
		_exit(0);
	}
	need(!kill(child, SIGKILL) && waitpid(child, &status, 0) == child);
}

/* Then malloc(3) tries what it does not do otherwise */
static void run_out_of_memory(void)
{
	void *first = NULL, **last = &first, *next;

	for (size_t size = 1 << 24; size >= 32; size /= 2) {
		while ((next = malloc(size))) {
			*last = next;
			last = next;
		}
	}
	*last = NULL;
	need(errno == ENOMEM);
	for (next = first; next; next = first) {
		first = *(void **)next;
		free(next);
	}
}

static void use_memory(const void *arg)
{
	char *bytes = malloc(1 << 20);

	(void)arg;
	need(bytes);
	for (size_t size = 2 << 20; size < 64 << 20; size *= 2) {
		bytes = realloc(bytes, size);
		need(bytes);
		memset(bytes, 1, size);
	}
	free(bytes);
	if (memory.rlim_cur == RLIM_INFINITY)
		return;
	run_out_of_memory();
	run_out_of_memory();
}

static void tell_the_time(const void *arg)
{
	time_t now = time(NULL);
	struct timespec ts;
	struct tm tm;

	(void)arg;
	need(!clock_gettime(CLOCK_MONOTONIC, &ts) && localtime_r(&now, &tm));
}

/* A socket in the journal's place; -1 if that cannot be had here */
static int be_journal(void)
{
	static const struct sockaddr_un addr = {
		.sun_family = AF_UNIX,
		.sun_path = "/run/systemd/journal/socket",
	};
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (unshare(CLONE_NEWNS) ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("tmpfs", "/run", "tmpfs", 0, NULL) ||
	    mkdir("/run/systemd", 0755) ||
	    mkdir("/run/systemd/journal", 0755) ||
	    bind(fd, (const struct sockaddr *)&addr, sizeof(addr)))
		return -1;
	return fd;
}

/* What does not fit into a datagram goes by a file in memory */
static void write_to_journal(const void *arg)
{
	const int *journal = arg;
	const size_t len = 32 << 20;
	struct iovec iov = { malloc(len), len };
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(sizeof(int))];
	} control;
	struct msghdr msg = { .msg_control = &control,
			      .msg_controllen = sizeof(control) };

	memset(iov.iov_base, 'A', len);
	((char *)iov.iov_base)[7] = '=';
	need(!sd_journal_sendv(&iov, 1));
	need(recvmsg(*journal, &msg, MSG_DONTWAIT) == 0);
	need(control.header.cmsg_type == SCM_RIGHTS);
	iov.iov_len = 16;
	need(!sd_journal_sendv(&iov, 1));
	need(recv(*journal, iov.iov_base, 16, MSG_DONTWAIT) >= 16);
}

static void test_journal(void **state)
{
	int status, fd;
	pid_t child;

	(void)state;
	fflush(NULL);
	child = fork();
	if (!child) {
		fd = be_journal();
		_exit(fd < 0 ? 77 : end_of(write_to_journal, &fd) != 0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 77) {
		print_message("SKIP: cannot mount anything\n");
		skip();
	}
	assert_int_equal(status, 0);
}

/* Where one is found that knows clone3() it has to go on with clone() */
static void ask_for_clone3(const void *arg)
{
	(void)arg;
	need(syscall(SYS_clone3, NULL, 0) < 0 && errno == ENOSYS);
}

static void test_allowed(void **state)
{
	static const struct {
		const char *what;
		void (*body)(const void *arg);
	} t[] = {
		{ "status", see_status },     { "sockets", open_sockets },
		{ "files", write_file },      { "children", have_child },
		{ "memory", use_memory },     { "time", tell_the_time },
		{ "clone3", ask_for_clone3 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(*t); i++) {
		int status = end_of(t[i].body, NULL);

		if (status)
			fail_msg("%s: status %#x", t[i].what, status);
	}
}

static void fail_assertion(const void *arg)
{
	(void)arg;
	close(STDERR_FILENO);
	abort();
}

/* A mistake of ours is seen as that */
static void test_abort(void **state)
{
	int status = end_of(fail_assertion, NULL);

	(void)state;
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGABRT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_forbidden),
#ifdef __x86_64__
		cmocka_unit_test(test_forbidden_of_i386),
#endif
		cmocka_unit_test(test_allowed),
		cmocka_unit_test(test_journal),
		cmocka_unit_test(test_abort),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
