// SPDX-License-Identifier: BSD-2-Clause
#include "core/cmdline.h"
#include "core/mem.h"

bool glob_match(const char *glob, const char *text)
{
	const char *star = NULL, *from = NULL; /* last star, and where its run ends for now */

	while (*text) {
		if (*glob == '*') {
			star = glob++;
			from = text;
		} else if (*glob == '?' || *glob == *text) {
			glob++;
			text++;
		} else if (star) {
			glob = star + 1;
			text = ++from;
		} else {
			return false;
		}
	}
	while (*glob == '*')
		glob++;
	return !*glob;
}

static bool has_wildcard(const char *glob)
{
	for (; *glob; glob++)
		if (*glob == '*' || *glob == '?')
			return true;
	return false;
}

bool glob_names_one(const char *glob)
{
	bool slash = false;

	for (const char *c = glob; *c; c++)
		slash |= *c == '/';
	return slash && !has_wildcard(glob);
}

bool glob_is(const char *glob, const char *area, const char *name)
{
	for (; *area; glob++, area++)
		if (*glob != *area)
			return false;
	return *glob == '/' && !strcmp(glob + 1, name);
}

bool glob_selects(const char *glob, const char *area, const char *name, bool canary)
{
	char full[128];
	size_t at = strlen(area), n = strlen(name);

	if (canary && has_wildcard(glob))
		return false;
	if (at + n + 2 > sizeof(full))
		return glob_match(glob, name);
	memcpy(full, area, at);
	full[at] = '/';
	memcpy(full + at + 1, name, n);
	full[at + 1 + n] = 0;
	return glob_match(glob, full) || glob_match(glob, name);
}
