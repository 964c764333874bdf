/* SPDX-License-Identifier: BSD-2-Clause */
/* A test program's few needs: named cases, KTAP, checks that say where. */
#ifndef UNIT_UNIT_H
#define UNIT_UNIT_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base.h"

/* A failed check ends the program's case list with the case's name; sanitizers do so by themselves. */
#define CHECK(cond) ((cond) ? (void)0 : unit_fail(__FILE__, __LINE__, #cond))
#define CHECK_STR(got, want) (strcmp(got, want) ? unit_fail_text(__FILE__, __LINE__, got, want) : (void)0)

void unit_fail(const char *file, int line, const char *what);
void unit_fail_text(const char *file, int line, const char *got, const char *want);

struct unit_case {
	const char *name;
	void (*run)(void);
};
/* Each file's cases, ended by a NULL name. */
extern const struct unit_case check_cases[];
extern const struct unit_case check_model_cases[];
extern const struct unit_case cmdline_cases[];
extern const struct unit_case decode_cases[];
extern const struct unit_case ept_cases[];
extern const struct unit_case ept02_cases[];
extern const struct unit_case ept12_cases[];
extern const struct unit_case fmt_cases[];
extern const struct unit_case line_cases[];
extern const struct unit_case lru_cases[];
extern const struct unit_case memmap_cases[];
extern const struct unit_case misc_cases[];
extern const struct unit_case msr_bitmap_cases[];
extern const struct unit_case mtrr_cases[];
extern const struct unit_case paging_cases[];
extern const struct unit_case route_cases[];
extern const struct unit_case vmcs_cases[];
extern const struct unit_case vmcs12_cases[];
extern const struct unit_case vmm_cases[];

/* Repeatable pseudo-random numbers for models and fuzzing; not the code under test. */
u64 unit_random(void);

#endif
