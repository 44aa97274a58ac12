/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctl/program.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* Of shells: could not be run, not found; ours for "not apart" */
enum { STATUS_NOT_RUN = 126, STATUS_NOT_FOUND, STATUS_NOT_APART };

/* A user's PATH often lacks the directories where iptables is */
static void widen_path(void)
{
	static bool done;
	const char *old = getenv("PATH");
	char *path;

	if (done || asprintf(&path, "%s%s/usr/sbin:/sbin:/usr/bin:/bin",
			     old ? old : "", old ? ":" : "") < 0)
		return;
	setenv("PATH", path, 1);
	free(path);
	done = true;
}

bool program_exists(const char *name)
{
	char *path = NULL, *dir, *rest, file[PATH_MAX];
	const char *all;
	bool found = false;

	widen_path();
	all = getenv("PATH");
	if (all)
		path = strdup(all);
	rest = path;
	while (!found && (dir = strsep(&rest, ":"))) {
		snprintf(file, sizeof(file), "%s/%s", dir, name);
		found = !access(file, X_OK);
	}
	free(path);
	return found;
}

/* Memory files, not pipes: neither side can wait for the other */
static int input_file(const char *text)
{
	int fd = memfd_create("input", MFD_CLOEXEC);
	size_t len = text ? strlen(text) : 0;

	if (fd >= 0 && write(fd, text ? text : "", len) == (ssize_t)len &&
	    !lseek(fd, 0, SEEK_SET))
		return fd;
	if (fd >= 0)
		close(fd);
	return -1;
}

static _Noreturn void become(const struct program *program, int in, int out)
{
	int null = open("/dev/null", O_WRONLY | O_CLOEXEC);

	if (program->apart && unshare(CLONE_NEWNET))
		_exit(STATUS_NOT_APART);
	if (dup2(in, 0) < 0 || dup2(out, 1) < 0 || dup2(null, 2) < 0)
		_exit(STATUS_NOT_RUN);
	widen_path();
	/* The members of argv are not changed: POSIX, exec, RATIONALE */
	execvp(program->argv[0], (char *const *)(uintptr_t)program->argv);
	_exit(errno == ENOENT ? STATUS_NOT_FOUND : STATUS_NOT_RUN);
}

static int wait_for(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, 0) < 0) {
		if (errno != EINTR)
			return -errno;
	}
	if (!WIFEXITED(status))
		return -EINTR;
	switch (WEXITSTATUS(status)) {
	case STATUS_NOT_FOUND:
		return -ENOENT;
	case STATUS_NOT_APART:
		return -EPERM;
	default:
		return WEXITSTATUS(status);
	}
}

static int read_all(int fd, char **text)
{
	struct stat st;
	ssize_t n;

	if (fstat(fd, &st))
		return -errno;
	*text = calloc(1, (size_t)st.st_size + 1);
	if (!*text)
		return -ENOMEM;
	n = pread(fd, *text, (size_t)st.st_size, 0);
	if (n == st.st_size)
		return 0;
	free(*text);
	*text = NULL;
	return -EIO;
}

int program_run(const struct program *program, char **output)
{
	int in = input_file(program->input), err = -EIO;
	int out = memfd_create("output", MFD_CLOEXEC);
	pid_t pid = -1;

	*output = NULL;
	fflush(NULL);
	if (in >= 0 && out >= 0)
		pid = fork();
	if (!pid)
		become(program, in, out);
	if (pid > 0)
		err = wait_for(pid);
	if (!err)
		err = read_all(out, output);
	if (in >= 0)
		close(in);
	if (out >= 0)
		close(out);
	return err;
}
