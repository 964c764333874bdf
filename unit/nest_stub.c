// SPDX-License-Identifier: BSD-2-Clause
#include "unit/nest_stub.h"

#include "unit/unit.h"
#include "x86/msr.h"
#include "xmhf-nest/ept01.h"
#include "xmhf-nest/mem.h"
#include "xmhf-nest/vmx.h"

struct nest_stub nest_stub;

struct range gpa_plain, mem_l0;
u32 cpu_maxphyaddr = 46;
u64 ept01_apic;
struct vmx_caps caps_l1 = {
	.ept_vpid = EPT_CAP_EXECUTE_ONLY | EPT_CAP_WALK4 | EPT_CAP_UC | EPT_CAP_WB | EPT_CAP_2M | EPT_CAP_1G,
};

void *gpa_ptr_slow(u64 gpa, u32 bytes)
{
	return nest_stub.gpa_ptr_slow(gpa, bytes);
}

struct ept_walk ept01_lookup(u64 gpa)
{
	return nest_stub.ept01_lookup(gpa);
}

bool ept01_fill(u64 gpa)
{
	return nest_stub.ept01_fill(gpa);
}

void invept_all(void)
{
	nest_stub.invept_all();
}

void *pages_alloc(u32 count, u32 alignment)
{
	static u8 pool[512 * PAGE_SIZE] __attribute__((aligned(4096)));
	static u32 used;
	void *p = pool + used;

	if (alignment > PAGE_SIZE || used + count * PAGE_SIZE > sizeof(pool)) {
		printf("# no memory for a test of %u pages\n", count);
		exit(1);
	}
	used += count * PAGE_SIZE;
	return p;
}

bool caps_have(const struct vmx_caps *c, const char *exists)
{
	CHECK(c == &caps_l1);
	return nest_stub.caps_have(exists);
}

void copy_words(void *to, const void *from, ulong words)
{
	memcpy(to, from, words * sizeof(ulong));
}

u64 phys_of(const void *p)
{
	return (ulong)p;
}

/* --- hardware that no test has --- */

static void nobody_calls(const char *what)
{
	printf("# %s in a test\n", what);
	exit(1);
}

ulong vmcs_get(u32 field)
{
	(void)field;
	nobody_calls("VMREAD");
	return 0;
}

void vmcs_put(u32 field, ulong value)
{
	(void)field;
	(void)value;
	nobody_calls("VMWRITE");
}

void vmcs_load(const u64 *pa)
{
	(void)pa;
	nobody_calls("VMPTRLD");
}

void shadow_off(struct cpu *c)
{
	(void)c;
	nobody_calls("shadow_off");
}
