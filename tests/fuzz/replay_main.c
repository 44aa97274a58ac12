/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A fuzz target without libFuzzer: runs it over the files, and every file of
 * the directories, given. Fails if there is none. */
#include <dirent.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Return: false if it cannot be read, or is no file */
static bool run_file(const char *path)
{
	FILE *in = fopen(path, "rb");
	struct stat st;
	uint8_t *data;
	size_t size;

	if (!in)
		return false;
	if (fstat(fileno(in), &st) || !S_ISREG(st.st_mode)) {
		fclose(in);
		return false;
	}
	size = (size_t)st.st_size;
	data = malloc(size ? size : 1);
	if (!data || fread(data, 1, size, in) != size)
		abort();
	fclose(in);
	fprintf(stderr, "%s\n", path);
	LLVMFuzzerTestOneInput(data, size);
	free(data);
	return true;
}

int main(int argc, char **argv)
{
	unsigned int count = 0;

	for (int i = 1; i < argc; i++) {
		DIR *dir = opendir(argv[i]);
		const struct dirent *entry;
		char path[4096];

		while (dir && (entry = readdir(dir))) {
			snprintf(path, sizeof(path), "%s/%s", argv[i],
				 entry->d_name);
			count += run_file(path);
		}
		if (dir)
			closedir(dir);
		else
			count += run_file(argv[i]);
	}
	printf("%u files\n", count);
	return count ? 0 : 1;
}
