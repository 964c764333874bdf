// SPDX-License-Identifier: BSD-2-Clause
/* System-management interrupts near VM entries and in L2 (kernel bugzilla 216046). lhv's own handler counts them. */
#include "core/mem.h"
#include "lhv/apic.h"
#include "lhv/guest.h"
#include "lhv/platform.h"
#include "lhv/smram.h"
#include "lhv/test.h"
#include "testcases/judge.h"
#include "x86/cr.h"

#define DELIVERY "Default Treatment of SMI Delivery"
#define RETURN "Default Treatment of RSM"
#define NEEDS "SMRAM that is open"
#define ICR_SMI 0x4200u
#define ICR_LOW (*(volatile u32 *)(APIC_PAGE + 0x300ul))
#define ICR_HIGH (*(volatile u32 *)(APIC_PAGE + 0x310ul))
#define ARRIVES_MS 20u
#define ROUNDS 24u

static volatile u32 smis, smm_cr4; /* the handler writes them */
static u8 handler[SMRAM_HANDLER_BYTES];

static void put_address(u8 *at, const volatile u32 *word)
{
	u32 address = (u32)(ulong)word;

	memcpy(at, &address, sizeof(address));
}

/* 16-bit code; DS has base 0 and no limit (SDM: "SMM Handler Execution Environment"). */
static void begin(void)
{
	static const u8 code[] = {
		0x0f, 0x20, 0xe0,                   /* MOV EAX, CR4 */
		0x66, 0x67, 0xa3, 0,    0, 0, 0,    /* MOV [smm_cr4], EAX */
		0x66, 0x67, 0xff, 0x05, 0, 0, 0, 0, /* INC DWORD [smis] */
		0x0f, 0xaa,                         /* RSM */
	};
	_Static_assert(sizeof(code) <= sizeof(handler), "SMRAM_HANDLER_BYTES");

	judge_begin();
	smis = 0;
	smm_cr4 = ~0u;
	memset(handler, 0, sizeof(handler));
	memcpy(handler, code, sizeof(code));
	put_address(handler + 6, &smm_cr4);
	put_address(handler + 14, &smis);
	smram_exchange(handler);
}

static void end(void)
{
	smram_exchange(handler);
	judge_done();
}

/* Without a wait, as apic_icr() has one: the SMI is to be on its way when L1 enters. */
static void send(void)
{
	ICR_HIGH = cpus[0].apic_id << 24;
	ICR_LOW = ICR_SMI;
}

static bool arrives(u32 count)
{
	u64 deadline = time_after_ms(ARRIVES_MS);

	while (smis != count && !time_is_up(deadline))
		cpu_pause();
	return smis == count;
}

/* L2 shows its registers to L1, gets others, and looks at them. */
static void judge_guest(const char *rule, struct vcpu *v, struct exit e)
{
	const struct where where = { __FILE__, __LINE__, rule };
	ulong *reg = (ulong *)&v->g;
	u32 count = sizeof(v->g) / sizeof(ulong);

	if (!judge_equal(&where, "exit by VMCALL", e.reason, EXIT_vmcall) ||
	    !judge_equal(&where, "L2's AX", v->g.ax, L2_REGISTERS))
		return;
	for (u32 n = 1; n < count; n++)
		judge_equal(&where, "L2's register", reg[n], L2_PATTERN + n);
	for (u32 n = 0; n < count; n++)
		reg[n] = L2_PATTERN2 + n;
	skip_instruction(v, &e);
	e = enter(v);
	judge_equal(&where, "exit by VMCALL", e.reason, EXIT_vmcall);
	judge_equal(&where, "L2's AX", v->g.ax, L2_RETURN);
	judge_equal(&where, "L2's registers that are wrong", v->g.dx, 0);
}

TEST(smi, root, .sdm = RETURN, .needs = NEEDS, .rules = "smi.delivered smi.vmxe smi.root")
{
	ulong cr0 = read_cr0(), cr3 = read_cr3(), cr4 = read_cr4();
	struct vcpu v;
	u64 current = 0;

	test_vcpu(&v, c, 0);
	guest(&v, l2_registers, 0);
	begin();
	judge_about("an SMI in L1, VMCS not launched", NULL);
	for (u32 n = 1; n <= 2; n++) {
		vmwrite(VMCS_guest_sysenter_esp, 0x12345678 + n);
		send();
		JUDGE("smi.delivered", arrives(n), true);
		JUDGE("smi.vmxe", smm_cr4 & CR4_VMXE, 0);
		JUDGE("smi.root", read_cr4(), cr4);
		JUDGE("smi.root", read_cr0(), cr0);
		JUDGE("smi.root", read_cr3(), cr3);
		JUDGE("smi.root", vmptrst(&current).kind, OUT_OK);
		JUDGE("smi.root", current, v.vmcs_pa);
		JUDGE("smi.root", vmread(VMCS_guest_sysenter_esp), 0x12345678 + n);
		/* Launched or not, as before: enter() says which. */
		if (n == 1) {
			judge_guest("smi.root", &v, enter(&v));
			guest(&v, l2_registers, 0);
			judge_about("an SMI in L1, VMCS launched", NULL);
		} else {
			judge_guest("smi.root", &v, enter(&v));
		}
	}
	JUDGE("smi.delivered", smis, 2);
	end();
}

/* The SMI is on its way when L1 enters, a little more each round. */
TEST(smi, before_entry, .sdm = DELIVERY, .needs = NEEDS, .rules = "smi.delivered smi.entry")
{
	struct vcpu v;

	test_vcpu(&v, c, 0);
	begin();
	judge_about("an SMI before the entry", NULL);
	for (u32 n = 1; n <= ROUNDS; n++) {
		guest(&v, l2_registers, 0);
		send();
		for (volatile u32 k = 0; k < n - 1; k++)
			;
		judge_guest("smi.entry", &v, enter(&v));
		JUDGE("smi.delivered", arrives(n), true);
	}
	end();
}

static ulong l2_sends(ulong count)
{
	ulong wrong = 0;

	for (ulong n = 1; n <= count; n++) {
		send();
		wrong += !arrives((u32)n);
	}
	return wrong;
}

TEST(smi, in_l2, .sdm = RETURN, .needs = NEEDS, .rules = "smi.delivered smi.vmxe smi.guest")
{
	struct vcpu v;
	struct exit e;

	test_vcpu(&v, c, 0);
	guest(&v, l2_sends, ROUNDS);
	begin();
	judge_about("SMIs in L2", NULL);
	e = enter_once(&v);
	JUDGE("smi.guest", e.reason, EXIT_vmcall);
	JUDGE("smi.guest", v.g.ax, L2_RETURN);
	JUDGE("smi.delivered", v.g.dx, 0);
	JUDGE("smi.delivered", smis, ROUNDS);
	JUDGE("smi.vmxe", smm_cr4 & CR4_VMXE, 0);
	end();
}

static u32 sending;

static void other_sends(struct cpu *c, void *unused)
{
	(void)c;
	(void)unused;
	for (u32 n = 1; n <= ROUNDS; n++) {
		send();
		if (!arrives(n))
			break;
		/* Not in step with what CPU 0 does. */
		for (volatile u32 k = 0; k < n * 7; k++)
			;
	}
	__atomic_store_n(&sending, 0, __ATOMIC_RELEASE);
}

TEST(smi, from_other_cpu, .sdm = DELIVERY, .needs = NEEDS, .flags = TEST_TWO_CPUS, .rules = "smi.delivered smi.entry")
{
	struct vcpu v;

	test_vcpu(&v, c, 0);
	begin();
	judge_about("SMIs from another CPU", NULL);
	__atomic_store_n(&sending, 1, __ATOMIC_RELEASE);
	on_cpu(1, other_sends, NULL);
	do {
		guest(&v, l2_registers, 0);
		judge_guest("smi.entry", &v, enter(&v));
	} while (__atomic_load_n(&sending, __ATOMIC_ACQUIRE));
	join_cpu(1);
	JUDGE("smi.delivered", smis, ROUNDS);
	end();
}
