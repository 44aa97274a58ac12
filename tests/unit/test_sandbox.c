/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is given up cannot be had again, so each try is a process of its own */
#include "daemon/sandbox.h"

#include <errno.h>
#include <linux/capability.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static char said[4096];

/* How a child ends that does that; what it said is in said[] */
static int end_of(void (*body)(void))
{
	static const struct rlimit no_core = { 0, 0 };
	int status = 0, ends[2];
	size_t len = 0;
	ssize_t n;
	pid_t child;

	assert_int_equal(pipe(ends), 0);
	fflush(NULL);
	child = fork();
	if (!child) {
		setrlimit(RLIMIT_CORE, &no_core);
		dup2(ends[1], STDERR_FILENO);
		body();
		_exit(0);
	}
	assert_true(child > 0);
	close(ends[1]);
	while ((n = read(ends[0], said + len, sizeof(said) - 1 - len)) > 0)
		len += (size_t)n;
	said[len] = '\0';
	close(ends[0]);
	assert_int_equal(waitpid(child, &status, 0), child);
	return status;
}

static void passes(void (*body)(void))
{
	int status = end_of(body);

	if (status)
		fail_msg("status %#x; said: %s", status, said);
}

static bool is_killed(int status)
{
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS;
}

/* By its line the child says where it was */
#define need(holds)                                                            \
	do {                                                                   \
		if (!(holds)) {                                                \
			dprintf(STDERR_FILENO, "line %d: %s", __LINE__,        \
				#holds);                                       \
			_exit(1);                                              \
		}                                                              \
	} while (0)

/* A value of /proc/self/status, hexadecimal */
static uint64_t status_of(const char *key)
{
	FILE *f = fopen("/proc/self/status", "re");
	uint64_t value = UINT64_MAX;
	size_t len = strlen(key);
	char line[256];

	while (f && fgets(line, sizeof(line), f)) {
		if (!strncmp(line, key, len) && line[len] == ':')
			value = strtoull(line + len + 1, NULL, 16);
	}
	if (f)
		fclose(f);
	return value;
}

/* Have these calls answered so, as a kernel would that does not know them, or a
 * sandbox around us that forbids them
 */
static void answer(int call, int err)
{
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ALLOW);

	need(ctx);
	if (call == SCMP_SYS(prctl))
		need(!seccomp_rule_add(ctx, SCMP_ACT_ERRNO((uint32_t)err), call,
				       1,
				       SCMP_A0(SCMP_CMP_EQ, PR_SET_SECCOMP)));
	else
		need(!seccomp_rule_add(ctx, SCMP_ACT_ERRNO((uint32_t)err), call,
				       0));
	need(!seccomp_load(ctx));
	seccomp_release(ctx);
}

static const uint64_t net_admin = UINT64_C(1) << CAP_NET_ADMIN;

static void skip_without_capabilities(void)
{
	if (geteuid() || !(status_of("CapEff") & net_admin) ||
	    !(status_of("CapEff") & UINT64_C(1) << CAP_SETPCAP)) {
		print_message("SKIP: needs root's capabilities\n");
		skip();
	}
}

/* ---- capabilities ---- */

/* As a supervisor may give them: to be handed on */
static void have_ambient(int cap)
{
	struct __user_cap_header_struct header = {
		.version = _LINUX_CAPABILITY_VERSION_3,
	};
	struct __user_cap_data_struct sets[_LINUX_CAPABILITY_U32S_3];

	need(!syscall(SYS_capget, &header, sets));
	sets[0].inheritable |= 1u << cap;
	need(!syscall(SYS_capset, &header, sets));
	need(!prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, cap, 0, 0));
}

static void all_but_one(void)
{
	have_ambient(CAP_NET_ADMIN);
	have_ambient(CAP_NET_RAW);
	need(!sandbox_drop_capabilities());
	need(status_of("CapPrm") == net_admin);
	need(status_of("CapEff") == net_admin);
	need(status_of("CapBnd") == net_admin);
	need(status_of("CapInh") == net_admin);
	need(status_of("CapAmb") == 0);
	need(socket(AF_INET, SOCK_RAW, 1) < 0 && errno == EPERM);
	need(socket(AF_PACKET, SOCK_RAW, 0) < 0 && errno == EPERM);
	need(setuid(1) < 0 && errno == EPERM);
	/* And still */
	need(!sandbox_drop_capabilities());
	need(status_of("CapEff") == net_admin);
}

static void test_capabilities(void **state)
{
	(void)state;
	skip_without_capabilities();
	passes(all_but_one);
}

/* The unit's filter forbids capset(), and has left us nothing to drop */
static void nothing_to_drop(void)
{
	need(!sandbox_drop_capabilities());
	answer(SCMP_SYS(capset), EPERM);
	need(!sandbox_drop_capabilities());
}

static void something_to_drop(void)
{
	answer(SCMP_SYS(capset), EPERM);
	sandbox_enter();
	need(status_of("Seccomp") == SECCOMP_MODE_FILTER);
}

static void test_capset_is_forbidden(void **state)
{
	(void)state;
	skip_without_capabilities();
	passes(nothing_to_drop);
	assert_string_equal(said, "");
	passes(something_to_drop);
	assert_non_null(strstr(said, "more capabilities than CAP_NET_ADMIN"));
}

/* ---- system calls ---- */

/* EFAULT without a filter: no program is started */
static bool may_exec(void)
{
	return syscall(SYS_execve, NULL, NULL, NULL) < 0;
}

static void enter(void)
{
	sandbox_enter();
	need(status_of("NoNewPrivs") == 1);
	need(status_of("Seccomp") == SECCOMP_MODE_FILTER);
}

static void enter_and_exec(void)
{
	sandbox_enter();
	may_exec();
}

static void test_enter(void **state)
{
	(void)state;
	unsetenv("SIPALGD_SECCOMP");
	passes(enter);
	assert_string_equal(said, "");
	assert_true(is_killed(end_of(enter_and_exec)));
}

static void enter_logging(void)
{
	setenv("SIPALGD_SECCOMP", "log", 1);
	enter();
	need(may_exec());
}

static void enter_open(void)
{
	setenv("SIPALGD_SECCOMP", "off", 1);
	sandbox_enter();
	need(status_of("NoNewPrivs") == 1);
	need(may_exec());
}

static void enter_misspelt(void)
{
	setenv("SIPALGD_SECCOMP", "0", 1);
	enter();
	may_exec();
}

static void test_for_diagnosis(void **state)
{
	(void)state;
	passes(enter_logging);
	assert_non_null(strstr(said, "warning: SIPALGD_SECCOMP=log: "));
	passes(enter_open);
	assert_non_null(strstr(said, "warning: SIPALGD_SECCOMP=off: "));
	assert_true(is_killed(end_of(enter_misspelt)));
	assert_non_null(strstr(said, "warning: SIPALGD_SECCOMP: "));
}

static void enter_without_seccomp(void)
{
	unsetenv("SIPALGD_SECCOMP");
	answer(SCMP_SYS(prctl), EINVAL);
	answer(SCMP_SYS(seccomp), ENOSYS);
	sandbox_enter();
	need(status_of("NoNewPrivs") == 1);
	need(may_exec());
}

static void test_kernel_without_seccomp(void **state)
{
	(void)state;
	passes(enter_without_seccomp);
	assert_non_null(
		strstr(said, "warning: system calls are not restricted"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_capabilities),
		cmocka_unit_test(test_capset_is_forbidden),
		cmocka_unit_test(test_enter),
		cmocka_unit_test(test_for_diagnosis),
		cmocka_unit_test(test_kernel_without_seccomp),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
