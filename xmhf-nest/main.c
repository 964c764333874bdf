// SPDX-License-Identifier: BSD-2-Clause
/* From the boot loader to L1's first instruction. */
#include "arch/cpu.h"
#include "core/mem.h"
#include "x86/msr.h"
#include "xmhf-nest/acpi.h"
#include "xmhf-nest/apic.h"
#include "xmhf-nest/ept01.h"
#include "xmhf-nest/l1_start.h"
#include "xmhf-nest/log.h"
#include "xmhf-nest/mem.h"
#include "xmhf-nest/nested.h"
#include "xmhf-nest/poll.h"
#include "xmhf-nest/private.h"
#include "xmhf-nest/smp.h"
#include "xmhf-nest/tables.h"
#include "xmhf-nest/vmcs12.h"
#include "xmhf-nest/vmx.h"

void nest_main(u32 magic, const struct multiboot_info *info) __attribute__((noreturn));

static struct l1_boot boot;
static char strings[L1_MODULES][L1_STRING];
static char command_line[256];

static void copy_string(char *to, u32 from, u32 size)
{
	const char *p = (const char *)(ulong)from;
	u32 n = 0;

	while (from && n + 1 < size && p[n])
		n++;
	memcpy(to, p, n);
	to[n] = 0;
}

/* Value of "key=value" in the command line, up to a blank; "" if it's not there. */
static const char *option(const char *key)
{
	size_t n = strlen(key);

	for (const char *p = command_line; *p; p++)
		if ((p == command_line || p[-1] == ' ') && !strncmp(p, key, n))
			return p + n;
	return "";
}

/* What's scattered in memory that will be L1's. Modules stay where they are; memory above them is moved last. */
static void save(const struct multiboot_info *info)
{
	const struct multiboot_module *m = (const struct multiboot_module *)(ulong)info->mods_addr;

	boot.info = *info;
	if (info->flags & MULTIBOOT_HAS_CMDLINE)
		copy_string(command_line, info->cmdline, sizeof(command_line));
	boot.count = info->flags & MULTIBOOT_HAS_MODULES ? info->mods_count : 0;
	if (boot.count > L1_MODULES)
		panic("%u modules; at most %u", boot.count, L1_MODULES);
	for (u32 i = 0; i < boot.count; i++) {
		boot.module[i].data = (const u8 *)(ulong)m[i].start;
		boot.module[i].bytes = m[i].end - m[i].start;
		copy_string(strings[i], m[i].string, L1_STRING);
		boot.module[i].string = strings[i];
	}
}

/* Modules lie low, where L1's kernel may want to be: they move to the middle of RAM first. */
static void move_modules(void)
{
	u64 at = mem_l0.start;
	u32 total = 0;

	for (u32 i = 0; i < boot.count; i++)
		total += (boot.module[i].bytes + 2 * PAGE_SIZE) & ~(PAGE_SIZE - 1);
	/* Below the place that they finally get (l1_multiboot.c), with room for another megabyte of information. */
	at -= 2 * (u64)total + 0x100000;
	for (u32 i = 0; i < boot.count; i++) {
		u8 *to = gpa_ptr(at, 1);

		if (!to || to < boot.module[i].data)
			panic("no memory for %u KiB of modules", total >> 10);
		memcpy(to, boot.module[i].data, boot.module[i].bytes);
		boot.module[i].data = to;
		at += (boot.module[i].bytes + PAGE_SIZE - 1) & ~(u64)(PAGE_SIZE - 1);
	}
}

static void cpus_make(u32 count)
{
	for (u32 i = 0; i < count; i++) {
		struct cpu *c = pages_alloc(CPU_BLOCK / PAGE_SIZE, CPU_BLOCK);

		c->number = i;
		/* One word of padding above (arch/exit.asm), and 16-byte alignment on i386 as well. */
		c->regs = (struct gregs *)((ulong)c + CPU_BLOCK - sizeof(ulong) - sizeof(struct gregs));
		c->nested.current = VMCS12_NONE;
		ept02_init(&c->ept02);
		nest_cpus[i] = c;
	}
	nest_cpu_count = count;
}

static u32 cpus_wanted(void)
{
	u32 n = acpi_cpu_count();

	if (!n)
		n = 1;
	if (n > NEST_MAX_CPUS)
		panic("%u CPUs; at most %u", n, NEST_MAX_CPUS);
	return n;
}

/* On the CPU's own stack, in the moved image. */
static void run(void *cpu)
{
	struct cpu *c = cpu;

	tables_init();
	tables_load();
	caps_init();
	if (nest_cpu_count > 1 && !strncmp(option("kick="), "timer", 5))
		poll_init();
	vmcs12_init();
	shadow_init();
	ept01_init(caps_cpu.ept_vpid & EPT_CAP_1G ? 3 : 2);
	msr_bitmap_init();
	apic_init();
	c->apic_id = apic_id();
	vmx_start(c);
	nested_init(c);
	smp_start(nest_cpu_count);
	log_line("version=1 arch=%s cpus=%u memory=0x%llx-0x%llx used=%uK", sizeof(ulong) == 8 ? "amd64" : "i386",
		 nest_cpu_count, (unsigned long long)mem_l0.start, (unsigned long long)mem_l0.end,
		 (u32)(pool_used() >> 10));
	if (boot.count) {
		move_modules();
		l1_start_multiboot(c, &boot);
	} else {
		l1_start_disk(c, 0x81);
	}
	c->state = L1_RUNNING;
	c->launched01 = true;
	enter_first(c->regs);
}

void nest_main(u32 magic, const struct multiboot_info *info)
{
	log_init();
	if (magic != MULTIBOOT_MAGIC)
		panic("not started by a multiboot loader");
	save(info);
	panic_set_exit(option("exit="));
	mem_init(info, cpus_wanted());
	cpus_make(cpus_wanted());
	switch_stack((ulong)nest_cpus[0]->regs, run, nest_cpus[0]);
}
