/* SPDX-License-Identifier: BSD-2-Clause */
/* The rules of a VM entry, in the SDM's order: one per sentence that can be broken on its own. */
#ifndef NEST_CHECK_RULES_H
#define NEST_CHECK_RULES_H

#include "core/base.h"

#define CHECK_RULES_CONTROLS(RULE) \
	RULE(pin_reserved)         \
	RULE(proc_reserved)        \
	RULE(proc2_reserved)       \
	RULE(cr3_target_count)     \
	RULE(io_bitmap_a)          \
	RULE(io_bitmap_b)          \
	RULE(msr_bitmap)           \
	RULE(virtual_apic_page)    \
	RULE(tpr_threshold)        \
	RULE(virtual_nmis)         \
	RULE(nmi_window)           \
	RULE(apic_access_page)     \
	RULE(without_tpr_shadow)   \
	RULE(x2apic_mode)          \
	RULE(interrupt_delivery)   \
	RULE(vpid_zero)            \
	RULE(eptp_type)            \
	RULE(eptp_walk)            \
	RULE(eptp_dirty)           \
	RULE(eptp_reserved)        \
	RULE(unrestricted_ept)     \
	RULE(tsc_multiplier)       \
	RULE(exit_reserved)        \
	RULE(exit_save_timer)      \
	RULE(exit_store_list)      \
	RULE(exit_load_list)       \
	RULE(entry_reserved)       \
	RULE(inject_type)          \
	RULE(inject_vector)        \
	RULE(inject_deliver_code)  \
	RULE(inject_reserved)      \
	RULE(inject_error_code)    \
	RULE(inject_length)        \
	RULE(entry_load_list)

#define CHECK_RULES_HOST(RULE)   \
	RULE(host_cr0)           \
	RULE(host_cr4)           \
	RULE(host_cet_wp)        \
	RULE(host_cr3)           \
	RULE(host_sysenter)      \
	RULE(host_perf_global)   \
	RULE(host_pat)           \
	RULE(host_efer_reserved) \
	RULE(host_efer_mode)     \
	RULE(host_selectors)     \
	RULE(host_cs_null)       \
	RULE(host_tr_null)       \
	RULE(host_ss_null)       \
	RULE(host_bases)         \
	RULE(size_no_intel64)    \
	RULE(size_l1_is_32)      \
	RULE(size_l1_is_64)      \
	RULE(size_pcide)         \
	RULE(size_rip_32)        \
	RULE(size_pae)           \
	RULE(size_rip_64)

#define CHECK_RULES_GUEST(RULE)   \
	RULE(guest_cr0)           \
	RULE(guest_pg_pe)         \
	RULE(guest_cr4)           \
	RULE(guest_cet_wp)        \
	RULE(guest_debugctl)      \
	RULE(guest_ia32e_pg)      \
	RULE(guest_ia32e_pae)     \
	RULE(guest_pcide)         \
	RULE(guest_cr3)           \
	RULE(guest_dr7)           \
	RULE(guest_sysenter)      \
	RULE(guest_perf_global)   \
	RULE(guest_pat)           \
	RULE(guest_efer_reserved) \
	RULE(guest_efer_lma)      \
	RULE(guest_efer_lme)      \
	RULE(tr_ti)               \
	RULE(ldtr_ti)             \
	RULE(ss_rpl)              \
	RULE(v86_base)            \
	RULE(base_canonical)      \
	RULE(ldtr_canonical)      \
	RULE(cs_base_high)        \
	RULE(data_base_high)      \
	RULE(v86_limit)           \
	RULE(v86_rights)          \
	RULE(cs_type)             \
	RULE(cs_system)           \
	RULE(cs_dpl_data)         \
	RULE(cs_dpl_equal)        \
	RULE(cs_dpl_conforming)   \
	RULE(cs_present)          \
	RULE(cs_reserved)         \
	RULE(cs_long_default)     \
	RULE(cs_granularity)      \
	RULE(ss_type)             \
	RULE(ss_system)           \
	RULE(ss_dpl_rpl)          \
	RULE(ss_dpl_zero)         \
	RULE(ss_present)          \
	RULE(ss_reserved)         \
	RULE(ss_granularity)      \
	RULE(data_accessed)       \
	RULE(data_readable)       \
	RULE(data_system)         \
	RULE(data_dpl)            \
	RULE(data_present)        \
	RULE(data_reserved)       \
	RULE(data_granularity)    \
	RULE(tr_type)             \
	RULE(tr_system)           \
	RULE(tr_present)          \
	RULE(tr_reserved)         \
	RULE(tr_granularity)      \
	RULE(tr_unusable)         \
	RULE(ldtr_type)           \
	RULE(ldtr_system)         \
	RULE(ldtr_present)        \
	RULE(ldtr_reserved)       \
	RULE(ldtr_granularity)    \
	RULE(table_base)          \
	RULE(table_limit)         \
	RULE(rip_32)              \
	RULE(rip_64)              \
	RULE(rflags_reserved)     \
	RULE(rflags_vm)           \
	RULE(rflags_if)           \
	RULE(activity_supported)  \
	RULE(activity_hlt_dpl)    \
	RULE(activity_blocking)   \
	RULE(activity_event)      \
	RULE(block_reserved)      \
	RULE(block_sti_mov_ss)    \
	RULE(block_sti_if)        \
	RULE(block_interrupt)     \
	RULE(block_nmi_mov_ss)    \
	RULE(block_smi)           \
	RULE(block_virtual_nmi)   \
	RULE(block_enclave)       \
	RULE(debug_reserved)      \
	RULE(debug_bs_set)        \
	RULE(debug_bs_clear)      \
	RULE(debug_rtm)           \
	RULE(link_aligned)        \
	RULE(link_width)

enum check_rule {
	RULE_none,
#define RULE(name) RULE_##name,
	CHECK_RULES_CONTROLS(RULE) CHECK_RULES_HOST(RULE) CHECK_RULES_GUEST(RULE)
#undef RULE
		RULE_COUNT
};

extern const char *const check_rule_name[RULE_COUNT]; /* "pin_reserved"; NULL for RULE_none */

#endif
