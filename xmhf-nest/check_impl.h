/* SPDX-License-Identifier: BSD-2-Clause */
/* What the files that implement check.h share. */
#ifndef NEST_CHECK_IMPL_H
#define NEST_CHECK_IMPL_H

#include "x86/cr.h"
#include "x86/msr.h"
#include "xmhf-nest/check.h"
#include "xmhf-nest/check_rules.h"

/* In a function that returns enum check_rule: returns the rule unless expr is true. The good case falls through. */
#define CHECK(rule, expr)                         \
	do {                                      \
		if (__builtin_expect(!(expr), 0)) \
			return RULE_##rule;       \
	} while (0)
/* A group of rules in a function of its own. */
#define CHECK_ALL(call)                               \
	do {                                          \
		enum check_rule failed = call;        \
		if (__builtin_expect(failed != 0, 0)) \
			return failed;                \
	} while (0)

#define CR4_CET 0x800000u
#define VMX_BASIC_32BIT (1ull << 48) /* addresses of VMX structures have 32 bits */

/* VM-entry interruption information (SDM: "VM-Entry Controls for Event Injection") */
#define EVENT_VALID 0x80000000u
#define EVENT_TYPE(info) ((info) >> 8 & 7)
#define EVENT_VECTOR(info) ((info)&0xff)
enum event_type {
	EVENT_INTERRUPT = 0,
	EVENT_NMI = 2,
	EVENT_EXCEPTION = 3,
	EVENT_SOFTWARE_INTERRUPT = 4,
	EVENT_PRIVILEGED = 5,
	EVENT_SOFTWARE_EXCEPTION = 6,
	EVENT_OTHER = 7
};

static inline struct check_result check_done(enum check_rule rule, enum check_kind kind)
{
	struct check_result r = { .kind = CHECK_OK };

	if (__builtin_expect(rule != RULE_none, 0)) {
		r.kind = (u8)kind;
		r.rule = check_rule_name[rule];
	}
	return r;
}

/* Secondary controls, all 0 unless they are activated. */
static inline u32 check_proc2(const u64 v[VI_COUNT])
{
	u32 on = (u32)v[VI_primary_proc_based_controls] & (u32)PROC_activate_secondary_controls;

	return on ? (u32)v[VI_secondary_proc_based_controls] : 0;
}

/* Bits that an address in a VMCS field must not set. */
static inline u64 check_beyond(const struct check_env *e)
{
	return ~0ull << (e->caps->basic & VMX_BASIC_32BIT ? 32 : e->maxphyaddr);
}

/* Within the 48 bits of linear addresses: 0 if canonical; results can be ORed. */
static inline u64 check_noncanonical(u64 linear)
{
	return (linear + (1ull << 47)) >> 48;
}

/* Bits of fixed0, which are among those of fixed1, are 1; no other than those of fixed1 are. */
static inline bool check_fixed(u64 value, u64 fixed0, u64 fixed1)
{
	return ((value & fixed1) | fixed0) == value;
}

/* SDM: "IA32_PAT MSR": bytes 0, 1, 4, 5, 6, 7. */
static inline bool check_pat(u64 pat)
{
	u64 bit1 = pat & 0x0202020202020202ull, bit2 = pat & 0x0404040404040404ull;

	return !(pat & 0xf8f8f8f8f8f8f8f8ull) && !(bit1 & ~(bit2 >> 1));
}

/* check_segments.c */
enum check_rule check_guest_segments(const u64 v[VI_COUNT], const struct check_env *e);

#endif
