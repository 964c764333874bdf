// SPDX-License-Identifier: BSD-2-Clause
#include "lhv/dump.h"

#include "lhv/cpu.h"
#include "lhv/report.h"
#include "lhv/vmx.h"

bool dump_wanted;

void dump_read(struct vmcs_dump *d)
{
	for (u32 i = 0; i < vmcs_table_count; i++) {
		u32 field = vmcs_table[i].encoding;
		ulong low = 0, high = 0;

		d->valid[i] = vmread_raw(field, &low).kind == OUT_OK;
		if (d->valid[i] && sizeof(ulong) == 4 && vmcs_table[i].width == WIDTH_64)
			d->valid[i] = vmread_raw(field + 1, &high).kind == OUT_OK;
		d->value[i] = d->valid[i] ? low | (u64)high << 16 << 16 : 0;
	}
}

/* As many fields in a line as there's room for: a byte costs thousands of instructions where an L0 emulates the port. */
void dump_print(const struct vmcs_dump *d, const char *tag)
{
	struct line l;
	bool open = false;

	for (u32 i = 0; i < vmcs_table_count; i++) {
		if (!d->valid[i] || (open && line_hex(&l, vmcs_table[i].name, d->value[i])))
			continue;
		if (open)
			say_end(&l);
		say_start(&l, "vmcs");
		line_u64(&l, "cpu", this_cpu()->number);
		line_str(&l, "tag", tag);
		open = line_hex(&l, vmcs_table[i].name, d->value[i]);
	}
	if (open)
		say_end(&l);
}

u32 dump_diff(const struct vmcs_dump *a, const struct vmcs_dump *b)
{
	struct line l;
	u32 n = 0;

	for (u32 i = vmcs_diff(a, b, 0); i < vmcs_table_count; i = vmcs_diff(a, b, i + 1)) {
		say_start(&l, "diff");
		line_u64(&l, "cpu", this_cpu()->number);
		line_str(&l, "field", vmcs_table[i].name);
		line_hex(&l, "a", a->value[i]);
		line_hex(&l, "b", b->value[i]);
		say_end(&l);
		n++;
	}
	return n;
}

void dump_current(const char *tag)
{
	static struct vmcs_dump dumps[MAX_CPUS];
	struct cpu *c = this_cpu();

	if (!c->vmx_on || !c->vcpu)
		return;
	dump_read(&dumps[c->number]);
	dump_print(&dumps[c->number], tag);
}

void dump_after_failure(void)
{
	static u32 printed;

	if (__atomic_fetch_add(&printed, 1, __ATOMIC_RELAXED) < FAIL_DUMPS_MAX)
		dump_current("fail");
}
