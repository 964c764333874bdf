// SPDX-License-Identifier: BSD-2-Clause
#include "testcases/insn_table.h"
#include "core/mem.h"
#include "x86/cr.h"
#include "x86/msr.h"

#define MARK 0x5au

const struct insn_row insn_rows[] = {
	{ "VMXON", { 0xf3, 0x0f, 0xc7, 0x37 }, 4, 8, false, true, NULL },
	{ "VMCLEAR", { 0x66, 0x0f, 0xc7, 0x37 }, 4, 8, false, false, NULL },
	{ "VMPTRLD", { 0x0f, 0xc7, 0x37 }, 3, 8, false, false, NULL },
	{ "VMPTRST", { 0x0f, 0xc7, 0x3f }, 3, 8, true, false, NULL },
	{ "VMREAD", { 0x0f, 0x78, 0x07 }, 3, sizeof(ulong), true, false, NULL },
	{ "VMWRITE", { 0x0f, 0x79, 0x07 }, 3, sizeof(ulong), false, false, NULL },
	{ "INVEPT", { 0x66, 0x0f, 0x38, 0x80, 0x07 }, 5, 16, false, false, "all-context INVEPT" },
	{ "INVVPID", { 0x66, 0x0f, 0x38, 0x81, 0x07 }, 5, 16, false, false, "all-context INVVPID" },
	{ "VMLAUNCH", { 0x0f, 0x01, 0xc2 }, 3, 0, false, false, NULL },
	{ "VMRESUME", { 0x0f, 0x01, 0xc3 }, 3, 0, false, false, NULL },
	{ "VMXOFF", { 0x0f, 0x01, 0xc4 }, 3, 0, false, false, NULL },
};
const u32 insn_row_count = ARRAY_SIZE(insn_rows);

static bool is(const struct insn_row *i, const char *name)
{
	return !strcmp(i->name, name);
}

void insn_prepare(struct l1_code *l, const struct insn_row *i, u64 vmcs, u32 offset)
{
	u8 *p = l->data + offset;
	u64 value[2] = { 0, 0 };

	l->in.reg[L1_AX] = VMCS_guest_sysenter_eip;
	if (is(i, "INVEPT"))
		l->in.reg[L1_AX] = INVEPT_ALL;
	if (is(i, "INVVPID"))
		l->in.reg[L1_AX] = INVVPID_ALL;
	/* VMCLEAR takes a page that nobody needs, since the operand itself isn't judged further: this one. */
	if (is(i, "VMCLEAR"))
		value[0] = l->scratch;
	if (is(i, "VMPTRLD"))
		value[0] = vmcs;
	if (is(i, "VMWRITE"))
		value[0] = 0x12345678;
	if (is(i, "VMXON"))
		value[0] = l->cpu->vmxon_pa;
	if (i->writes)
		memset(value, MARK, sizeof(value));
	memcpy(p, value, sizeof(value));
}

bool insn_wrote(const struct l1_code *l, const struct insn_row *i, u64 vmcs, u32 offset)
{
	ulong field = (ulong)vmread(VMCS_guest_sysenter_eip);
	const u8 *p = l->data + offset;

	if (!i->writes)
		return true;
	if (p[i->operand] != MARK)
		return false;
	return is(i, "VMPTRST") ? !memcmp(p, &vmcs, 8) : !memcmp(p, &field, sizeof(field));
}

bool insn_left(const struct l1_code *l, const struct insn_row *i, u32 offset)
{
	for (u32 k = 0; i->writes && k < i->operand; k++)
		if (l->data[offset + k] != MARK)
			return false;
	return true;
}

u32 insn_prefixed(u8 *to, const struct insn_row *i, const void *prefix, u32 length)
{
	memcpy(to, prefix, length);
	memcpy(to + length, i->bytes, i->length);
	return length + i->length;
}

u32 insn_encode(u8 *to, const struct insn_row *i, u8 prefix, u8 rex, u8 modrm, const void *behind, u32 length)
{
	u32 n = 0, k = 0;

	if (prefix)
		to[n++] = prefix;
	if (i->bytes[0] != 0x0f)
		to[n++] = i->bytes[k++];
	if (rex)
		to[n++] = rex;
	while (k < i->length - 1u)
		to[n++] = i->bytes[k++];
	to[n++] = (u8)(modrm | (i->bytes[k] & MODRM_REG));
	memcpy(to + n, behind, length);
	return n + length;
}
