// SPDX-License-Identifier: BSD-2-Clause
/* What another CPU sends to one that runs L2: interrupts, and SIPIs to an L2 that waits for one. INIT: smp.c; NMI: nmi.c. */
#include "lhv/apic.h"
#include "lhv/guest.h"
#include "lhv/platform.h"
#include "lhv/test.h"
#include "testcases/judge.h"
#include "x86/cr.h"
#include "x86/msr.h"

#define VECTOR (IRQ_VECTOR + IRQ_SELF)
#define INFO_VALID 0x80000000u
#define GIVE_UP_MS 50u
#define ROUNDS 4u
#define WAIT_FOR_SIPI 3u
#define START_PAGE 0x9cu
#define ICR_STARTUP 0x4600u
#define ICR_LOW (*(volatile u32 *)(APIC_PAGE + 0x300ul))
#define ICR_HIGH (*(volatile u32 *)(APIC_PAGE + 0x310ul))

/* lib/arch/l2_spin.asm */
ulong l2_spin_registers(ulong stop);
extern volatile u32 l2_spin_alive;

static u32 stop; /* asks L2 to call */
static u32 ready;

static void wait_while(const volatile u32 *word, u32 value)
{
	u64 deadline = time_after_ms(GIVE_UP_MS);

	while (__atomic_load_n(word, __ATOMIC_ACQUIRE) == value && !time_is_up(deadline))
		cpu_pause();
}

/* Once L2 runs; and when L2 has had its time with it, L2 is stopped, if it still runs. */
static void send_interrupt(struct cpu *c, void *arg)
{
	const volatile u32 *count = arg;
	u32 before = *count;

	(void)c;
	wait_while(&ready, 0);
	wait_while(&l2_spin_alive, l2_spin_alive);
	apic_send(cpus[0].apic_id, VECTOR);
	wait_while(count, before);
	__atomic_store_n(&stop, 1, __ATOMIC_RELEASE);
}

/* `count`: the interrupts that L1 or L2 has taken, whoever is to take this one. */
static struct exit run_interrupted(struct vcpu *v, volatile u32 *count)
{
	struct exit e;

	__atomic_store_n(&stop, 0, __ATOMIC_RELEASE);
	__atomic_store_n(&ready, 0, __ATOMIC_RELEASE);
	guest(v, l2_spin_registers, (ulong)&stop);
	vmwrite_bits(VMCS_guest_rflags, 0, RFLAGS_IF);
	on_cpu(1, send_interrupt, (void *)(ulong)count);
	__atomic_store_n(&ready, 1, __ATOMIC_RELEASE);
	e = enter_once(v);
	/* The sender sees by the count that it has been taken. */
	irq_window();
	__atomic_store_n(&stop, 1, __ATOMIC_RELEASE);
	return e;
}

static bool begin(struct vcpu *v, struct cpu *c, enum irq_mode mode)
{
	judge_begin();
	test_vcpu(v, c, 0);
	v->irq_mode = mode;
	vcpu_write_controls(v);
	return true;
}

TEST(smp, interrupt_exits, .sdm = "External-Interrupt Exiting", .needs = "external-interrupt exiting",
     .flags = TEST_TWO_CPUS, .rules = "intr.exits intr.pending")
{
	volatile u32 *count = &c->count[LEVEL_L1][IRQ_SELF];
	struct vcpu v;

	begin(&v, c, IRQ_TO_L1);
	judge_about("interrupt from another CPU", NULL);
	for (u32 n = 0; n < ROUNDS; n++) {
		u32 before = *count;
		struct exit e = run_interrupted(&v, count);

		JUDGE("intr.exits", e.reason, EXIT_external_interrupt);
		JUDGE("intr.pending", vmread(VMCS_exit_interruption_info) & INFO_VALID, 0);
		JUDGE("intr.pending", *count, before + 1);
		join_cpu(1);
	}
	judge_done();
}

TEST(smp, interrupt_acknowledged, .sdm = "External-Interrupt Exiting",
     .needs = "external-interrupt exiting; acknowledge interrupt on exit", .flags = TEST_TWO_CPUS,
     .rules = "intr.exits intr.acknowledge")
{
	volatile u32 *count = &c->count[LEVEL_L1][IRQ_SELF];
	struct vcpu v;

	begin(&v, c, IRQ_REINJECT);
	judge_about("interrupt from another CPU", NULL);
	for (u32 n = 0; n < ROUNDS; n++) {
		u32 before = *count;
		struct exit e = run_interrupted(&v, count);

		JUDGE("intr.exits", e.reason, EXIT_external_interrupt);
		JUDGE("intr.acknowledge", vmread(VMCS_exit_interruption_info), INFO_VALID | VECTOR);
		JUDGE("intr.acknowledge", apic_pending(VECTOR), false);
		JUDGE("intr.acknowledge", *count, before);
		apic_eoi();
		join_cpu(1);
	}
	judge_done();
}

TEST(smp, interrupt_to_l2, .sdm = "External-Interrupt Exiting", .flags = TEST_TWO_CPUS, .rules = "smp.interrupt-guest")
{
	volatile u32 *count = &c->count[LEVEL_L2][IRQ_SELF];
	struct vcpu v;

	begin(&v, c, IRQ_TO_L2);
	judge_about("interrupt from another CPU", NULL);
	for (u32 n = 0; n < ROUNDS; n++) {
		u32 before = *count, in_l1 = c->count[LEVEL_L1][IRQ_SELF];
		struct exit e = run_interrupted(&v, count);

		JUDGE("smp.interrupt-guest", e.reason, EXIT_vmcall);
		JUDGE("smp.interrupt-guest", v.g.ax, L2_REGISTERS);
		JUDGE("smp.interrupt-guest", *count, before + 1);
		JUDGE("smp.interrupt-guest", c->count[LEVEL_L1][IRQ_SELF], in_l1);
		join_cpu(1);
	}
	judge_done();
}

/* --- SIPI --- */

static void send_sipi(struct cpu *c, void *arg)
{
	u64 pause = time_after_ms(2);

	(void)c;
	(void)arg;
	wait_while(&ready, 0);
	while (!time_is_up(pause))
		cpu_pause();
	/* More than one, because only a CPU that waits takes it, and nothing tells when it does. */
	for (u32 n = 0; n < 10 && !__atomic_load_n(&stop, __ATOMIC_ACQUIRE); n++) {
		/* The tests that turn x2APIC mode on come last, too. */
		if (msr_read(MSR_APIC_BASE) & APIC_BASE_X2APIC) {
			msr_write(MSR_X2APIC_ICR, (u64)cpus[0].apic_id << 32 | ICR_STARTUP | START_PAGE);
		} else {
			ICR_HIGH = cpus[0].apic_id << 24;
			ICR_LOW = ICR_STARTUP | START_PAGE;
		}
		wait_while(&stop, 0);
	}
}

/* An L2 that waits for a SIPI gets one. */
static struct exit run_waiting(struct vcpu *v, struct cpu *c, ulong *ip)
{
	struct exit e;

	judge_begin();
	judge_about("SIPI", NULL);
	test_vcpu(v, c, 0);
	__atomic_store_n(&stop, 0, __ATOMIC_RELEASE);
	__atomic_store_n(&ready, 0, __ATOMIC_RELEASE);
	guest(v, l2_spin_registers, (ulong)&stop);
	*ip = (ulong)vmread(VMCS_guest_rip);
	vmwrite(VMCS_guest_activity_state, WAIT_FOR_SIPI);
	on_cpu(1, send_sipi, NULL);
	__atomic_store_n(&ready, 1, __ATOMIC_RELEASE);
	e = enter_once(v);
	__atomic_store_n(&stop, 1, __ATOMIC_RELEASE);
	join_cpu(1);
	return e;
}

/* It doesn't start anything: L1 gets the vector. Last, since Bochs 2.7 lets CPU 0 block SMIs from then on, and no entry succeeds. */
TEST_LAST(smp, sipi_exits, .sdm = "Other Causes of VM Exits", .needs = "activity state wait-for-SIPI",
	  .flags = TEST_TWO_CPUS, .rules = "smp.sipi-exit smp.sipi-vector")
{
	struct vcpu v;
	struct exit e;
	ulong ip;

	e = run_waiting(&v, c, &ip);
	JUDGE("smp.sipi-exit", e.reason, EXIT_sipi);
	JUDGE("smp.sipi-vector", e.qualification, START_PAGE);
	JUDGE("smp.sipi-exit", vmread(VMCS_guest_rip), ip);
	vmwrite(VMCS_guest_activity_state, 0);
	judge_done();
}

TEST_LAST(smp, sipi_saves, .sdm = "Saving Non-Register State", .needs = "activity state wait-for-SIPI",
	  .flags = TEST_TWO_CPUS, .rules = "smp.sipi-saves smp.sipi-blocking")
{
	struct vcpu v;
	ulong ip;

	run_waiting(&v, c, &ip);
	JUDGE("smp.sipi-saves", vmread(VMCS_guest_activity_state), WAIT_FOR_SIPI);
	JUDGE("smp.sipi-blocking", vmread(VMCS_guest_interruptibility_state), 0);
	vmwrite(VMCS_guest_activity_state, 0);
	judge_done();
}
