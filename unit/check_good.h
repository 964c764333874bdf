/* SPDX-License-Identifier: BSD-2-Clause */
/* A VMCS12 that passes all checks of an entry, to be spoiled. */
#ifndef UNIT_CHECK_GOOD_H
#define UNIT_CHECK_GOOD_H

#include "xmhf-nest/check.h"

enum good_kind {
	GOOD_64,     /* L1 in 64-bit mode, 64-bit guest */
	GOOD_32,     /* CPU without Intel 64 */
	GOOD_32ON64, /* CPU with Intel 64, L1 in 32-bit mode */
	GOOD_V86,    /* as GOOD_64, but the guest is in virtual-8086 mode */
	GOOD_KINDS
};

struct good {
	u64 v[VI_COUNT];
	struct vmx_caps caps;
	struct check_env env;
};
void good_make(struct good *g, enum good_kind kind);

/* All checks, as an entry does them. */
struct check_result good_check(const struct good *g);

#endif
