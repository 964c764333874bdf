/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CORE_CMDLINE_H
#define CORE_CMDLINE_H

#include "core/base.h"

#define CMDLINE_MAX 4096 /* bytes, NUL included */
#define CMDLINE_MASKS 256
#define CMDLINE_GLOBS 256
#define CMDLINE_CPUS 8

enum exit_how { EXIT_HOW_NONE, EXIT_HOW_BOCHS, EXIT_HOW_QEMU };

/* What docs/protocol.md calls lhv's command line, parsed. */
struct cmdline {
	u32 masks[CMDLINE_MASKS];
	u32 mask_count;
	const char *globs[CMDLINE_GLOBS]; /* into text */
	u32 glob_count;
	u32 iter;
	u32 cpus; /* 0: all */
	u64 seed;
	u32 from;
	enum exit_how exit;
	bool dump;
	char run[17];
	char text[CMDLINE_MAX]; /* private copy that globs point into */
};

/*
 * Parses. On failure returns false with the rule in rule ("unknown option", "out of range", "illegal mask",
 * "too long", "too many", "bad value", "given twice") and a sentence with the offending word in why.
 * default_mask is used if the text has neither opt= nor test=, and must be legal then.
 */
bool cmdline_parse(struct cmdline *c, const char *text, u32 default_mask, const char **rule, char *why, size_t size);

/* Shell-like match with * (any run, also /) and ?. */
bool glob_match(const char *glob, const char *text);
/* Does glob select the test area/name? Matches against "area/name" and "name"; a canary only without wildcards. */
bool glob_selects(const char *glob, const char *area, const char *name, bool canary);
/* Can glob, "area/name" without wildcards, select no more than one test? */
bool glob_names_one(const char *glob);
/* For such a glob: what glob_selects() says, in fewer instructions. */
bool glob_is(const char *glob, const char *area, const char *name);

#endif
