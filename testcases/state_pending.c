// SPDX-License-Identifier: BSD-2-Clause
/* Debug exceptions that MOV SS holds up when an exit comes (CVE-2018-8897 is about what systems made of them). */
#include "core/mem.h"
#include "testcases/scene.h"

#define DR7_FIXED 0x400u
#define DR7_L0 1u
#define DR7_WRITE0 0x10000u
#define DR7_READ_WRITE0 0x30000u

/* MOV SS, [address] */
static u32 mov_ss(u8 bytes[8], const void *address)
{
	static const u8 begin[] = {
		0x8e,
#ifdef __x86_64__
		0x14,
		0x25,
#else
		0x15,
#endif
	};
	u32 at = (u32)(ulong)address;

	memcpy(bytes, begin, sizeof(begin));
	memcpy(bytes + sizeof(begin), &at, sizeof(at));
	return sizeof(begin) + sizeof(at);
}

/* The VMCALL behind it exits. */
TEST(exit, save_pending_mov_ss, .sdm = "Saving Non-Register State", .needs = "load debug controls",
     .rules = "exit.save.pending-mov-ss")
{
	static const struct {
		const char *name;
		ulong flags, dr7, pending;
	} cases[] = {
		{ "nothing", 0, DR7_FIXED, 0 },
		{ "single step", RFLAGS_TF, DR7_FIXED, PENDING_BS },
		{ "data breakpoint", 0, DR7_FIXED | DR7_L0 | DR7_READ_WRITE0, PENDING_ENABLED | 1 },
		{ "both", RFLAGS_TF, DR7_FIXED | DR7_L0 | DR7_READ_WRITE0, PENDING_ENABLED | 1 | PENDING_BS },
		{ "data breakpoint that only writes meet", 0, DR7_FIXED | DR7_L0 | DR7_WRITE0, 0 },
	};
	ulong dr6 = read_dr6();
	struct stage st;
	u8 bytes[8];
	u32 length;

	stage_begin(&st, c);
	st.s.v.ctl[CTL_VMENTRY] |= VMENTRY_load_debug_controls;
	*(u16 *)st.s.data = SEL_DATA;
	length = mov_ss(bytes, st.s.data);
	write_dr0((ulong)st.s.data);
	for (u32 n = 0; n < ARRAY_SIZE(cases); n++) {
		struct exit e;

		vmwrite(VMCS_guest_dr7, cases[n].dr7);
		e = scene(&st, &(const struct scene){ .name = cases[n].name,
						      .bytes = (const char *)bytes,
						      .length = length,
						      .flags = cases[n].flags });
		PASSES("exit.save.pending-mov-ss", &st, e);
		JUDGE("exit.save.pending-mov-ss", vmread(VMCS_guest_interruptibility_state), BY_MOV_SS);
		JUDGE("exit.save.pending-mov-ss", vmread(VMCS_guest_pending_debug_exceptions), cases[n].pending);
	}
	write_dr0(0);
	write_dr6(dr6);
	stage_done(&st);
}
