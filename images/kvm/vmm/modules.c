// SPDX-License-Identifier: BSD-2-Clause
#include "modules.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "console.h"

#define PARAMETERS "/sys/module/kvm_intel/parameters"

int module_load(const char *path, const char *parameters)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), error = 0;

	if (fd < 0)
		return errno;
	if (syscall(SYS_finit_module, fd, parameters, 0) < 0)
		error = errno;
	close(fd);
	return error;
}

const char *module_lacks_parameter(char *parameters)
{
	char path[256], *rest = NULL;

	for (char *word = strtok_r(parameters, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) {
		word[strcspn(word, "=")] = 0;
		snprintf(path, sizeof(path), PARAMETERS "/%s", word);
		if (access(path, F_OK))
			return word;
	}
	return NULL;
}

static int read_text(int folder, const char *name, char *text, size_t room)
{
	int fd = openat(folder, name, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return 0;
	n = read(fd, text, room - 1);
	close(fd);
	if (n <= 0)
		return 0;
	text[n] = 0;
	text[strcspn(text, "\n")] = 0;
	return 1;
}

void module_say_parameters(void)
{
	DIR *folder = opendir(PARAMETERS);
	char line[480] = "", value[40];
	struct dirent *entry;
	size_t used = 0;

	if (!folder)
		return;
	while ((entry = readdir(folder)))
		if (entry->d_name[0] != '.' && read_text(dirfd(folder), entry->d_name, value, sizeof(value)))
			used += (size_t)snprintf(line + used, used < sizeof(line) ? sizeof(line) - used : 0, " %s=%s",
						 entry->d_name, value);
	closedir(folder);
	console_say("kvm_intel%s", line);
}
