// SPDX-License-Identifier: BSD-2-Clause
#include "job.h"

#include <string.h>

/* A decimal number and what follows it; false if there is none or it is above max. */
static int take_number(char **at, uint32_t max, uint32_t *out)
{
	uint64_t value = 0;
	char *p = *at;

	if (*p < '0' || *p > '9')
		return 0;
	for (; *p >= '0' && *p <= '9'; p++) {
		value = value * 10 + (uint64_t)(*p - '0');
		if (value > max)
			return 0;
	}
	if (*p == ' ')
		p++;
	else if (*p)
		return 0;
	*at = p;
	*out = (uint32_t)value;
	return 1;
}

static int take_file(char *at, struct job_file *file)
{
	if (!take_number(&at, 0x0fffffff, &file->lba) || !take_number(&at, JOB_FILE_MAX, &file->size) || !file->size)
		return 0;
	file->text = at;
	return file->lba >= JOB_SECTORS;
}

static int take_only_number(char *at, uint32_t max, unsigned *out)
{
	uint32_t value;

	if (!take_number(&at, max, &value) || *at)
		return 0;
	*out = value;
	return 1;
}

/* The rest of the line if it begins with the word. */
static char *after(char *line, const char *word)
{
	size_t n = strlen(word);

	return strncmp(line, word, n) == 0 && line[n] == ' ' ? line + n + 1 : NULL;
}

static int take_line(struct job *job, char *line)
{
	char *rest;

	if ((rest = after(line, "kernel")))
		return take_file(rest, &job->kernel);
	if ((rest = after(line, "module")))
		return job->module_count < JOB_MODULES_MAX && take_file(rest, &job->modules[job->module_count++]);
	if ((rest = after(line, "disk")))
		return take_file(rest, &job->disk);
	if ((rest = after(line, "memory")))
		return take_only_number(rest, JOB_MEMORY_MAX, &job->memory_mb) && job->memory_mb >= 2;
	if ((rest = after(line, "cpus")))
		return take_only_number(rest, JOB_CPUS_MAX, &job->cpus) && job->cpus;
	if ((rest = after(line, "stall")))
		return take_only_number(rest, 1000000, &job->stall);
	if ((rest = after(line, "param"))) {
		job->params = rest;
		return 1;
	}
	return 0;
}

const char *job_parse(struct job *job, char *text)
{
	char *line = text, *end;

	memset(job, 0, sizeof(*job));
	job->memory_mb = 64;
	job->cpus = 1;
	job->params = text + JOB_BYTES; /* "": the text ends there */
	if (memchr(text, 0, JOB_BYTES) == NULL)
		return "the job's text has no end";
	text[JOB_BYTES] = 0;
	for (unsigned n = 0; (end = strchr(line, '\n')); line = end + 1, n++) {
		*end = 0;
		if (n == 0) {
			if (strcmp(line, "lhv-job 1"))
				return "no job on the second disk";
			continue;
		}
		if (strcmp(line, "end") == 0)
			return job->kernel.size ? NULL : "a job without a kernel";
		if (!take_line(job, line))
			return line;
	}
	return "no job on the second disk, or one without an end";
}
