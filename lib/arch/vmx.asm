; SPDX-License-Identifier: BSD-2-Clause
; VMX instructions. Each *_raw function returns 0 (VMsucceed), 1 (VMfailInvalid), 2 (VMfailValid) or
; 3 (fault; vector and error code are in struct cpu). SDM: "Conventions" of the VMX instruction reference.
; Declared in lib/arch/vmx.h, which turns the number into a struct outcome.
%include "asm.inc"

section .text

; Turns CF and ZF into 1 and 2.
%macro VMX_RESULT 0
  setz al
  setc cl
  movzx eax, al
  movzx ecx, cl
  lea eax, [ecx + 2 * eax]
  ret
%endmacro

%macro VMX_MEM 2                ; name, instruction with one memory operand
FN %1
  COSTS vmptrld
  ARG RAX, 0
  EX vmx_fault
  %2 [RAX]
  VMX_RESULT
%endmacro
VMX_MEM vmx_on_raw, vmxon
VMX_MEM vmx_clear_raw, vmclear
VMX_MEM vmx_ptrld_raw, vmptrld
VMX_MEM vmx_ptrst_raw, vmptrst

FN vmx_off_raw
  EX vmx_fault
  vmxoff
  VMX_RESULT

; vmx_launch_raw(void): for error cases only, with no VMCS or one that must be refused
FN vmx_launch_raw
  EX vmx_fault
  vmlaunch
  VMX_RESULT
FN vmx_resume_raw
  EX vmx_fault
  vmresume
  VMX_RESULT
; VMCALL in VMX root operation
FN vmx_call_raw
  EX vmx_fault
  vmcall
  VMX_RESULT

; u32 vmx_func_raw(void): EPTP switching, to entry 0
FN vmx_func_raw
  xor eax, eax
  xor ecx, ecx
  EX vmx_fault
  vmfunc
  xor eax, eax
  ret

; u32 vmcall_raw(u32 ax, u32 bx, u32 cx, u32 dx): a hypercall; eax afterwards, or what it was if VMCALL faulted
FN vmcall_raw
  push RBX
%ifdef AMD64
  mov eax, edi
  mov ebx, esi
  xchg ecx, edx                 ; arguments 2 and 3 come the other way round
%else
  mov eax, [esp + 8]
  mov ebx, [esp + 12]
  mov ecx, [esp + 16]
  mov edx, [esp + 20]
%endif
  EX .done
  vmcall
.done:
  pop RBX
  ret

; vmx_read_raw(ulong field, ulong *value)
FN vmx_read_raw
%ifdef AMD64
  mov rdx, rsi
  EX vmx_fault
  vmread rax, rdi
  jbe .failed
  mov [rdx], rax
%else
  mov edx, [esp + 4]
  EX vmx_fault
  vmread eax, edx
  jbe .failed
  mov edx, [esp + 8]
  mov [edx], eax
%endif
  xor eax, eax
  ret
.failed:
  VMX_RESULT

; vmx_write_raw(ulong field, ulong value)
FN vmx_write_raw
%ifdef AMD64
  EX vmx_fault
  vmwrite rdi, rsi
%else
  mov edx, [esp + 4]
  EX vmx_fault
  vmwrite edx, [esp + 8]
%endif
  VMX_RESULT

; With the memory operand that the register forms above don't have:
; vmx_read_mem_raw(ulong field, ulong *to), vmx_write_mem_raw(ulong field, const ulong *from)
%macro VMX_FIELD_MEM 0
%ifdef AMD64
  mov rdx, rsi
  mov rax, rdi
%else
  mov eax, [esp + 4]
  mov edx, [esp + 8]
%endif
  EX vmx_fault
%endmacro
FN vmx_read_mem_raw
  VMX_FIELD_MEM
  vmread [RDX], RAX
  VMX_RESULT
FN vmx_write_mem_raw
  VMX_FIELD_MEM
  vmwrite RAX, [RDX]
  VMX_RESULT

; VMLAUNCH and VMRESUME right behind a MOV to SS
FN vmx_launch_mov_ss_raw
  mov eax, ss
  EX vmx_fault
  mov ss, eax
  EX vmx_fault
  vmlaunch
  VMX_RESULT
FN vmx_resume_mov_ss_raw
  mov eax, ss
  EX vmx_fault
  mov ss, eax
  EX vmx_fault
  vmresume
  VMX_RESULT

; ulong vmx_ptrld_flags(const u64 *pa, ulong flags): RFLAGS after a VMPTRLD that started with `flags`
FN vmx_ptrld_flags
  ARG RAX, 0
  ARG RCX, 1
  push RCX
%ifdef AMD64
  popfq
  vmptrld [rax]
  pushfq
%else
  popfd
  vmptrld [eax]
  pushfd
%endif
  pop RAX
  push 2
%ifdef AMD64
  popfq
%else
  popfd
%endif
  ret

%macro VMX_INV 2                ; name, instruction: (ulong type, const void *descriptor)
FN %1
  COSTS invalidate
%ifdef AMD64
  EX vmx_fault
  %2 rdi, [rsi]
%else
  mov edx, [esp + 4]
  mov eax, [esp + 8]
  EX vmx_fault
  %2 edx, [eax]
%endif
  VMX_RESULT
%endmacro
VMX_INV vmx_invept_raw, invept
VMX_INV vmx_invvpid_raw, invvpid

vmx_fault:
  mov eax, 3
  ret

; --- Entry and exit ---
; u32 vmx_enter_raw(struct gregs *g, u32 resume)
; Loads L2's general registers from g, enters, and stores them back at the exit.
;
;  L1 stack during L2:   HOST_RSP -> g
;                                    callee-saved registers
;                                    return address
; Interrupts must be off. Clobbers nothing that C doesn't expect.
%define VMCS_HOST_RSP 0x6c14

%ifdef AMD64
FN vmx_enter_raw
  PUSH_CALLEE
  push rdi
  mov eax, VMCS_HOST_RSP
  EX enter_fault
  vmwrite rax, rsp
  jbe enter_failed
  test esi, esi                 ; flags survive the MOVs
  mov rcx, [rdi + 8]
  mov rdx, [rdi + 16]
  mov rbx, [rdi + 24]
  mov rbp, [rdi + 32]
  mov rsi, [rdi + 40]
  mov rax, [rdi + 0]
  mov r8, [rdi + 56]
  mov r9, [rdi + 64]
  mov r10, [rdi + 72]
  mov r11, [rdi + 80]
  mov r12, [rdi + 88]
  mov r13, [rdi + 96]
  mov r14, [rdi + 104]
  mov r15, [rdi + 112]
  mov rdi, [rdi + 48]
  jnz .resume
  EX enter_fault
  vmlaunch
  jmp enter_failed
.resume:
  EX enter_fault
  vmresume
  jmp enter_failed

FN vmx_exit_entry
  push rax
  mov rax, [rsp + 8]
  pop qword [rax + 0]
  mov [rax + 8], rcx
  mov [rax + 16], rdx
  mov [rax + 24], rbx
  mov [rax + 32], rbp
  mov [rax + 40], rsi
  mov [rax + 48], rdi
  mov [rax + 56], r8
  mov [rax + 64], r9
  mov [rax + 72], r10
  mov [rax + 80], r11
  mov [rax + 88], r12
  mov [rax + 96], r13
  mov [rax + 104], r14
  mov [rax + 112], r15
  pop rax
  POP_CALLEE
  xor eax, eax
  ret
%else
FN vmx_enter_raw
  mov ecx, [esp + 4]
  mov edx, [esp + 8]
  PUSH_CALLEE
  push ecx
  mov eax, VMCS_HOST_RSP
  EX enter_fault
  vmwrite eax, esp
  jbe enter_failed
  test edx, edx
  mov edi, ecx
  mov ecx, [edi + 4]
  mov edx, [edi + 8]
  mov ebx, [edi + 12]
  mov ebp, [edi + 16]
  mov esi, [edi + 20]
  mov eax, [edi + 0]
  mov edi, [edi + 24]
  jnz .resume
  EX enter_fault
  vmlaunch
  jmp enter_failed
.resume:
  EX enter_fault
  vmresume
  jmp enter_failed

FN vmx_exit_entry
  push eax
  mov eax, [esp + 4]
  pop dword [eax + 0]
  mov [eax + 4], ecx
  mov [eax + 8], edx
  mov [eax + 12], ebx
  mov [eax + 16], ebp
  mov [eax + 20], esi
  mov [eax + 24], edi
  pop eax
  POP_CALLEE
  xor eax, eax
  ret
%endif

enter_failed:                   ; RSP is where HOST_RSP is
  setz al
  setc cl
  movzx eax, al
  movzx ecx, cl
  lea eax, [ecx + 2 * eax]
  pop RCX
  POP_CALLEE
  ret
enter_fault:
  mov eax, 3
  pop RCX
  POP_CALLEE
  ret

; --- Measuring: L1's part of an exit without what C needs around it ---
%define VMCS_HOST_RIP       0x6c16
%define VMCS_GUEST_RIP      0x681e
%define VMCS_EXIT_REASON    0x4402
%define VMCS_QUALIFICATION  0x6400
%define VMCS_GUEST_PHYSICAL 0x2400
%define EXIT_EPT_VIOLATION  48
%define TRIP_FIELDS         1   ; the same numbers stand in lib/arch/vmx.h
%define TRIP_NONE           2

; u32 vmx_trips_raw(u32 *ticks, u32 count, u32 how, u32 cx)
; Resumes an L2 that exits at its first instruction for ever and changes no register, so L1 needs to save none.
; RDTSC stands behind a jump: Bochs brings its time up to date where a run of instructions without one ends.
FN vmx_trips_raw
%ifdef AMD64
  PUSH_CALLEE
  mov ebp, edx                  ; how; rdi = ticks, esi = count, ecx = what L2 has in ECX
%else
  mov eax, [esp + 4]
  mov edx, [esp + 8]
  mov ecx, [esp + 12]
  PUSH_CALLEE
  mov edi, eax
  mov esi, edx
  mov ebp, ecx
  mov ecx, [esp + 16 + 16]
%endif
  mov eax, VMCS_HOST_RSP
  EX .failed
  vmwrite RAX, RSP
  mov eax, VMCS_HOST_RIP
  mov RDX, .exit
  EX .failed
  vmwrite RAX, RDX
.next:
  jmp .begin
.begin:
  rdtsc
  mov ebx, eax
  test ebp, TRIP_NONE
  jnz .exit
  EX .failed
  vmresume
.failed:
  mov eax, 3
  jmp .out
.exit:
  test ebp, TRIP_FIELDS
  jz .taken
  mov eax, VMCS_EXIT_REASON
  vmread RDX, RAX
  mov eax, VMCS_QUALIFICATION
  vmread RDX, RAX
  mov eax, VMCS_GUEST_RIP
  vmread RDX, RAX
  vmwrite RAX, RDX
.taken:
  jmp .end
.end:
  rdtsc
  sub eax, ebx
  mov [RDI], eax
  add RDI, 4
  dec esi
  jnz .next
  xor eax, eax
.out:
  POP_CALLEE
  ret

; A HOST_RIP: fills the EPT violations of L2 from vmx_fill_table and vmx_fill_entry; what else exits is C's.
FN vmx_exit_fill
  push RAX
  push RDX
  mov eax, VMCS_EXIT_REASON
  vmread RDX, RAX
  cmp edx, EXIT_EPT_VIOLATION
  jne .other
  mov eax, VMCS_GUEST_PHYSICAL
  vmread RDX, RAX
  shr edx, 12
  and edx, 511
  mov RAX, [vmx_fill_table]
  lea RDX, [RAX + 8 * RDX]
  mov RAX, [vmx_fill_entry]
  mov [RDX], RAX
  pop RDX
  pop RAX
  EX .again
  vmresume
.again:                         ; an exit of the same kind that nothing can be made of: C tells of it
  jmp vmx_exit_entry
.other:
  pop RDX
  pop RAX
  jmp vmx_exit_entry

section .bss
align 8
global vmx_fill_table, vmx_fill_entry
vmx_fill_table: resb WORD_SIZE
vmx_fill_entry: resb WORD_SIZE
