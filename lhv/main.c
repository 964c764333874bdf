// SPDX-License-Identifier: BSD-2-Clause
/* From the boot loader to the done line. */
#include "core/fmt.h"
#include "core/mem.h"
#include "lhv/apic.h"
#include "lhv/cpu.h"
#include "lhv/disk.h"
#include "lhv/dump.h"
#include "lhv/ept_setup.h"
#include "lhv/mem.h"
#include "x86/multiboot.h"
#include "lhv/platform.h"
#include "lhv/plan.h"
#include "lhv/ps2.h"
#include "lhv/report.h"
#include "lhv/screen.h"
#include "dev/serial.h"
#include "lhv/smp.h"
#include "lhv/vmx.h"

void boot_main(u32 magic, const struct multiboot_info *info) __attribute__((noreturn));

static struct cmdline cmdline;
static char boot_text[CMDLINE_MAX + 1]; /* one more, so that too long is seen */
static u32 memory_end;

/* CPU 0 on its own stack. */
static void first_cpu(void *unused)
{
	static char why[200];
	const char *rule;
	struct line l;

	(void)unused;
	cpu_load_tables(&cpus[0]);
	pic_mask_all();
	apic_init();
	cpus[0].apic_id = apic_id();
	if (!cmdline_parse(&cmdline, boot_text, LHV_OPT, &rule, why, sizeof(why))) {
		say_start(&l, "refuse");
		line_str(&l, "rule", rule);
		line_str(&l, "text", why);
		say_end(&l);
		screen_status(why);
		platform_set_exit(cmdline.exit);
		platform_end(VERDICT_ERROR);
	}
	platform_set_exit(cmdline.exit);
	dump_wanted = cmdline.dump;
	if (memory_end < MEM_NEEDED)
		panic("%u KiB of memory, %u are needed", memory_end / 1024, MEM_NEEDED / 1024);
	time_calibrate();
	vmx_detect();
	ept_setup_init();
	ps2_init();
	disk_init();
	smp_start(cmdline.cpus, plan_follow);
	plan_run(&cmdline);
	platform_end(plan_verdict());
}

/* lib/arch/boot.asm calls this in the final mode, interrupts off, on a small stack. */
void boot_main(u32 magic, const struct multiboot_info *info)
{
	screen_init();
	serial_init();
	/* The loader's data may lie where our heap is going to be: take what we need first. */
	if (magic == MULTIBOOT_MAGIC) {
		if (info->flags & MULTIBOOT_HAS_CMDLINE)
			fmt(boot_text, sizeof(boot_text), "%s", (const char *)(ulong)info->cmdline);
		if (info->flags & MULTIBOOT_HAS_MEMORY)
			memory_end = info->mem_upper < 0x3ffc00 ? (info->mem_upper + 1024) * 1024 : 0xfffff000;
	}
	mem_init();
	cpu_prepare(0);
	switch_stack(stack_top(&cpus[0], LEVEL_L1), first_cpu, NULL);
}
