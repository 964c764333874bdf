; SPDX-License-Identifier: BSD-2-Clause
; One function per instruction that C can't say. Declared in lib/arch/cpu.h.
%include "asm.inc"

section .text

; --- Ports ---
FN out8
  ARG RDX, 0
  ARG RAX, 1
  out dx, al
  ret
FN out16
  ARG RDX, 0
  ARG RAX, 1
  out dx, ax
  ret
FN out32
  ARG RDX, 0
  ARG RAX, 1
  out dx, eax
  ret
FN in8
  ARG RDX, 0
  xor eax, eax
  in al, dx
  ret
FN in16
  ARG RDX, 0
  xor eax, eax
  in ax, dx
  ret
FN in32
  ARG RDX, 0
  in eax, dx
  ret

; void in16_rep(u16 port, void *buf, u32 count): REP INSW
FN in16_rep
%ifdef AMD64
  mov ecx, edx
  mov edx, edi
  mov rdi, rsi
  rep insw
%else
  push edi
  mov edx, [esp + 8]
  mov edi, [esp + 12]
  mov ecx, [esp + 16]
  rep insw
  pop edi
%endif
  ret

; --- MSRs and time ---
; u32 msr_read_raw(u32 msr, u64 *value), u32 msr_write_raw(u32 msr, u32 low, u32 high): 0, or 3 if it faulted
FN msr_read_raw
  COSTS msr
%ifdef AMD64
  mov ecx, edi
  EX fault_3
  rdmsr
  mov [rsi], eax
  mov [rsi + 4], edx
  xor eax, eax
  ret
%else
  mov ecx, [esp + 4]
  EX fault_3
  rdmsr
  mov ecx, [esp + 8]
  mov [ecx], eax
  mov [ecx + 4], edx
  xor eax, eax
  ret
%endif
FN msr_write_raw
  COSTS msr
  ARG RCX, 0
  ARG RAX, 1
  ARG RDX, 2
  EX fault_3
  wrmsr
  xor eax, eax
  ret
fault_3:
  mov eax, 3
  ret

FN read_tsc
  rdtsc
%ifdef AMD64
  shl rdx, 32
  or rax, rdx
%endif
  ret

; void cpuid_raw(u32 leaf, u32 subleaf, u32 out[4])
FN cpuid_raw
  push RBX
%ifdef AMD64
  mov eax, edi
  mov ecx, esi
  mov rsi, rdx
  cpuid
  mov [rsi], eax
  mov [rsi + 4], ebx
  mov [rsi + 8], ecx
  mov [rsi + 12], edx
%else
  push esi
  mov eax, [esp + 12]
  mov ecx, [esp + 16]
  mov esi, [esp + 20]
  cpuid
  mov [esi], eax
  mov [esi + 4], ebx
  mov [esi + 8], ecx
  mov [esi + 12], edx
  pop esi
%endif
  pop RBX
  ret

; --- Control registers and tables ---
%macro RW_CR 1
FN read_cr%1
  mov RAX, cr%1
  ret
FN write_cr%1
  ARG RAX, 0
  mov cr%1, RAX
  ret
%endmacro
RW_CR 0
RW_CR 2
RW_CR 3
RW_CR 4

; ulong read_dr0(void) and so on, void write_dr0(ulong value)
%macro DR 1
FN read_dr%1
  mov RAX, dr%1
  ret
FN write_dr%1
  ARG RAX, 0
  mov dr%1, RAX
  ret
%endmacro
DR 0
DR 1
DR 2
DR 3
DR 6
DR 7
FN store_gdt
  ARG RAX, 0
  sgdt [RAX]
  ret
FN store_idt
  ARG RAX, 0
  sidt [RAX]
  ret

; u32 write_cr0_raw(ulong value), write_cr4_raw: 0, or 3 if it faulted
FN write_cr0_raw
  ARG RAX, 0
  EX fault_3
  mov cr0, RAX
  xor eax, eax
  ret
FN write_cr4_raw
  ARG RAX, 0
  EX fault_3
  mov cr4, RAX
  xor eax, eax
  ret

FN load_gdt
  ARG RAX, 0
  lgdt [RAX]
  mov ecx, SEL_DATA
  mov ds, ecx
  mov es, ecx
  mov ss, ecx
  mov fs, ecx
  mov gs, ecx
%ifdef AMD64
  push SEL_CODE
  push .reload
  retfq
%else
  jmp SEL_CODE:.reload
%endif
.reload:
  ret
FN load_idt
  ARG RAX, 0
  lidt [RAX]
  ret
FN load_tr
  ARG RAX, 0
  ltr ax
  ret
FN store_tr
  xor eax, eax
  str ax
  ret
FN read_flags
%ifdef AMD64
  pushfq
%else
  pushfd
%endif
  pop RAX
  ret
FN read_sp
  mov RAX, RSP
  ret
FN invlpg
  ARG RAX, 0
  invlpg [RAX]
  ret

; --- Interrupt flag, waiting ---
FN irq_on
  sti
  ret
FN irq_off
  cli
  ret
; Opens the window for one instruction after STI's shadow: what is pending is taken.
FN irq_window
  sti
  nop
  nop
  cli
  ret
FN halt_irq_on
  sti
  hlt
  ret
FN halt
  hlt
  ret
FN cpu_pause
  pause
  ret
