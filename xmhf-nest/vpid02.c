// SPDX-License-Identifier: BSD-2-Clause
/* VPIDs of L1 get tags of L0's: L1's own number may be the one that L1 runs with. */
#include "arch/vmx.h"
#include "x86/msr.h"
#include "xmhf-nest/log.h"
#include "xmhf-nest/nested.h"
#include "xmhf-nest/vmx.h"

#define FIRST_TAG (VPID_L1 + 1)
#define TAGS ARRAY_SIZE(((struct vmcs12_cpu *)0)->tag)

static int find(const struct cpu *c, u16 vpid)
{
	for (u32 i = 0; i < TAGS; i++)
		if (c->nested.tag[i] == vpid)
			return (int)i;
	return -1;
}

u32 vpid02_tag(struct cpu *c, u16 vpid)
{
	int i = find(c, vpid);

	if (i < 0) {
		i = (int)(c->nested.next_tag++ % TAGS);
		c->nested.tag[i] = vpid;
		invvpid_single(FIRST_TAG + (u32)i);
	}
	return FIRST_TAG + (u32)i;
}

static void invvpid(ulong type, u64 tag, u64 address)
{
	u64 descriptor[2] = { tag, address };

	/* The CPU may have fewer types than L1 sees: more is dropped then, never less. */
	if (!(caps_cpu.ept_vpid & VPID_CAP_ADDRESS << type))
		type = 1;
	if (vmx_invvpid_raw(type, descriptor))
		panic("INVVPID type %u failed", (u32)type);
}

void vpid02_invalidate(struct cpu *c, u32 type, u16 vpid, u64 address)
{
	int i = find(c, vpid);

	if (!cpu_has_vpid)
		return;
	if (type == 2) {
		for (u32 k = 0; k < TAGS; k++)
			if (c->nested.tag[k])
				invvpid(1, FIRST_TAG + k, 0);
	} else if (i >= 0) {
		invvpid(type, FIRST_TAG + (u32)i, address);
	}
}
