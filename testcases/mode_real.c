// SPDX-License-Identifier: BSD-2-Clause
/*
 * Guests in real-address mode and in virtual-8086 mode, and what an exit saves of them. Code and stack are below 64 KiB,
 * see testcases/snippet.h. SDM: "Unrestricted Guests", "Virtual-8086 Mode".
 */
#include "core/mem.h"
#include "testcases/judge.h"
#include "testcases/snippet.h"
#include "x86/cr.h"

#define UNRESTRICTED (OPT_ept | OPT_unrestricted)
#define RFLAGS_IOPL3 0x3000u
#define INFO_VALID 0x80000000u
#define INFO_ERROR 0x800u
#define INFO_EXCEPTION 0x300u
#define LOW_DATA (SNIP_LOW + PAGE_SIZE)

#define CODE(text) (text), sizeof(text) - 1
#define MOV_DS_AX CODE("\x8e\xd8")
#define MOV_DS_AX_STORE CODE("\x8e\xd8\x89\x1e\x00\x00") /* and MOV [0], BX */
#define MOV_AX_FFFF CODE("\xa1\xff\xff")
#define MOV_EAX_EBX_FAR CODE("\x67\x66\x8b\x03") /* MOV EAX, [EBX] */
#define PUSHF_POP_AX CODE("\x9c\x58")
#define ADD_AX_1 CODE("\x05\x01\x00")
#define INT_40 CODE("\xcd\x40")
#define CLI CODE("\xfa")
#define LLDT_AX CODE("\x0f\x00\xd0")
#define SMSW_EAX CODE("\x66\x0f\x01\xe0")
#define MOV_EAX_CR0 CODE("\x0f\x20\xc0")

static void begin(struct snippet *s, struct cpu *c, enum snip_mode mode)
{
	judge_begin();
	snippet_begin(s, c, mode == SNIP_REAL ? UNRESTRICTED : 0);
	snippet_mode(s, mode, false);
	judge_about(snippet_name(mode), NULL);
}

static void end(struct snippet *s)
{
	vcpu_destroy(&s->v);
	judge_done();
}

/* L2 runs these bytes to their end. */
static bool run(struct snippet *s, const char *bytes, size_t length, u32 ax, u32 bx)
{
	struct exit e;

	snippet_code(s, bytes, (u32)length);
	s->v.g.ax = ax;
	s->v.g.bx = bx;
	e = snippet_run(s);
	return expect(snippet_passed(s, &e));
}

TEST(mode, real, .sdm = "Unrestricted Guests", .opt = UNRESTRICTED, .rules = "mode.real mode.real-saved")
{
	struct snippet s;

	begin(&s, c, SNIP_REAL);
	run(&s, MOV_DS_AX_STORE, LOW_DATA >> 4, 0x1234abcd);
	JUDGE("mode.real", *(u32 *)s.data, 0xabcd);
	JUDGE("mode.real-saved", vmread(VMCS_guest_ds_selector), LOW_DATA >> 4);
	JUDGE("mode.real-saved", vmread(VMCS_guest_ds_base), LOW_DATA);
	JUDGE("mode.real-saved", vmread(VMCS_guest_ds_limit), 0xffff);
	JUDGE("mode.real-saved", vmread(VMCS_guest_cr0) & (CR0_PE | CR0_PG), 0);
	run(&s, ADD_AX_1, 0x1234ffff, 0);
	JUDGE("mode.real", s.v.g.ax, 0x12340000);
	run(&s, SMSW_EAX, 0, 0);
	JUDGE("mode.real", s.v.g.ax & (CR0_PE | CR0_PG), 0);
	end(&s);
}

TEST(mode, v86, .sdm = "Checks on Guest Segment Registers", .rules = "mode.v86 mode.v86-saved")
{
	struct snippet s;

	begin(&s, c, SNIP_V86);
	run(&s, MOV_DS_AX_STORE, LOW_DATA >> 4, 0x1234abcd);
	JUDGE("mode.v86", *(u32 *)s.data, 0xabcd);
	JUDGE("mode.v86-saved", vmread(VMCS_guest_ds_selector), LOW_DATA >> 4);
	JUDGE("mode.v86-saved", vmread(VMCS_guest_ds_base), LOW_DATA);
	JUDGE("mode.v86-saved", vmread(VMCS_guest_rflags) & ~(u64)RFLAGS_ARITH, RFLAGS_FIXED | RFLAGS_VM);
	end(&s);
}
