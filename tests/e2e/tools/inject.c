/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Has a process make a system call that its program does not: as whoever runs
 * code of his own in it would.
 *
 * usage: inject PID CALL
 *
 * CALL is a number; its arguments are zero. The process must be one that sleeps
 * in a system call, which it does not finish. Status 1 if that cannot be done,
 * 77 where the registers of this architecture are not known here.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>

#ifdef __x86_64__

/* The instruction before the next one is "syscall" */
static int is_in_call(pid_t pid, const struct user_regs_struct *regs)
{
	long word;

	errno = 0;
	word = ptrace(PTRACE_PEEKTEXT, pid, regs->rip - 2, NULL);
	return !errno && (word & 0xffff) == 0x050f;
}

static int inject(pid_t pid, unsigned long call)
{
	struct user_regs_struct regs;

	if (ptrace(PTRACE_GETREGS, pid, NULL, &regs) || !is_in_call(pid, &regs))
		return -1;
	regs.rip -= 2;
	regs.rax = call;
	regs.orig_rax = -1UL; /* nothing is to be restarted */
	regs.rdi = regs.rsi = regs.rdx = regs.r10 = regs.r8 = regs.r9 = 0;
	return ptrace(PTRACE_SETREGS, pid, NULL, &regs) ? -1 : 0;
}

#else

static int inject(pid_t pid, unsigned long call)
{
	(void)pid;
	(void)call;
	exit(77);
}

#endif

int main(int argc, char **argv)
{
	pid_t pid = argc == 3 ? atoi(argv[1]) : 0;
	int err;

	if (pid <= 0) {
		fprintf(stderr, "usage: inject PID CALL\n");
		return 2;
	}
	if (ptrace(PTRACE_ATTACH, pid, NULL, NULL) ||
	    waitpid(pid, NULL, 0) != pid) {
		fprintf(stderr, "inject: %d: %s\n", pid, strerror(errno));
		return 1;
	}
	err = inject(pid, strtoul(argv[2], NULL, 0));
	if (err)
		fprintf(stderr, "inject: %d is in no system call\n", pid);
	ptrace(PTRACE_DETACH, pid, NULL, NULL);
	return err ? 1 : 0;
}
