// SPDX-License-Identifier: BSD-2-Clause
/*
 * INIT and SIPI sent by L1: each CPU begins at the vector's page exactly once, as INIT leaves it. The CPUs meanwhile are
 * outside of VMX operation (INIT is blocked in VMX root operation) and go on afterwards as if nothing had happened.
 */
#include "core/mem.h"
#include "lhv/apic.h"
#include "lhv/guest.h"
#include "lhv/mem.h"
#include "lhv/platform.h"
#include "lhv/smp.h"
#include "lhv/test.h"
#include "x86/cr.h"
#include "x86/msr.h"

/* lib/arch/sipi.asm */
extern const u8 sipi_code[], sipi_code_end[];
u32 sipi_wait(u32 apic_id, volatile u32 *state, u32 waiting, u32 in_root);
extern volatile u32 sipi_alive;
extern u8 boot_gdtr[];
/* lib/arch/l2_spin.asm */
ulong l2_spin_registers(ulong stop);
extern volatile u32 l2_spin_alive;

/* How the CPU was at its first instruction. */
struct sipi_record {
	u32 eax, ebx, ecx, edx, esi, edi, ebp, esp;
	u32 cs, ds, es, ss, fs, gs;
	u32 flags, cr0, cr2, cr3, cr4;
	u16 gdt_limit, gdt_base[2], unused0;
	u16 idt_limit, idt_base[2], unused1;
	u32 apic_id;
};
_Static_assert(sizeof(struct sipi_record) == 96, "lib/arch/sipi.asm");

#define RECORDS_MAX 16u
struct sipi_page {
	u8 code[0x800];
	u32 lock, count;
	u8 gdtr[0x18];
	struct sipi_record now;
	u8 unused[0x80];
	struct sipi_record record[RECORDS_MAX];
};
_Static_assert(offsetof(struct sipi_page, record) == 0x900, "lib/arch/sipi.asm");
#define page ((volatile struct sipi_page *)SIPI_PAGE)

#define ICR_INIT 0x4500u
#define ICR_STARTUP 0x4600u
#define ICR_OTHERS 0xc0000u

#define ROUNDS 2u
#define FLOOD 500u /* INITs in a row */
#define GIVE_UP (~0u)
#define PARK_MS 50u /* until the CPUs wait */
#define START_MS 3u /* until they have started */

/* What a restarted CPU looks at, besides. */
enum { LOOK_AT_STATE, LOOK_AT_CACHE_MODE, LOOK_AT_SIGNATURE, LOOK_AT_X2APIC, LOOK_AT_APIC };

static struct {
	u32 look;
	u32 inits; /* sent each time */
	bool x2apic;
	bool others;         /* all but CPU 0, else the last one only */
	u32 left_x2apic;     /* a bit per CPU */
	u32 state[MAX_CPUS]; /* round in which the CPU waits, GIVE_UP */
} now;

static void use_x2apic(void)
{
	msr_write(MSR_APIC_BASE, msr_read(MSR_APIC_BASE) | APIC_BASE_ENABLE | APIC_BASE_X2APIC);
}

/*
 * Behind an INIT the APIC has to be set up. In x2APIC mode it's left alone: nothing here needs its interrupts, and
 * the way back to xAPIC mode is through "disabled".
 */
static void set_up_apic(void)
{
	if (!(msr_read(MSR_APIC_BASE) & APIC_BASE_X2APIC))
		apic_init();
}

static u32 apic_id_in_any_mode(void)
{
	return msr_read(MSR_APIC_BASE) & APIC_BASE_X2APIC ? (u32)msr_read(MSR_X2APIC_ID) : apic_id();
}

/* --- The restarted CPU --- */

/* MSRs of which the SDM says little for INIT, and hosts do what they like: kept over it, for the next test's sake. */
static const u32 other_msrs[] = { MSR_STAR, MSR_LSTAR, MSR_CSTAR, MSR_FMASK, MSR_KERNEL_GS_BASE, MSR_TSC_AUX };
struct other_msrs {
	u64 value[ARRAY_SIZE(other_msrs)];
};

static struct other_msrs keep_other_msrs(void)
{
	struct other_msrs m = { { 0 } };

	for (u32 i = 0; i < ARRAY_SIZE(other_msrs); i++)
		msr_read_try(other_msrs[i], &m.value[i]);
	return m;
}

static void restore_other_msrs(const struct other_msrs *m)
{
	for (u32 i = 0; i < ARRAY_SIZE(other_msrs); i++)
		msr_write_try(other_msrs[i], m->value[i]);
}

/* SDM: "Local APIC State After It Receives an INIT Reset": what is in them before, and the values that INIT gives. */
static const struct {
	u32 reg, before, after;
} apic_values[] = {
	{ 0x80, 0x20, 0 },                 /* TPR */
	{ 0xd0, 0x05000000, 0 },           /* LDR */
	{ 0xe0, 0x0fffffff, 0xffffffff },  /* DFR */
	{ 0xf0, 0x1fe, 0xff },             /* spurious vector */
	{ 0x320, 0x00020041, 0x00010000 }, /* LVT: timer, which doesn't run; LINT1; error */
	{ 0x360, 0x00000042, 0x00010000 },
	{ 0x370, 0x00000043, 0x00010000 },
	{ 0x3e0, 0xb, 0 }, /* divider */
};

static volatile u32 *apic_register(u32 reg)
{
	return (volatile u32 *)(ulong)(APIC_PAGE + reg);
}

static void change_apic(void)
{
	for (u32 i = 0; i < ARRAY_SIZE(apic_values); i++)
		*apic_register(apic_values[i].reg) = apic_values[i].before;
}

static void check_apic(void)
{
	for (u32 i = 0; i < ARRAY_SIZE(apic_values); i++)
		expect_eq(*apic_register(apic_values[i].reg), apic_values[i].after);
}

static void be_restarted(struct cpu *c, void *arg)
{
	const u64 feature_control = msr_read(MSR_FEATURE_CONTROL);
	struct other_msrs kept = keep_other_msrs();

	(void)arg;
	expect_out(vmx_off(c), out_ok());
	for (u32 round = 1; round <= ROUNDS; round++) {
		if (now.x2apic)
			use_x2apic();
		if (now.look == LOOK_AT_APIC)
			change_apic();
		if (!expect_eq(sipi_wait(c->apic_id, &now.state[c->number], round, false), 0))
			break;
		cpu_load_tables(c);
		expect_eq(msr_read(MSR_FEATURE_CONTROL), feature_control);
		if (now.x2apic && !(msr_read(MSR_APIC_BASE) & APIC_BASE_X2APIC))
			__atomic_fetch_or(&now.left_x2apic, 1u << c->number, __ATOMIC_ACQ_REL);
		if (now.look == LOOK_AT_APIC)
			check_apic();
		set_up_apic();
		expect_eq(apic_id_in_any_mode(), c->apic_id);
	}
	set_up_apic();
	restore_other_msrs(&kept);
	expect_out(vmx_on(c), out_ok());
}

/* --- CPU 0 --- */

static void wait_ms(u32 ms)
{
	u64 deadline = time_after_ms(ms);

	while (!time_is_up(deadline))
		cpu_pause();
}

static void send(u32 apic_id, u32 what)
{
	if (now.others)
		what |= ICR_OTHERS;
	if (now.x2apic)
		msr_write(MSR_X2APIC_ICR, (u64)apic_id << 32 | what);
	else
		apic_icr(apic_id, what);
}

/* SDM: "Typical BSP Initialization Sequence": the second SIPI is for CPUs that missed the first, others ignore it. */
static void send_sipis(u32 apic_id)
{
	for (u32 i = 0; i < 2; i++) {
		send(apic_id, ICR_STARTUP | SIPI_PAGE >> PAGE_SHIFT);
		wait_ms(1);
	}
	wait_ms(START_MS);
}

static bool all_wait(u32 first, u32 round)
{
	u64 deadline = time_after_ms(PARK_MS);
	u32 waiting;

	do {
		waiting = 0;
		for (u32 n = first; n < cpu_count; n++)
			waiting += __atomic_load_n(&now.state[n], __ATOMIC_ACQUIRE) == round;
		cpu_pause();
	} while (waiting < cpu_count - first && !time_is_up(deadline));
	return waiting == cpu_count - first;
}

/* A host may have fewer CPUs than it gives to L1: it may be another's turn for some time. */
static bool moves_on(const volatile u32 *counter, u32 from)
{
	u64 deadline = time_after_ms(PARK_MS);

	while (__atomic_load_n(counter, __ATOMIC_ACQUIRE) == from && !time_is_up(deadline))
		cpu_pause();
	return __atomic_load_n(counter, __ATOMIC_ACQUIRE) != from;
}

/* SDM: "Processor State After Reset", the table's column for INIT. */
static void check_clean(const volatile struct sipi_record *r)
{
	expect_eq(r->cs, SIPI_PAGE >> 4);
	expect_eq(r->ds | r->es | r->ss | r->fs | r->gs, 0);
	/* CF is what the code itself uses. */
	expect_eq(r->flags & ~RFLAGS_CF, RFLAGS_FIXED);
	expect_eq(r->cr0 & ~(CR0_CD | CR0_NW), CR0_ET);
	expect_eq(r->cr2, 0);
	expect_eq(r->cr3, 0);
	expect_eq(r->cr4, 0);
	expect_eq(r->eax | r->ebx | r->ecx | r->esi | r->edi | r->ebp | r->esp, 0);
	expect_eq(r->gdt_limit, 0xffff);
	expect_eq(r->gdt_base[0] | r->gdt_base[1], 0);
	expect_eq(r->idt_limit, 0xffff);
	expect_eq(r->idt_base[0] | r->idt_base[1], 0);
}

/* Each of the CPUs is there once. */
static bool check_arrivals(u32 first)
{
	u32 signature[4];
	bool ok = expect_eq(page->count, cpu_count - first);

	cpuid_raw(1, 0, signature);
	for (u32 n = first; n < cpu_count; n++) {
		u32 times = 0;

		for (u32 i = 0; i < page->count && i < RECORDS_MAX; i++) {
			if (page->record[i].apic_id != cpus[n].apic_id)
				continue;
			times++;
			if (now.look == LOOK_AT_CACHE_MODE)
				expect_eq(page->record[i].cr0 & (CR0_CD | CR0_NW), 0);
			if (now.look == LOOK_AT_SIGNATURE)
				expect_eq(page->record[i].edx, signature[0]);
			if (now.look == LOOK_AT_STATE)
				check_clean(&page->record[i]);
		}
		ok &= expect_eq(times, 1);
	}
	return ok;
}

static void check_restarts(u32 first)
{
	u32 apic_id;

	for (u32 round = 1; round <= ROUNDS; round++) {
		if (!expect(all_wait(first, round)))
			return;
		page->count = 0;
		apic_id = now.others ? 0 : cpus[first].apic_id;
		for (u32 i = 0; i < now.inits; i++)
			send(apic_id, ICR_INIT);
		wait_ms(10);
		send_sipis(apic_id);
		if (!check_arrivals(first))
			return;
	}
}

static void copy_code(void)
{
	memset((void *)SIPI_PAGE, 0, PAGE_SIZE);
	memcpy((void *)SIPI_PAGE, sipi_code, (size_t)(sipi_code_end - sipi_code));
	memcpy((void *)(ulong)page->gdtr, boot_gdtr, sizeof(struct table_reg));
}

static void check_inits(bool others, bool x2apic, u32 look, u32 inits)
{
	u32 first = others ? 1 : cpu_count - 1;

	memset(&now, 0, sizeof(now));
	now.others = others;
	now.x2apic = x2apic;
	now.look = look;
	now.inits = inits;
	copy_code();
	if (x2apic)
		use_x2apic();
	for (u32 n = first; n < cpu_count; n++)
		on_cpu(n, be_restarted, NULL);
	check_restarts(first);
	/* Who still waits got nothing: it says so and goes on. */
	for (u32 n = first; n < cpu_count; n++)
		__atomic_store_n(&now.state[n], GIVE_UP, __ATOMIC_RELEASE);
	for (u32 n = first; n < cpu_count; n++)
		join_cpu(n);
	if (look == LOOK_AT_X2APIC)
		expect_eq(now.left_x2apic, 0);
}

static void check_init(bool others, bool x2apic, u32 look)
{
	check_inits(others, x2apic, look, 1);
}

TEST(smp, init_one, .sdm = "Typical BSP Initialization Sequence", .flags = TEST_TWO_CPUS,
     .rules = "smp.init-sipi smp.init-registers smp.init-feature-control")
{
	check_init(false, false, LOOK_AT_STATE);
}

TEST(smp, init_others, .sdm = "Typical BSP Initialization Sequence", .flags = TEST_TWO_CPUS,
     .rules = "smp.init-sipi smp.init-all smp.init-registers")
{
	check_init(true, false, LOOK_AT_STATE);
}

/* However many: the CPU waits for a SIPI after each, and nobody else notices. */
TEST(smp, init_flood, .sdm = "Typical BSP Initialization Sequence", .flags = TEST_TWO_CPUS,
     .rules = "smp.init-repeated smp.init-all")
{
	check_inits(true, false, LOOK_AT_STATE, FLOOD);
}

/* "The CD and NW flags are unchanged": they are 0 before. */
TEST(smp, init_keeps_cache_mode, .sdm = "Processor State After Reset", .flags = TEST_TWO_CPUS,
     .rules = "smp.init-cache-mode")
{
	check_init(true, false, LOOK_AT_CACHE_MODE);
}

/* EDX tells what CPU it is, as CPUID does. */
TEST(smp, init_gives_signature, .sdm = "Processor State After Reset", .flags = TEST_TWO_CPUS,
     .rules = "smp.init-signature")
{
	check_init(true, false, LOOK_AT_SIGNATURE);
}

TEST(smp, init_resets_apic, .sdm = "Local APIC State After It Receives an INIT Reset", .flags = TEST_TWO_CPUS,
     .rules = "smp.init-apic")
{
	check_init(true, false, LOOK_AT_APIC);
}

/* --- INIT to a CPU in VMX root operation --- */

enum { IN_ROOT = 1, MAY_LEAVE, LEAVES }; /* what sipi_wait makes of state */

static void stay_in_root(struct cpu *c, void *arg)
{
	struct other_msrs kept = keep_other_msrs();

	(void)arg;
	c->vmx_on = false;
	if (!sipi_wait(c->apic_id, &now.state[c->number], IN_ROOT, true)) {
		cpu_load_tables(c);
		apic_init();
		restore_other_msrs(&kept);
	}
	expect_out(vmx_on(c), out_ok());
}

/* The last CPU leaves VMX operation: how often it starts then. */
static u32 starts_after_vmxoff(u32 last)
{
	u32 started;

	__atomic_store_n(&now.state[last], MAY_LEAVE, __ATOMIC_RELEASE);
	all_wait(last, LEAVES);
	wait_ms(1);
	send_sipis(cpus[last].apic_id);
	started = page->count;
	__atomic_store_n(&now.state[last], GIVE_UP, __ATOMIC_RELEASE);
	join_cpu(last);
	return started;
}

/* True if the last CPU went on in VMX root operation; *started: how often it started after VMXOFF. */
static bool init_in_root(u32 *started)
{
	u32 last = cpu_count - 1, apic_id = cpus[last].apic_id;
	bool went_on;

	memset(&now, 0, sizeof(now));
	copy_code();
	on_cpu(last, stay_in_root, NULL);
	all_wait(last, IN_ROOT);
	send(apic_id, ICR_INIT);
	wait_ms(10);
	went_on = moves_on(&sipi_alive, sipi_alive) && !page->count;
	*started = starts_after_vmxoff(last);
	return went_on;
}

/* "The INIT signal is blocked whenever a logical processor is in VMX root operation." */
TEST(smp, init_blocked_in_root, .sdm = "Restrictions on VMX Operation", .flags = TEST_TWO_CPUS,
     .rules = "vmcs.init-blocked smp.init-root")
{
	u32 started;

	expect(init_in_root(&started));
}

/* Blocked, not lost: VMXOFF unblocks it, and a SIPI starts the CPU. */
TEST(smp, init_waits_for_vmxoff, .sdm = "VMXOFF-Leave VMX Operation", .flags = TEST_TWO_CPUS,
     .rules = "smp.init-at-vmxoff insn.vmxoff.unblocks-init")
{
	u32 started;

	require(init_in_root(&started));
	expect_eq(started, 1);
}

/* --- INIT to a CPU that runs L2 --- */

#define L2_INITS 3u

static struct {
	u32 stop;  /* asks L2 to call */
	u32 exits; /* that the CPU has had */
	u32 done;  /* the CPU won't enter L2 again, and has told what it saw */
} in_l2;

/* All but AX, which L2 needs. */
static void check_patterns(const struct vcpu *v)
{
	const ulong *reg = &v->g.ax;

	for (u32 n = 1; n < sizeof(v->g) / sizeof(ulong); n++)
		expect_eq(reg[n], L2_PATTERN + n);
}

static void take_inits_in_l2(struct cpu *c, void *arg)
{
	struct vcpu v;
	struct exit e;

	test_vcpu(&v, c, 0);
	guest(&v, l2_spin_registers, (ulong)&in_l2.stop);
	for (u32 n = 1; n <= L2_INITS; n++) {
		e = enter(&v);
		if (!expect_exit(&v, e, EXIT_init))
			break;
		check_patterns(&v);
		expect_eq(vmread(VMCS_guest_activity_state), 0);
		__atomic_store_n(&in_l2.exits, n, __ATOMIC_RELEASE);
	}
	/* The exits were for L1 alone: L2 goes on. */
	__atomic_store_n(&in_l2.stop, 1, __ATOMIC_RELEASE);
	if (in_l2.exits == L2_INITS) {
		e = enter(&v);
		if (expect_call(&v, e, L2_REGISTERS))
			check_patterns(&v);
	}
	vcpu_destroy(&v);
	__atomic_store_n(&in_l2.done, 1, __ATOMIC_RELEASE);
	stay_in_root(c, arg);
}

/* An exit for each, and nothing is left of them: not for L2, nor for the time after VMXOFF. */
TEST(smp, init_exits_from_l2, .sdm = "Other Causes of VM Exits", .flags = TEST_TWO_CPUS, .rules = "intr.init")
{
	u32 last = cpu_count - 1;

	memset(&now, 0, sizeof(now));
	memset(&in_l2, 0, sizeof(in_l2));
	copy_code();
	on_cpu(last, take_inits_in_l2, NULL);
	for (u32 n = 0; n < L2_INITS; n++) {
		if (!expect(moves_on(&l2_spin_alive, l2_spin_alive)))
			break;
		send(cpus[last].apic_id, ICR_INIT);
		if (!expect(moves_on(&in_l2.exits, n)))
			break;
	}
	__atomic_store_n(&in_l2.stop, 1, __ATOMIC_RELEASE);
	while (!__atomic_load_n(&in_l2.done, __ATOMIC_ACQUIRE))
		cpu_pause();
	expect(all_wait(last, IN_ROOT));
	expect_eq(starts_after_vmxoff(last), 0);
}

/* CPU 0 stays in x2APIC mode: the way back is through "disabled", which not every host comes back from (Bochs). */
TEST_LAST(smp, init_one_x2apic, .sdm = "Typical BSP Initialization Sequence", .needs = "x2APIC", .flags = TEST_TWO_CPUS,
	  .rules = "smp.init-sipi")
{
	check_init(false, true, LOOK_AT_STATE);
}

TEST_LAST(smp, init_others_x2apic, .sdm = "Typical BSP Initialization Sequence", .needs = "x2APIC",
	  .flags = TEST_TWO_CPUS, .rules = "smp.init-sipi smp.init-all")
{
	check_init(true, true, LOOK_AT_STATE);
}

TEST_LAST(smp, init_keeps_x2apic, .sdm = "x2APIC States After Reset and INIT", .needs = "x2APIC",
	  .flags = TEST_TWO_CPUS, .rules = "smp.init-x2apic")
{
	check_init(true, true, LOOK_AT_X2APIC);
}
