; SPDX-License-Identifier: BSD-2-Clause
; The way from a guest to C and back, VMREAD and VMWRITE that must succeed, and the NMI that arrives in L0.
%include "asm.inc"

extern exit_handle, entry_failed, vmcs_access_failed, nmi_in_l0

section .text
; --- VM exit and entry ---
; HOST_RSP is one word below the end of the CPU's block (struct cpu, xmhf-nest/cpu.h):
;
;   block's end -> one word of padding
;                  r15 ... ax             struct gregs, 16-byte aligned
;                  C's stack
;                  struct cpu             block's beginning
;
; exit_handle(struct gregs *) returns 0 to VMRESUME and 1 to VMLAUNCH the current VMCS.
%macro PUSH_GUEST 0
%ifdef AMD64
  push r15
  push r14
  push r13
  push r12
  push r11
  push r10
  push r9
  push r8
  push rdi
  push rsi
  push rbp
  push rbx
  push rdx
  push rcx
  push rax
%else
  push edi
  push esi
  push ebp
  push ebx
  push edx
  push ecx
  push eax
%endif
%endmacro

%macro CALL_WITH_GUEST 1        ; u32 f(struct gregs *), with struct gregs at RSP
%ifdef AMD64
  mov rdi, rsp
  call %1
%else
  mov eax, esp
  sub esp, 12
  push eax
  call %1
  add esp, 16
%endif
%endmacro

FN exit_entry
  COSTS exit
  PUSH_GUEST
  CALL_WITH_GUEST exit_handle
; With RSP at struct gregs: eax = 1 to launch.
enter_tail:
  test eax, eax                 ; flags survive the POPs
  pop RAX
  pop RCX
  pop RDX
  pop RBX
  pop RBP
  pop RSI
  pop RDI
%ifdef AMD64
  pop r8
  pop r9
  pop r10
  pop r11
  pop r12
  pop r13
  pop r14
  pop r15
%endif
  jnz .launch
  vmresume
  jmp .failed
.launch:
  vmlaunch
; VMfail: the guest's registers are untouched. Whose fault it is, C knows; if it comes back, somebody is to be entered.
.failed:
  PUSH_GUEST
  CALL_WITH_GUEST entry_failed
  jmp enter_tail

; void enter_first(struct gregs *g): leaves the caller's stack, launches the current VMCS with g's registers
FN enter_first
  ARG RAX, 0
  mov RSP, RAX
  mov eax, 1
  jmp enter_tail

; --- VMREAD and VMWRITE that can't fail but by a mistake in L0 ---
; ulong vmcs_get(u32 field)
FN vmcs_get
  COSTS vmread
%ifdef AMD64
  mov edi, edi
  vmread rax, rdi
%else
  mov edx, [esp + 4]
  vmread eax, edx
%endif
  jbe bad_access
  ret
; void vmcs_put(u32 field, ulong value)
FN vmcs_put
  COSTS vmwrite
%ifdef AMD64
  mov edi, edi
  vmwrite rdi, rsi
%else
  mov edx, [esp + 4]
  vmwrite edx, [esp + 8]
%endif
  jbe bad_access
  ret
bad_access:                     ; the field is in rdi or on the stack: the callee's argument
%ifdef AMD64
  call vmcs_access_failed
%else
  push edx
  call vmcs_access_failed
%endif

; void vmcs_put_list(const struct vmcs_slot *list, u32 count, const void *values)
; struct vmcs_slot { u16 field, offset; }: VMWRITE of the word at values + offset to the field, count times; count is even
; and not 0.
FN vmcs_put_list
%ifdef AMD64
.next:
%assign i 0
%rep 2
  movzx ecx, word [rdi + i]
  movzx eax, word [rdi + i + 2]
  COSTS vmwrite
  vmwrite rcx, [rdx + rax]
  jbe .bad
%assign i i + 4
%endrep
  add rdi, 8
  sub esi, 2
  jnz .next
  ret
.bad:
  mov edi, ecx
  call vmcs_access_failed
%else
  push ebx
  push esi
  mov esi, [esp + 12]
  mov ebx, [esp + 16]
  mov edx, [esp + 20]
.next:
%assign i 0
%rep 2
  movzx ecx, word [esi + i]
  movzx eax, word [esi + i + 2]
  COSTS vmwrite
  vmwrite ecx, [edx + eax]
  jbe .bad
%assign i i + 4
%endrep
  add esi, 8
  sub ebx, 2
  jnz .next
  pop esi
  pop ebx
  ret
.bad:
  push ecx
  call vmcs_access_failed
%endif

; void vmcs_get_list(const struct vmcs_slot *list, u32 count, void *values): VMREAD to the same places, at least one
FN vmcs_get_list
%ifdef AMD64
.next:
  movzx ecx, word [rdi]
  movzx eax, word [rdi + 2]
  COSTS vmread
  vmread [rdx + rax], rcx
  jbe .bad
  add rdi, 4
  dec esi
  jnz .next
  ret
.bad:
  mov edi, ecx
  call vmcs_access_failed
%else
  push ebx
  push esi
  mov esi, [esp + 12]
  mov ebx, [esp + 16]
  mov edx, [esp + 20]
.next:
  movzx ecx, word [esi]
  movzx eax, word [esi + 2]
  COSTS vmread
  vmread [edx + eax], ecx
  jbe .bad
  add esi, 4
  dec ebx
  jnz .next
  pop esi
  pop ebx
  ret
.bad:
  push ecx
  call vmcs_access_failed
%endif

; u32 vmcs_load(u64 *pa): VMPTRLD of a VMCS of ours; panics if it fails
FN vmcs_load
  COSTS vmptrld
  ARG RAX, 0
  vmptrld [RAX]
  jbe .bad
  ret
.bad:
%ifdef AMD64
  xor edi, edi
%else
  push dword 0
%endif
  call vmcs_access_failed

; --- NMI while L0 runs ---
; It's the guest's. L0 makes a note and returns without IRET, so that NMIs stay blocked: what L0 then sends to itself
; (xmhf-nest/nmi.c) stays pending over the VM entry and is delivered by the CPU's own rules.
; No stack switch: the frame lies below the interrupted RSP. L0 has no red zone.
FN nmi_entry
%ifdef AMD64
  push rax
  push rcx
  push rdx
  push rsi
  push rdi
  push r8
  push r9
  push r10
  push r11
  cld
  mov rdi, rsp
  push rbp
  mov rbp, rsp
  and rsp, ~15
  call nmi_in_l0
  mov rsp, rbp
  pop rbp
  pop r11
  pop r10
  pop r9
  pop r8
  pop rdi
  pop rsi
  pop rdx
  ; rcx, rax, rip, cs, flags, rsp, ss: leave flags and rip right below the interrupted stack pointer
  mov rax, [rsp + 40]           ; rsp
  mov rcx, [rsp + 32]           ; flags
  push qword [rsp + 16]         ; rip
  push rcx
  mov rcx, [rsp + 16]           ; rcx
  push qword [rsp + 24]         ; rax
  ; on the stack now: rax, flags, rip; the slots up there may be overwritten from here on
  push rcx
  mov rcx, [rsp + 24]
  mov [rax - 8], rcx            ; rip
  mov rcx, [rsp + 16]
  mov [rax - 16], rcx           ; flags
  mov rcx, [rsp + 8]
  mov [rax - 24], rcx           ; rax
  pop rcx
  lea rsp, [rax - 24]
  pop rax
  popfq
  ret
%else
  push eax
  push ecx
  push edx
  cld
  push ebp
  mov ebp, esp
  and esp, ~15
  sub esp, 12
  push ebp
  call nmi_in_l0
  mov esp, ebp
  pop ebp
  pop edx
  ; ecx, eax, eip, cs, flags: no stack pointer here, the frame ends at the interrupted one
  mov ecx, [esp + 8]            ; eip
  mov eax, [esp + 16]           ; flags
  mov [esp + 16], ecx
  mov [esp + 12], eax
  pop ecx
  pop eax
  add esp, 4
  popfd
  ret
%endif

; --- Instructions that only L0 needs ---
; u32 xsetbv_raw(u32 index, u32 low, u32 high): 0, or 3 if it faulted
FN xsetbv_raw
  ARG RCX, 0
  ARG RAX, 1
  ARG RDX, 2
  EX .fault
  xsetbv
  xor eax, eax
  ret
.fault:
  mov eax, 3
  ret
FN write_back_caches
  wbinvd
  ret
FN raise_breakpoint
  int3
  ret

; void copy_words(void *to, const void *from, ulong words)
FN copy_words
%ifdef AMD64
  mov rcx, rdx
  rep movsq
%else
  push esi
  push edi
  mov edi, [esp + 12]
  mov esi, [esp + 16]
  mov ecx, [esp + 20]
  rep movsd
  pop edi
  pop esi
%endif
  ret
