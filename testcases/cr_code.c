// SPDX-License-Identifier: BSD-2-Clause
#include "testcases/cr_code.h"
#include "testcases/judge.h"

#define REX 0x40u
#define REX_B 0x01u
#define REX_R 0x04u
#define INFO_ERROR 0x800u

void snippet_mov(struct snippet *s, enum mov_special op, u32 number, u32 reg)
{
	const u8 rex = (u8)(REX | (number & 8 ? REX_R : 0) | (reg & 8 ? REX_B : 0));
	const u8 code[] = { rex, 0x0f, (u8)op, (u8)(0xc0 | (number & 7) << 3 | (reg & 7)) };

	if (rex == REX)
		snippet_code(s, code + 1, 3);
	else
		snippet_code(s, code, 4);
}

u32 snippet_registers(enum snip_mode mode)
{
	return SNIP_IS_64(mode) ? 16 : 8;
}

/* struct gregs has no SP. */
static u32 place(u32 reg)
{
	return reg < GP_SP ? reg : reg - 1;
}

void snippet_set(struct snippet *s, u32 reg, ulong value)
{
	if (reg == GP_SP)
		vmwrite(VMCS_guest_rsp, value);
	else
		(&s->v.g.ax)[place(reg)] = value;
}

ulong snippet_get(const struct snippet *s, u32 reg)
{
	return reg == GP_SP ? (ulong)vmread(VMCS_guest_rsp) : (&s->v.g.ax)[place(reg)];
}

bool judge_access(struct snippet *s, const struct where *cause, u32 reason, u64 qualification)
{
	const char *told = reason == EXIT_cr_access ? "exit.info.cr-access" :
			   reason == EXIT_dr_access ? "exit.info.dr-access" :
						      "exit.info.invlpg";
	const struct gregs before = s->v.g;
	const u64 sp = vmread(VMCS_guest_rsp), cr0 = vmread(VMCS_guest_cr0), cr3 = vmread(VMCS_guest_cr3);
	const u64 cr4 = vmread(VMCS_guest_cr4), flags = vmread(VMCS_guest_rflags);
	const ulong *old = &before.ax, *now = &s->v.g.ax;
	struct exit e = snippet_run(s);
	u32 changed = vmread(VMCS_guest_rsp) != sp || vmread(VMCS_guest_rflags) != flags;

	if (!judge_equal(cause, "exit", e.entry.kind == OUT_OK ? e.reason : ~0u, reason))
		return false;
	judge_equal(WHERE(told), "qualification", e.qualification, qualification);
	JUDGE("exit.info.instruction-length", e.length, s->length);
	JUDGE("exit.save.rip-instruction", e.ip, (ulong)s->code);
	for (u32 i = 0; i < sizeof(before) / sizeof(ulong); i++)
		changed += old[i] != now[i];
	JUDGE("exit.cause.no-effect", changed, 0);
	JUDGE("exit.cause.no-effect", vmread(VMCS_guest_cr0), cr0);
	JUDGE("exit.cause.no-effect", vmread(VMCS_guest_cr3), cr3);
	JUDGE("exit.cause.no-effect", vmread(VMCS_guest_cr4), cr4);
	return true;
}

bool judge_fault(struct snippet *s, const struct where *rule, u32 vector)
{
	struct exit e = snippet_run(s);

	if (!judge_equal(rule, "fault", snippet_faulted(&e, vector), true))
		return false;
	if (vmread(VMCS_exit_interruption_info) & INFO_ERROR)
		judge_equal(rule, "error code", vmread(VMCS_exit_interruption_error_code), 0);
	return judge_equal(rule, "RIP", e.ip, (ulong)s->code);
}

bool judge_runs(struct snippet *s, const struct where *rule)
{
	struct exit e = snippet_run(s);

	return judge_equal(rule, "exit", e.entry.kind == OUT_OK ? e.reason : ~0u, EXIT_vmcall) &&
	       judge_equal(rule, "RIP", e.ip, (ulong)s->code + s->length);
}
