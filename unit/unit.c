// SPDX-License-Identifier: BSD-2-Clause
#include "unit/unit.h"

static bool failed;

void unit_fail(const char *file, int line, const char *what)
{
	if (!failed)
		printf("# %s:%d: %s\n", file, line, what);
	failed = true;
}

void unit_fail_text(const char *file, int line, const char *got, const char *want)
{
	if (!failed)
		printf("# %s:%d: got \"%s\", want \"%s\"\n", file, line, got, want);
	failed = true;
}

u64 unit_random(void)
{
	static u64 state = 88172645463325252u;

	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state;
}

int main(void)
{
	static const struct unit_case *const files[] = {
		check_cases,  check_model_cases, cmdline_cases, decode_cases, ept_cases,  ept02_cases,      ept12_cases,
		fmt_cases,    line_cases,        lru_cases,     memmap_cases, misc_cases, msr_bitmap_cases, mtrr_cases,
		paging_cases, route_cases,       vmcs_cases,    vmcs12_cases, vmm_cases,
	};
	u32 total = 0, number = 0, bad = 0;

	for (u32 f = 0; f < ARRAY_SIZE(files); f++)
		for (const struct unit_case *c = files[f]; c->name; c++)
			total++;
	printf("KTAP version 1\n1..%u\n", total);
	for (u32 f = 0; f < ARRAY_SIZE(files); f++) {
		for (const struct unit_case *c = files[f]; c->name; c++) {
			failed = false;
			c->run();
			bad += failed;
			printf("%s %u %s\n", failed ? "not ok" : "ok", ++number, c->name);
		}
	}
	printf("%u passed, %u failed\n", total - bad, bad);
	return bad ? 1 : 0;
}
