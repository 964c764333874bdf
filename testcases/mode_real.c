// SPDX-License-Identifier: BSD-2-Clause
/*
 * Guests in real-address mode: what they do there, how they come there and leave it, and what exits tell and save. Code and
 * stack are below 64 KiB, see testcases/snippet.h. SDM: "Unrestricted Guests".
 */
#include "core/mem.h"
#include "testcases/judge.h"
#include "testcases/snippet.h"
#include "x86/cr.h"

#define UNRESTRICTED (OPT_ept | OPT_unrestricted)
#define GUESTS "Unrestricted Guests"
#define INFO_ERROR 0x800u
#define LOW_DATA (SNIP_LOW + PAGE_SIZE)
#define IVT_OFFSET 0x400u
#define HANDLER_OFFSET 0x200u
#define LIMIT_BIG 0xffffffffu

#define CODE(text) (text), sizeof(text) - 1
#define MOV_DS_AX_STORE CODE("\x8e\xd8\x89\x1e\x00\x00") /* and MOV [0], BX */
#define ADD_AX_1 CODE("\x05\x01\x00")
#define ADD_EAX_1 CODE("\x66\x05\x01\x00\x00\x00")
#define SMSW_EAX CODE("\x66\x0f\x01\xe0")
#define LOAD_FFFF CODE("\xa1\xff\xff")                 /* MOV AX, [0xffff]: a byte beyond the limit */
#define LOAD_BP_FFFF CODE("\x8b\x86\xff\xff")          /* MOV AX, [BP - 1] */
#define LOAD_BIG CODE("\x67\x66\x8b\x03")              /* MOV EAX, [EBX] */
#define LOAD_HIGH CODE("\x8e\xd8\x66\x8b\x0e\x10\x00") /* MOV DS, AX; MOV ECX, [10H] */
#define INT_40 CODE("\xcd\x40")
#define UD2 CODE("\x0f\x0b")
#define MARKER 0x5eed1234u

static void begin(struct snippet *s, struct cpu *c)
{
	judge_begin();
	snippet_begin(s, c, UNRESTRICTED);
	snippet_mode(s, SNIP_REAL, false);
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

TEST(mode, real, .sdm = GUESTS, .opt = UNRESTRICTED, .rules = "mode.real mode.real-saved")
{
	struct snippet s;

	begin(&s, c);
	run(&s, MOV_DS_AX_STORE, LOW_DATA >> 4, 0x1234abcd);
	JUDGE("mode.real", *(u32 *)s.data, 0xabcd);
	JUDGE("mode.real-saved", vmread(VMCS_guest_ds_selector), LOW_DATA >> 4);
	JUDGE("mode.real-saved", vmread(VMCS_guest_ds_base), LOW_DATA);
	JUDGE("mode.real-saved", vmread(VMCS_guest_ds_limit), 0xffff);
	JUDGE("mode.real-saved", vmread(VMCS_guest_cr0) & (CR0_PE | CR0_PG), 0);
	run(&s, ADD_AX_1, 0x1234ffff, 0);
	JUDGE("mode.real", (u32)s.v.g.ax, 0x12340000);
	run(&s, ADD_EAX_1, 0x1234ffff, 0);
	JUDGE("mode.real", (u32)s.v.g.ax, 0x12350000);
	/* FFFF:0010 is the first byte above 1 MiB; the A20 gate is open. */
	run(&s, LOAD_HIGH, 0xffff, 0);
	JUDGE("mode.real", (u32)s.v.g.cx, *(volatile u32 *)0x100000ul);
	run(&s, SMSW_EAX, 0, 0);
	JUDGE("mode.real", s.v.g.ax & CR0_PE, 0);
	end(&s);
}

/* Beyond 64 KiB is #GP, or #SS; in real-address mode an exit by an exception has no error code. */
TEST(mode, real_limits, .sdm = "Information for VM Exits Due to Vectored Events", .opt = UNRESTRICTED,
     .rules = "mode.real mode.real-no-error-code")
{
	struct snippet s;
	struct exit e;

	begin(&s, c);
	judge_about("MOV AX, [FFFFH]", NULL);
	snippet_code(&s, LOAD_FFFF);
	e = snippet_run(&s);
	JUDGE("mode.real", snippet_faulted(&e, VEC_GP), true);
	JUDGE("mode.real-no-error-code", vmread(VMCS_exit_interruption_info) & INFO_ERROR, 0);
	judge_about("MOV AX, [BP - 1]", NULL);
	snippet_code(&s, LOAD_BP_FFFF);
	s.v.g.bp = 0;
	e = snippet_run(&s);
	JUDGE("mode.real", snippet_faulted(&e, VEC_SS), true);
	JUDGE("mode.real-no-error-code", vmread(VMCS_exit_interruption_info) & INFO_ERROR, 0);
	end(&s);
}

/* An interrupt vector table of its own; every entry leads to a VMCALL, behind a NOP: an exit right behind an event has tests of its own. */
static void make_ivt(struct snippet *s)
{
	u32 *ivt = (u32 *)(s->data + IVT_OFFSET);

	for (u32 i = 0; i < 0x60; i++)
		ivt[i] = SNIP_LOW + HANDLER_OFFSET + 4 * i;
	for (u32 i = 0; i < 0x60; i++)
		memcpy(s->code + HANDLER_OFFSET + 4 * i, "\x90\x0f\x01\xc1", 4);
	vmwrite(VMCS_guest_idtr_base, LOW_DATA + IVT_OFFSET);
	vmwrite(VMCS_guest_idtr_limit, 4 * 0x60 - 1);
}

/* These bytes come to the handler of this vector, with FLAGS, CS and IP on the stack. */
static void judge_vector(struct snippet *s, const char *name, const char *bytes, u32 length, u32 vector, u32 ip)
{
	const u16 *stack = (u16 *)(s->data + PAGE_SIZE) - 3;
	struct exit e;

	judge_about(name, NULL);
	snippet_code(s, bytes, length);
	vmwrite(VMCS_guest_rflags, RFLAGS_FIXED | RFLAGS_CF | RFLAGS_IF);
	e = snippet_run(s);
	if (!JUDGE("mode.real-vectors", e.entry.kind == OUT_OK ? e.reason : ~0u, EXIT_vmcall))
		return;
	JUDGE("mode.real-vectors", e.ip, SNIP_LOW + HANDLER_OFFSET + 4 * vector + 1);
	JUDGE("mode.real-vectors", vmread(VMCS_guest_rsp), SNIP_SP(s) - 6);
	JUDGE("mode.real-vectors", stack[0], (u16)((ulong)s->code + ip));
	JUDGE("mode.real-vectors", stack[1], 0);
	JUDGE("mode.real-vectors", stack[2], RFLAGS_FIXED | RFLAGS_CF | RFLAGS_IF);
	JUDGE("mode.real-vectors", vmread(VMCS_guest_rflags) & RFLAGS_IF, 0);
}

TEST(mode, real_vectors, .sdm = GUESTS, .opt = UNRESTRICTED, .rules = "mode.real-vectors")
{
	struct snippet s;

	begin(&s, c);
	s.v.l2_takes = 1u << VEC_UD | 1u << VEC_GP;
	vcpu_write_controls(&s.v);
	snippet_mode(&s, SNIP_REAL, false);
	make_ivt(&s);
	judge_vector(&s, "INT 40H", INT_40, 0x40, 2);
	judge_vector(&s, "UD2", UD2, VEC_UD, 0);
	/* No error code on the stack. */
	judge_vector(&s, "MOV AX, [FFFFH]", LOAD_FFFF, VEC_GP, 0);
	end(&s);
}

/* From real-address mode to protected mode by itself: MOV to CR0, a far jump, and DS from the GDT. */
TEST(mode, real_to_protected, .sdm = GUESTS, .opt = UNRESTRICTED, .rules = "mode.real-leave")
{
	const char code[] =
		"\x0f\x20\xc0\x0c\x01\x0f\x22\xc0"      /* MOV EAX, CR0; OR AL, 1; MOV CR0, EAX */
		"\x66\xea\x10\xa0\x00\x00\x28\x00"      /* JMP SEL_CODE32: SNIP_LOW + 16 */
		"\xb8\x30\x00\x00\x00\x8e\xd8\x8b\x03"; /* MOV EAX, SEL_DATA32; MOV DS, EAX; MOV EAX, [EBX] */
	struct snippet s;

	begin(&s, c);
	*(u32 *)s.pages[1] = MARKER;
	run(&s, CODE(code), 0, (u32)(ulong)s.pages[1]);
	JUDGE("mode.real-leave", (u32)s.v.g.ax, MARKER);
	JUDGE("mode.real-leave", vmread(VMCS_guest_cr0) & (CR0_PE | CR0_PG), CR0_PE);
	JUDGE("mode.real-leave", vmread(VMCS_guest_cs_selector), SEL_CODE32);
	JUDGE("mode.real-leave", vmread(VMCS_guest_cs_access_rights), AR_CODE32);
	JUDGE("mode.real-leave", vmread(VMCS_guest_cs_limit), LIMIT_BIG);
	JUDGE("mode.real-leave", vmread(VMCS_guest_ds_selector), SEL_DATA32);
	JUDGE("mode.real-leave", vmread(VMCS_guest_ds_limit), LIMIT_BIG);
	end(&s);
}

/*
 * From 16-bit protected mode to real-address mode, DS with a limit of 4 GiB, as old boot code does: the limit stays, also when DS
 * is loaded in real-address mode.
 */
TEST(mode, protected_to_real, .sdm = GUESTS, .opt = UNRESTRICTED, .rules = "mode.real-enter mode.real-big")
{
	const char code[] = "\xb8\x30\x00\x8e\xd8"              /* MOV AX, SEL_DATA32; MOV DS, AX */
			    "\x0f\x20\xc0\x24\xfe\x0f\x22\xc0"  /* MOV EAX, CR0; AND AL, FEH; MOV CR0, EAX */
			    "\xea\x12\xa0\x00\x00"              /* JMP 0: SNIP_LOW + 18 */
			    "\x31\xc0\x8e\xd8\x67\x66\x8b\x03"; /* XOR AX, AX; MOV DS, AX; MOV EAX, [EBX] */
	struct snippet s;
	struct exit e;

	begin(&s, c);
	vmwrite_bits(VMCS_guest_cr0, 0, CR0_PE);
	vmwrite(VMCS_guest_cs_access_rights, AR_CODE16);
	*(u32 *)s.pages[1] = MARKER;
	run(&s, CODE(code), 0, (u32)(ulong)s.pages[1]);
	JUDGE("mode.real-big", (u32)s.v.g.ax, MARKER);
	JUDGE("mode.real-big", vmread(VMCS_guest_ds_limit), LIMIT_BIG);
	JUDGE("mode.real-enter", vmread(VMCS_guest_ds_selector), 0);
	JUDGE("mode.real-enter", vmread(VMCS_guest_ds_base), 0);
	JUDGE("mode.real-enter", vmread(VMCS_guest_cs_selector), 0);
	JUDGE("mode.real-enter", vmread(VMCS_guest_cr0) & (CR0_PE | CR0_PG), 0);
	/* And the exit and the entry behind it leave it as it is; the CPU has only now a limit of 64 KiB again. */
	run(&s, LOAD_BIG, 0, (u32)(ulong)s.pages[1]);
	JUDGE("mode.real-big", (u32)s.v.g.ax, MARKER);
	vmwrite(VMCS_guest_ds_limit, 0xffff);
	vmwrite(VMCS_guest_ds_access_rights, AR_DATA16);
	snippet_code(&s, LOAD_BIG);
	s.v.g.bx = (ulong)s.pages[1];
	e = snippet_run(&s);
	JUDGE("mode.real-big", snippet_faulted(&e, VEC_GP), true);
	end(&s);
}
