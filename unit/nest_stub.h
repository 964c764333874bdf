/* SPDX-License-Identifier: BSD-2-Clause */
/* What files of xmhf-nest ask of others, where it's hardware or memory: tests say what they get. */
#ifndef UNIT_NEST_STUB_H
#define UNIT_NEST_STUB_H

#include "xmhf-nest/ept01.h"

/* Called by the functions of these names; each test sets those that it needs. */
struct nest_stub {
	void *(*gpa_ptr_slow)(u64 gpa, u32 bytes);
	struct ept_walk (*ept01_lookup)(u64 gpa);
	bool (*ept01_fill)(u64 gpa);
	void (*invept_all)(void);
	bool (*caps_have)(const char *exists);
};
extern struct nest_stub nest_stub;

#endif
