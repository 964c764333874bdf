// SPDX-License-Identifier: BSD-2-Clause
#include "xmhf-nest/log.h"

#include "arch/cpu.h"
#include "core/fmt.h"
#include "core/mem.h"
#include "dev/serial.h"
#include "xmhf-nest/cpu.h"

#define PREFIX "xmhf-nest: "

static u32 lock;
static char exit_how = 'n';

/* A CPU that holds the lock can't be waited for for ever: it may be the one that is broken. */
static void take(void)
{
	for (u32 i = 0; i < 10000000 && __atomic_exchange_n(&lock, 1, __ATOMIC_ACQUIRE); i++)
		cpu_pause();
}

static void write_line(const char *text, va_list ap)
{
	static char line[400];
	int n;

	take();
	memcpy(line, PREFIX, sizeof(PREFIX));
	n = fmt_v(line + sizeof(PREFIX) - 1, sizeof(line) - sizeof(PREFIX) - 2, text, ap);
	if (n > (int)(sizeof(line) - sizeof(PREFIX) - 3))
		n = (int)(sizeof(line) - sizeof(PREFIX) - 3);
	n += (int)sizeof(PREFIX) - 1;
	line[n++] = '\r';
	line[n++] = '\n';
	serial_write(line, (size_t)n);
	__atomic_store_n(&lock, 0, __ATOMIC_RELEASE);
}

void log_init(void)
{
	serial_init();
}

void log_line(const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	write_line(format, ap);
	va_end(ap);
}

void panic_set_exit(const char *how)
{
	exit_how = *how;
}

/* Registers and the current VMCS, by name; fields that don't exist are left out. */
static void dump(struct cpu *c)
{
	static const char *const names[] = { "ax", "cx",  "dx",  "bx",  "bp",  "si",  "di", "r8",
					     "r9", "r10", "r11", "r12", "r13", "r14", "r15" };
	const ulong *r = (const ulong *)c->regs;

	log_line("cpu=%u guest=%s vmxon=%d vmcs12=0x%llx", c->number, c->l2 ? "L2" : "L1", c->nested.vmxon,
		 (unsigned long long)c->nested.current);
	for (u32 i = 0; r && i < sizeof(struct gregs) / sizeof(ulong); i++)
		log_line("  %s=0x%lx", names[i], (unsigned long)r[i]);
	for (u32 i = 0; i < vmcs_table_count; i++) {
		const struct vmcs_info *f = &vmcs_table[i];
		ulong low = 0, high = 0;

		if (vmx_read_raw(f->encoding, &low) ||
		    (vmcs_two_halves(f->encoding) && vmx_read_raw(f->encoding + 1u, &high)))
			continue;
		log_line("  %s=0x%llx", f->name, (unsigned long long)(low | (u64)high << 31 << 1));
	}
}

void panic_at(const char *file, int line, const char *format, ...)
{
	static const char shutdown[] = "Shutdown";
	static u32 panics;
	struct cpu *c = cpu_of((void *)read_sp());
	char text[200];
	va_list ap;
	u32 nth = __atomic_fetch_add(&panics, 1, __ATOMIC_ACQ_REL);

	irq_off();
	va_start(ap, format);
	fmt_v(text, sizeof(text), format, ap);
	va_end(ap);
	if (nth < 4)
		log_line("PANIC cpu=%u at=%s:%d %s", nest_cpu_count && c->number < NEST_MAX_CPUS ? c->number : 0, file,
			 line, text);
	if (nth == 0) {
		if (nest_cpu_count && c->number < NEST_MAX_CPUS && nest_cpus[c->number] == c)
			dump(c);
		serial_drain();
		if (exit_how == 'b')
			for (u32 i = 0; i < sizeof(shutdown) - 1; i++)
				out8(0x8900, (u8)shutdown[i]);
		if (exit_how == 'q')
			out8(0xf4, 0x3f);
	}
	for (;;)
		halt();
}
