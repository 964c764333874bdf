/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CORE_OUTCOME_H
#define CORE_OUTCOME_H

#include "core/base.h"

/* How a VMX instruction (or any instruction that may fault) ended. */
enum outcome_kind { OUT_OK, OUT_FAIL_INVALID, OUT_FAIL_VALID, OUT_FAULT, OUT_EXIT };

struct outcome {
	u8 kind;
	u8 vector; /* OUT_FAULT */
	u32 number; /* OUT_FAIL_VALID: VM-instruction error; OUT_FAULT: error code (0 if none); OUT_EXIT: exit reason field */
};

static inline struct outcome out_ok(void)
{
	return (struct outcome){ .kind = OUT_OK };
}
static inline struct outcome out_invalid(void)
{
	return (struct outcome){ .kind = OUT_FAIL_INVALID };
}
static inline struct outcome out_valid(u32 n)
{
	return (struct outcome){ .kind = OUT_FAIL_VALID, .number = n };
}
static inline struct outcome out_fault(u8 v, u32 e)
{
	return (struct outcome){ .kind = OUT_FAULT, .vector = v, .number = e };
}
static inline struct outcome out_exit(u32 r)
{
	return (struct outcome){ .kind = OUT_EXIT, .number = r };
}

bool outcome_equal(struct outcome a, struct outcome b);
/* "ok", "VMfailInvalid", "VMfailValid(12: VMREAD/VMWRITE from/to unsupported VMCS component)", "#GP(0x0)", "exit 18 (vmcall)". Returns buf. */
char *outcome_text(struct outcome o, char *buf, size_t size);

#endif
