// SPDX-License-Identifier: BSD-2-Clause
/* The decoder against an assembler's bytes, against an encoder of its own, and with random bytes. */
#include "unit/unit.h"
#include "xmhf-nest/decode.h"

struct decode_case {
	const char *text;
	const char *bytes;
	u32 count;
	u8 mode, kind, op, size, reg_size, reg;
	const char *flags; /* H high_byte, F reg_first, S sign, L lock, I has_imm */
	u64 imm;
};
#define BYTES(s) s, sizeof(s) - 1

/* NASM's output for the text. */
static const struct decode_case cases[] = {
	{ "mov eax,[ebx]", BYTES("\x8b\x03"), DECODE_32, DECODE_LOAD, DECODE_MOV, 4, 4, 0, "F", 0 },
	{ "mov [ebx],eax", BYTES("\x89\x03"), DECODE_32, DECODE_STORE, DECODE_MOV, 4, 4, 0, "", 0 },
	{ "mov [0xfee00300],ecx", BYTES("\x89\x0d\x00\x03\xe0\xfe"), DECODE_32, DECODE_STORE, DECODE_MOV, 4, 4, 1, "",
	  0 },
	{ "mov edi,[ds:0xfee00020]", BYTES("\x3e\x8b\x3d\x20\x00\xe0\xfe"), DECODE_32, DECODE_LOAD, DECODE_MOV, 4, 4, 7,
	  "F", 0 },
	{ "mov eax,[0xfee00020]", BYTES("\xa1\x20\x00\xe0\xfe"), DECODE_32, DECODE_LOAD, DECODE_MOV, 4, 4, 0, "F", 0 },
	{ "mov [0xfee000b0],eax", BYTES("\xa3\xb0\x00\xe0\xfe"), DECODE_32, DECODE_STORE, DECODE_MOV, 4, 4, 0, "", 0 },
	{ "mov [0xfee000b0],al", BYTES("\xa2\xb0\x00\xe0\xfe"), DECODE_32, DECODE_STORE, DECODE_MOV, 1, 1, 0, "", 0 },
	{ "mov al,[0xfee000b0]", BYTES("\xa0\xb0\x00\xe0\xfe"), DECODE_32, DECODE_LOAD, DECODE_MOV, 1, 1, 0, "F", 0 },
	{ "mov ax,[0xfee000b0]", BYTES("\x66\xa1\xb0\x00\xe0\xfe"), DECODE_32, DECODE_LOAD, DECODE_MOV, 2, 2, 0, "F",
	  0 },
	{ "a16 mov eax,[word 0x1234]", BYTES("\x67\xa1\x34\x12"), DECODE_32, DECODE_LOAD, DECODE_MOV, 4, 4, 0, "F", 0 },
	{ "mov dword [0xfee000b0],0", BYTES("\xc7\x05\xb0\x00\xe0\xfe\x00\x00\x00\x00"), DECODE_32, DECODE_STORE,
	  DECODE_MOV, 4, 4, 0, "I", 0x0 },
	{ "mov dword [ebx+esi*4-8],0x80001234", BYTES("\xc7\x44\xb3\xf8\x34\x12\x00\x80"), DECODE_32, DECODE_STORE,
	  DECODE_MOV, 4, 4, 0, "I", 0xffffffff80001234ull },
	{ "mov word [ebp+0x12345678],0x8765", BYTES("\x66\xc7\x85\x78\x56\x34\x12\x65\x87"), DECODE_32, DECODE_STORE,
	  DECODE_MOV, 2, 2, 0, "I", 0xffffffffffff8765ull },
	{ "mov byte [esp],0xfe", BYTES("\xc6\x04\x24\xfe"), DECODE_32, DECODE_STORE, DECODE_MOV, 1, 1, 0, "I",
	  0xfffffffffffffffeull },
	{ "mov ah,[esi]", BYTES("\x8a\x26"), DECODE_32, DECODE_LOAD, DECODE_MOV, 1, 1, 0, "HF", 0 },
	{ "mov [esi+1],bh", BYTES("\x88\x7e\x01"), DECODE_32, DECODE_STORE, DECODE_MOV, 1, 1, 3, "H", 0 },
	{ "mov [esi+1],dl", BYTES("\x88\x56\x01"), DECODE_32, DECODE_STORE, DECODE_MOV, 1, 1, 2, "", 0 },
	{ "mov bx,[bp+si]", BYTES("\x66\x67\x8b\x1a"), DECODE_32, DECODE_LOAD, DECODE_MOV, 2, 2, 3, "F", 0 },
	{ "mov [bx+di+5],bx", BYTES("\x66\x67\x89\x59\x05"), DECODE_32, DECODE_STORE, DECODE_MOV, 2, 2, 3, "", 0 },
	{ "mov edx,[bp+0x1234]", BYTES("\x67\x8b\x96\x34\x12"), DECODE_32, DECODE_LOAD, DECODE_MOV, 4, 4, 2, "F", 0 },
	{ "movzx eax,byte [edi]", BYTES("\x0f\xb6\x07"), DECODE_32, DECODE_LOAD, DECODE_MOV, 1, 4, 0, "F", 0 },
	{ "movzx edx,word [edi+4]", BYTES("\x0f\xb7\x57\x04"), DECODE_32, DECODE_LOAD, DECODE_MOV, 2, 4, 2, "F", 0 },
	{ "movzx si,byte [edi]", BYTES("\x66\x0f\xb6\x37"), DECODE_32, DECODE_LOAD, DECODE_MOV, 1, 2, 6, "F", 0 },
	{ "movsx eax,byte [edi]", BYTES("\x0f\xbe\x07"), DECODE_32, DECODE_LOAD, DECODE_MOV, 1, 4, 0, "FS", 0 },
	{ "movsx ebp,word [es:edi]", BYTES("\x26\x0f\xbf\x2f"), DECODE_32, DECODE_LOAD, DECODE_MOV, 2, 4, 5, "FS", 0 },
	{ "add [eax],ecx", BYTES("\x01\x08"), DECODE_32, DECODE_RMW, DECODE_ADD, 4, 4, 1, "", 0 },
	{ "lock or [eax],ecx", BYTES("\xf0\x09\x08"), DECODE_32, DECODE_RMW, DECODE_OR, 4, 4, 1, "L", 0 },
	{ "adc [fs:eax],cx", BYTES("\x64\x66\x11\x08"), DECODE_32, DECODE_RMW, DECODE_ADC, 2, 2, 1, "", 0 },
	{ "lock sbb [eax],ch", BYTES("\xf0\x18\x28"), DECODE_32, DECODE_RMW, DECODE_SBB, 1, 1, 1, "HL", 0 },
	{ "and ecx,[eax]", BYTES("\x23\x08"), DECODE_32, DECODE_LOAD, DECODE_AND, 4, 4, 1, "F", 0 },
	{ "sub cx,[eax]", BYTES("\x66\x2b\x08"), DECODE_32, DECODE_LOAD, DECODE_SUB, 2, 2, 1, "F", 0 },
	{ "xor cl,[eax]", BYTES("\x32\x08"), DECODE_32, DECODE_LOAD, DECODE_XOR, 1, 1, 1, "F", 0 },
	{ "cmp ecx,[eax]", BYTES("\x3b\x08"), DECODE_32, DECODE_LOAD, DECODE_CMP, 4, 4, 1, "F", 0 },
	{ "cmp [eax],ecx", BYTES("\x39\x08"), DECODE_32, DECODE_LOAD, DECODE_CMP, 4, 4, 1, "", 0 },
	{ "cmp [eax],dh", BYTES("\x38\x30"), DECODE_32, DECODE_LOAD, DECODE_CMP, 1, 1, 2, "H", 0 },
	{ "test [eax],edx", BYTES("\x85\x10"), DECODE_32, DECODE_LOAD, DECODE_TEST, 4, 4, 2, "", 0 },
	{ "test [eax],dl", BYTES("\x84\x10"), DECODE_32, DECODE_LOAD, DECODE_TEST, 1, 1, 2, "", 0 },
	{ "test dword [eax],0x1000", BYTES("\xf7\x00\x00\x10\x00\x00"), DECODE_32, DECODE_LOAD, DECODE_TEST, 4, 4, 0,
	  "I", 0x1000 },
	{ "test byte [eax+2],0x80", BYTES("\xf6\x40\x02\x80"), DECODE_32, DECODE_LOAD, DECODE_TEST, 1, 1, 0, "I",
	  0xffffffffffffff80ull },
	{ "test word [eax+2],0x8000", BYTES("\x66\xf7\x40\x02\x00\x80"), DECODE_32, DECODE_LOAD, DECODE_TEST, 2, 2, 0,
	  "I", 0xffffffffffff8000ull },
	{ "and dword [eax],0xfffffeff", BYTES("\x81\x20\xff\xfe\xff\xff"), DECODE_32, DECODE_RMW, DECODE_AND, 4, 4, 0,
	  "I", 0xfffffffffffffeffull },
	{ "or dword [eax],byte 0x10", BYTES("\x83\x08\x10"), DECODE_32, DECODE_RMW, DECODE_OR, 4, 4, 0, "I", 0x10 },
	{ "sub dword [eax+ecx*2+0x100],byte -3", BYTES("\x83\xac\x48\x00\x01\x00\x00\xfd"), DECODE_32, DECODE_RMW,
	  DECODE_SUB, 4, 4, 0, "I", 0xfffffffffffffffdull },
	{ "lock xor byte [eax],0x55", BYTES("\xf0\x80\x30\x55"), DECODE_32, DECODE_RMW, DECODE_XOR, 1, 1, 0, "LI",
	  0x55 },
	{ "cmp dword [0xfee00030],byte 5", BYTES("\x83\x3d\x30\x00\xe0\xfe\x05"), DECODE_32, DECODE_LOAD, DECODE_CMP, 4,
	  4, 0, "I", 0x5 },
	{ "cmp word [0xfee00030],0x500", BYTES("\x66\x81\x3d\x30\x00\xe0\xfe\x00\x05"), DECODE_32, DECODE_LOAD,
	  DECODE_CMP, 2, 2, 0, "I", 0x500 },
	{ "adc word [eax],byte -1", BYTES("\x66\x83\x10\xff"), DECODE_32, DECODE_RMW, DECODE_ADC, 2, 2, 0, "I",
	  0xffffffffffffffffull },
	{ "xchg [eax],ebx", BYTES("\x87\x18"), DECODE_32, DECODE_RMW, DECODE_XCHG, 4, 4, 3, "", 0 },
	{ "lock xchg [eax],bl", BYTES("\xf0\x86\x18"), DECODE_32, DECODE_RMW, DECODE_XCHG, 1, 1, 3, "L", 0 },
	{ "xchg [eax],bx", BYTES("\x66\x87\x18"), DECODE_32, DECODE_RMW, DECODE_XCHG, 2, 2, 3, "", 0 },
	{ "db f2,89,0b", BYTES("\xf2\x89\x0b"), DECODE_32, DECODE_STORE, DECODE_MOV, 4, 4, 1, "", 0 },
	{ "db f3,2e,66,89,0b", BYTES("\xf3\x2e\x66\x89\x0b"), DECODE_32, DECODE_STORE, DECODE_MOV, 2, 2, 1, "", 0 },
	{ "mov eax,[ebx]", BYTES("\x66\x67\x8b\x03"), DECODE_16, DECODE_LOAD, DECODE_MOV, 4, 4, 0, "F", 0 },
	{ "mov ax,[bx]", BYTES("\x8b\x07"), DECODE_16, DECODE_LOAD, DECODE_MOV, 2, 2, 0, "F", 0 },
	{ "mov [0x300],ax", BYTES("\xa3\x00\x03"), DECODE_16, DECODE_STORE, DECODE_MOV, 2, 2, 0, "", 0 },
	{ "mov [0x300],eax", BYTES("\x66\xa3\x00\x03"), DECODE_16, DECODE_STORE, DECODE_MOV, 4, 4, 0, "", 0 },
	{ "mov dword [fs:0x300],0x12345678", BYTES("\x64\x66\xc7\x06\x00\x03\x78\x56\x34\x12"), DECODE_16, DECODE_STORE,
	  DECODE_MOV, 4, 4, 0, "I", 0x12345678 },
	{ "mov word [bp],0x1234", BYTES("\xc7\x46\x00\x34\x12"), DECODE_16, DECODE_STORE, DECODE_MOV, 2, 2, 0, "I",
	  0x1234 },
	{ "mov [es:bx+si-4],cl", BYTES("\x26\x88\x48\xfc"), DECODE_16, DECODE_STORE, DECODE_MOV, 1, 1, 1, "", 0 },
	{ "mov [bp+di+0x400],edx", BYTES("\x66\x89\x93\x00\x04"), DECODE_16, DECODE_STORE, DECODE_MOV, 4, 4, 2, "", 0 },
	{ "mov ecx,[esp+4]", BYTES("\x66\x67\x8b\x4c\x24\x04"), DECODE_16, DECODE_LOAD, DECODE_MOV, 4, 4, 1, "F", 0 },
	{ "mov ecx,[dword 0xfee00300]", BYTES("\x66\x67\x8b\x0d\x00\x03\xe0\xfe"), DECODE_16, DECODE_LOAD, DECODE_MOV,
	  4, 4, 1, "F", 0 },
	{ "mov al,[dword 0xfee00300]", BYTES("\x67\xa0\x00\x03\xe0\xfe"), DECODE_16, DECODE_LOAD, DECODE_MOV, 1, 1, 0,
	  "F", 0 },
	{ "add dword [si],0x11223344", BYTES("\x66\x81\x04\x44\x33\x22\x11"), DECODE_16, DECODE_RMW, DECODE_ADD, 4, 4,
	  0, "I", 0x11223344 },
	{ "movzx eax,word [di]", BYTES("\x66\x0f\xb7\x05"), DECODE_16, DECODE_LOAD, DECODE_MOV, 2, 4, 0, "F", 0 },
	{ "mov eax,[rbx]", BYTES("\x8b\x03"), DECODE_64, DECODE_LOAD, DECODE_MOV, 4, 4, 0, "F", 0 },
	{ "mov r9d,[rbx]", BYTES("\x44\x8b\x0b"), DECODE_64, DECODE_LOAD, DECODE_MOV, 4, 4, 9, "F", 0 },
	{ "mov [r13],r15d", BYTES("\x45\x89\x7d\x00"), DECODE_64, DECODE_STORE, DECODE_MOV, 4, 4, 15, "", 0 },
	{ "mov [r13+r12*8+0x7f],r15", BYTES("\x4f\x89\x7c\xe5\x7f"), DECODE_64, DECODE_STORE, DECODE_MOV, 8, 8, 15, "",
	  0 },
	{ "mov [r12],edi", BYTES("\x41\x89\x3c\x24"), DECODE_64, DECODE_STORE, DECODE_MOV, 4, 4, 7, "", 0 },
	{ "mov [rel $+0x1000],esi", BYTES("\x89\x35\xfa\x0f\x00\x00"), DECODE_64, DECODE_STORE, DECODE_MOV, 4, 4, 6, "",
	  0 },
	{ "mov [abs 0xfee000b0],esi", BYTES("\x89\x34\x25\xb0\x00\xe0\xfe"), DECODE_64, DECODE_STORE, DECODE_MOV, 4, 4,
	  6, "", 0 },
	{ "mov [ebx+4],esi", BYTES("\x67\x89\x73\x04"), DECODE_64, DECODE_STORE, DECODE_MOV, 4, 4, 6, "", 0 },
	{ "mov [rbx],sil", BYTES("\x40\x88\x33"), DECODE_64, DECODE_STORE, DECODE_MOV, 1, 1, 6, "", 0 },
	{ "mov [rbx],dh", BYTES("\x88\x33"), DECODE_64, DECODE_STORE, DECODE_MOV, 1, 1, 2, "H", 0 },
	{ "mov [rbx],r12b", BYTES("\x44\x88\x23"), DECODE_64, DECODE_STORE, DECODE_MOV, 1, 1, 12, "", 0 },
	{ "mov dx,[rbx]", BYTES("\x66\x8b\x13"), DECODE_64, DECODE_LOAD, DECODE_MOV, 2, 2, 2, "F", 0 },
	{ "mov eax,[qword 0xfffffffffee000b0]", BYTES("\xa1\xb0\x00\xe0\xfe\xff\xff\xff\xff"), DECODE_64, DECODE_LOAD,
	  DECODE_MOV, 4, 4, 0, "F", 0 },
	{ "mov [qword 0xffffffffff5fb0b0],eax", BYTES("\xa3\xb0\xb0\x5f\xff\xff\xff\xff\xff"), DECODE_64, DECODE_STORE,
	  DECODE_MOV, 4, 4, 0, "", 0 },
	{ "mov rax,[qword 0xffffffffff5fb0b0]", BYTES("\x48\xa1\xb0\xb0\x5f\xff\xff\xff\xff\xff"), DECODE_64,
	  DECODE_LOAD, DECODE_MOV, 8, 8, 0, "F", 0 },
	{ "mov [qword 0xffffffffff5fb0b0],al", BYTES("\xa2\xb0\xb0\x5f\xff\xff\xff\xff\xff"), DECODE_64, DECODE_STORE,
	  DECODE_MOV, 1, 1, 0, "", 0 },
	{ "a32 mov eax,[dword 0xfee000b0]", BYTES("\x67\xa1\xb0\x00\xe0\xfe"), DECODE_64, DECODE_LOAD, DECODE_MOV, 4, 4,
	  0, "F", 0 },
	{ "mov dword [0xffffffffff5fb0b0],0", BYTES("\xc7\x04\x25\xb0\xb0\x5f\xff\x00\x00\x00\x00"), DECODE_64,
	  DECODE_STORE, DECODE_MOV, 4, 4, 0, "I", 0x0 },
	{ "mov dword [r10-0x5000],0x90000000", BYTES("\x41\xc7\x82\x00\xb0\xff\xff\x00\x00\x00\x90"), DECODE_64,
	  DECODE_STORE, DECODE_MOV, 4, 4, 0, "I", 0xffffffff90000000ull },
	{ "mov qword [r10-0x5000],-2", BYTES("\x49\xc7\x82\x00\xb0\xff\xff\xfe\xff\xff\xff"), DECODE_64, DECODE_STORE,
	  DECODE_MOV, 8, 8, 0, "I", 0xfffffffffffffffeull },
	{ "mov word [rax],0x1234", BYTES("\x66\xc7\x00\x34\x12"), DECODE_64, DECODE_STORE, DECODE_MOV, 2, 2, 0, "I",
	  0x1234 },
	{ "movzx r8d,byte [rax]", BYTES("\x44\x0f\xb6\x00"), DECODE_64, DECODE_LOAD, DECODE_MOV, 1, 4, 8, "F", 0 },
	{ "movzx r8,word [rax]", BYTES("\x4c\x0f\xb7\x00"), DECODE_64, DECODE_LOAD, DECODE_MOV, 2, 8, 8, "F", 0 },
	{ "movsx rax,byte [rsp]", BYTES("\x48\x0f\xbe\x04\x24"), DECODE_64, DECODE_LOAD, DECODE_MOV, 1, 8, 0, "FS", 0 },
	{ "movsx r10w,byte [rsp]", BYTES("\x66\x44\x0f\xbe\x14\x24"), DECODE_64, DECODE_LOAD, DECODE_MOV, 1, 2, 10,
	  "FS", 0 },
	{ "movsxd rdx,dword [rsi]", BYTES("\x48\x63\x16"), DECODE_64, DECODE_LOAD, DECODE_MOV, 4, 8, 2, "FS", 0 },
	{ "db 63,16", BYTES("\x63\x16"), DECODE_64, DECODE_LOAD, DECODE_MOV, 4, 4, 2, "FS", 0 },
	{ "db 66,63,16", BYTES("\x66\x63\x16"), DECODE_64, DECODE_LOAD, DECODE_MOV, 2, 2, 2, "FS", 0 },
	{ "lock add [rax],r11d", BYTES("\xf0\x44\x01\x18"), DECODE_64, DECODE_RMW, DECODE_ADD, 4, 4, 11, "L", 0 },
	{ "or r11d,[rax]", BYTES("\x44\x0b\x18"), DECODE_64, DECODE_LOAD, DECODE_OR, 4, 4, 11, "F", 0 },
	{ "and qword [r8],0x7fffffff", BYTES("\x49\x81\x20\xff\xff\xff\x7f"), DECODE_64, DECODE_RMW, DECODE_AND, 8, 8,
	  0, "I", 0x7fffffff },
	{ "and qword [r8],byte -16", BYTES("\x49\x83\x20\xf0"), DECODE_64, DECODE_RMW, DECODE_AND, 8, 8, 0, "I",
	  0xfffffffffffffff0ull },
	{ "test dword [rbp+rax],0x80000000", BYTES("\xf7\x44\x05\x00\x00\x00\x00\x80"), DECODE_64, DECODE_LOAD,
	  DECODE_TEST, 4, 4, 0, "I", 0xffffffff80000000ull },
	{ "xchg [rax],r8d", BYTES("\x44\x87\x00"), DECODE_64, DECODE_RMW, DECODE_XCHG, 4, 4, 8, "", 0 },
	{ "db 48,66,89,0b", BYTES("\x48\x66\x89\x0b"), DECODE_64, DECODE_STORE, DECODE_MOV, 2, 2, 1, "", 0 },
	{ "db 66,48,89,0b", BYTES("\x66\x48\x89\x0b"), DECODE_64, DECODE_STORE, DECODE_MOV, 8, 8, 1, "", 0 },
	{ "db 66,2e,3e,64,65,36,26,67,41,8b,4c,24,08", BYTES("\x66\x2e\x3e\x64\x65\x36\x26\x67\x41\x8b\x4c\x24\x08"),
	  DECODE_64, DECODE_LOAD, DECODE_MOV, 2, 2, 1, "F", 0 },
	{ "db 2e,2e,2e,2e,c7,84,24,1,2,3,4,5,6,7,88",
	  BYTES("\x2e\x2e\x2e\x2e\xc7\x84\x24\x01\x02\x03\x04\x05\x06\x07\x88"), DECODE_64, DECODE_STORE, DECODE_MOV, 4,
	  4, 0, "I", 0xffffffff88070605ull },
	{ "db 2e,2e,2e,2e,2e,c7,84,24,1,2,3,4,5,6,7,88",
	  BYTES("\x2e\x2e\x2e\x2e\x2e\xc7\x84\x24\x01\x02\x03\x04\x05\x06\x07\x88"), DECODE_64, DECODE_UNSUPPORTED, 0,
	  0, 0, 0, "", 0 },
	{ "db 2e,2e,2e,2e,2e,2e,2e,2e,2e,2e,2e,2e,2e,2e,2e,90",
	  BYTES("\x2e\x2e\x2e\x2e\x2e\x2e\x2e\x2e\x2e\x2e\x2e\x2e\x2e\x2e\x2e\x90"), DECODE_64, DECODE_UNSUPPORTED, 0,
	  0, 0, 0, "", 0 },
	{ "db 82,00,01", BYTES("\x82\x00\x01"), DECODE_64, DECODE_UNSUPPORTED, 0, 0, 0, 0, "", 0 },
	{ "stosd", BYTES("\xab"), DECODE_64, DECODE_UNSUPPORTED, 0, 0, 0, 0, "", 0 },
	{ "rep movsd", BYTES("\xf3\xa5"), DECODE_64, DECODE_UNSUPPORTED, 0, 0, 0, 0, "", 0 },
	{ "lodsd", BYTES("\xad"), DECODE_64, DECODE_UNSUPPORTED, 0, 0, 0, 0, "", 0 },
	{ "mov eax,ebx", BYTES("\x89\xd8"), DECODE_64, DECODE_UNSUPPORTED, 0, 0, 0, 0, "", 0 },
	{ "movzx eax,bl", BYTES("\x0f\xb6\xc3"), DECODE_64, DECODE_UNSUPPORTED, 0, 0, 0, 0, "", 0 },
	{ "add eax,ebx", BYTES("\x01\xd8"), DECODE_64, DECODE_UNSUPPORTED, 0, 0, 0, 0, "", 0 },
	{ "add eax,0x12345678", BYTES("\x05\x78\x56\x34\x12"), DECODE_64, DECODE_UNSUPPORTED, 0, 0, 0, 0, "", 0 },
	{ "or ecx,byte 4", BYTES("\x83\xc9\x04"), DECODE_64, DECODE_UNSUPPORTED, 0, 0, 0, 0, "", 0 },
	{ "test eax,0x1000", BYTES("\xa9\x00\x10\x00\x00"), DECODE_64, DECODE_UNSUPPORTED, 0, 0, 0, 0, "", 0 },
	{ "test ecx,0x1000", BYTES("\xf7\xc1\x00\x10\x00\x00"), DECODE_64, DECODE_UNSUPPORTED, 0, 0, 0, 0, "", 0 },
	{ "xchg ecx,edx", BYTES("\x87\xca"), DECODE_64, DECODE_UNSUPPORTED, 0, 0, 0, 0, "", 0 },
	{ "nop", BYTES("\x90"), DECODE_64, DECODE_UNSUPPORTED, 0, 0, 0, 0, "", 0 },
	{ "ret", BYTES("\xc3"), DECODE_64, DECODE_UNSUPPORTED, 0, 0, 0, 0, "", 0 },
	{ "not dword [rax]", BYTES("\xf7\x10"), DECODE_64, DECODE_UNSUPPORTED, 0, 0, 0, 0, "", 0 },
	{ "neg byte [rax]", BYTES("\xf6\x18"), DECODE_64, DECODE_UNSUPPORTED, 0, 0, 0, 0, "", 0 },
	{ "inc dword [rax]", BYTES("\xff\x00"), DECODE_64, DECODE_UNSUPPORTED, 0, 0, 0, 0, "", 0 },
	{ "movups xmm0,[rax]", BYTES("\x0f\x10\x00"), DECODE_64, DECODE_UNSUPPORTED, 0, 0, 0, 0, "", 0 },
	{ "bts dword [rax],3", BYTES("\x0f\xba\x28\x03"), DECODE_64, DECODE_UNSUPPORTED, 0, 0, 0, 0, "", 0 },
	{ "push qword [rax]", BYTES("\xff\x30"), DECODE_64, DECODE_UNSUPPORTED, 0, 0, 0, 0, "", 0 },
	{ "mov [rax],ds", BYTES("\x8c\x18"), DECODE_64, DECODE_UNSUPPORTED, 0, 0, 0, 0, "", 0 },
	{ "arpl [eax],cx", BYTES("\x63\x08"), DECODE_32, DECODE_UNSUPPORTED, 0, 0, 0, 0, "", 0 },
	{ "inc eax", BYTES("\x40"), DECODE_32, DECODE_UNSUPPORTED, 0, 0, 0, 0, "", 0 },
	{ "db f0,89,0b", BYTES("\xf0\x89\x0b"), DECODE_32, DECODE_UNSUPPORTED, 0, 0, 0, 0, "", 0 },
	{ "db f0,8b,0b", BYTES("\xf0\x8b\x0b"), DECODE_32, DECODE_UNSUPPORTED, 0, 0, 0, 0, "", 0 },
	{ "db f0,03,0b", BYTES("\xf0\x03\x0b"), DECODE_32, DECODE_UNSUPPORTED, 0, 0, 0, 0, "", 0 },
	{ "db f0,39,0b", BYTES("\xf0\x39\x0b"), DECODE_32, DECODE_UNSUPPORTED, 0, 0, 0, 0, "", 0 },
	{ "db f0,83,3b,01", BYTES("\xf0\x83\x3b\x01"), DECODE_32, DECODE_UNSUPPORTED, 0, 0, 0, 0, "", 0 },
	{ "db f0,85,0b", BYTES("\xf0\x85\x0b"), DECODE_32, DECODE_UNSUPPORTED, 0, 0, 0, 0, "", 0 },
	{ "db c7,0b,1,2,3,4", BYTES("\xc7\x0b\x01\x02\x03\x04"), DECODE_32, DECODE_UNSUPPORTED, 0, 0, 0, 0, "", 0 },
	{ "db c7,f8,1,2,3,4", BYTES("\xc7\xf8\x01\x02\x03\x04"), DECODE_32, DECODE_UNSUPPORTED, 0, 0, 0, 0, "", 0 },
};

/* The bytes end where the memory ends: a read beyond is the sanitizer's. */
static struct decode_insn decode_exact(const void *bytes, u32 count, u32 mode)
{
	u8 *buffer = malloc(count + 1);
	struct decode_insn i;

	memcpy(buffer + 1, bytes, count);
	i = decode(buffer + 1, count, (enum decode_mode)mode);
	free(buffer);
	return i;
}

static bool as_expected(const struct decode_case *c, const struct decode_insn *i)
{
	if (i->kind != c->kind)
		return false;
	if (c->kind == DECODE_UNSUPPORTED)
		return true;
	return i->op == c->op && i->size == c->size && i->reg_size == c->reg_size && i->length == c->count &&
	       (i->has_imm || i->reg == c->reg) && i->high_byte == !!strchr(c->flags, 'H') &&
	       i->reg_first == !!strchr(c->flags, 'F') && i->sign == !!strchr(c->flags, 'S') &&
	       i->lock == !!strchr(c->flags, 'L') && i->has_imm == !!strchr(c->flags, 'I') && i->imm == c->imm;
}

static void test_cases(void)
{
	for (u32 n = 0; n < ARRAY_SIZE(cases); n++) {
		const struct decode_case *c = &cases[n];
		struct decode_insn i = decode_exact(c->bytes, c->count, c->mode);
		u8 more[32];

		if (!as_expected(c, &i))
			unit_fail(__FILE__, __LINE__, c->text);
		/* What follows changes nothing, and each beginning is known to be one. */
		memset(more, (int)unit_random(), sizeof(more));
		memcpy(more, c->bytes, c->count);
		i = decode_exact(more, sizeof(more), c->mode);
		if (!as_expected(c, &i))
			unit_fail(__FILE__, __LINE__, c->text);
		for (u32 k = 0; k < c->count && c->kind != DECODE_UNSUPPORTED; k++)
			CHECK(decode_exact(c->bytes, k, c->mode).kind == DECODE_TRUNCATED);
	}
}

/* An encoder: the same facts, from the side of an assembler. */
struct encoded {
	u8 bytes[32];
	u32 count;
};

static void emit(struct encoded *e, u64 value, u32 bytes)
{
	for (u32 i = 0; i < bytes; i++)
		e->bytes[e->count++] = (u8)(value >> 8 * i);
}

static void emit_memory(struct encoded *e, u32 digit, u32 address)
{
	u32 mod = unit_random() % 3, rm = unit_random() % 8, base = unit_random() % 8;
	static const u8 plain[] = { 0, 1, 4 };
	u32 displacement = plain[mod];

	emit(e, mod << 6 | digit << 3 | rm, 1);
	if (address == 2) {
		if (mod == 2 || (mod == 0 && rm == 6))
			displacement = 2;
	} else if (rm == 4) {
		emit(e, (unit_random() % 32) << 3 | base, 1);
		if (mod == 0 && base == 5)
			displacement = 4;
	} else if (mod == 0 && rm == 5) {
		displacement = 4;
	}
	emit(e, unit_random(), displacement);
}

/* opcode, digit or 8 for a register, bytes of the immediate (9: operand size, at most 4), kind, op */
static const struct {
	u32 opcode, digit, imm, kind, op;
} ops[] = {
	{ 0x88, 8, 0, DECODE_STORE, DECODE_MOV }, { 0x89, 8, 0, DECODE_STORE, DECODE_MOV },
	{ 0x8a, 8, 0, DECODE_LOAD, DECODE_MOV },  { 0x8b, 8, 0, DECODE_LOAD, DECODE_MOV },
	{ 0xc6, 0, 1, DECODE_STORE, DECODE_MOV }, { 0xc7, 0, 9, DECODE_STORE, DECODE_MOV },
	{ 0x81, 1, 9, DECODE_RMW, DECODE_OR },    { 0x83, 4, 1, DECODE_RMW, DECODE_AND },
	{ 0x80, 7, 1, DECODE_LOAD, DECODE_CMP },  { 0x81, 7, 9, DECODE_LOAD, DECODE_CMP },
	{ 0xf7, 0, 9, DECODE_LOAD, DECODE_TEST }, { 0x29, 8, 0, DECODE_RMW, DECODE_SUB },
	{ 0x12, 8, 0, DECODE_LOAD, DECODE_ADC },  { 0x87, 8, 0, DECODE_RMW, DECODE_XCHG },
};

/* Some prefixes; the sizes that follow from them. Returns REX or 0. */
static u32 emit_prefixes(struct encoded *e, u32 mode, u32 *size, u32 *address)
{
	static const u8 prefix[] = { 0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x66, 0x67, 0xf2, 0xf3 };
	bool p66 = false, p67 = false;
	u32 rex = 0;

	for (u32 k = unit_random() % 4; k > 0; k--) {
		u8 p = prefix[unit_random() % ARRAY_SIZE(prefix)];

		p66 = p66 || p == 0x66;
		p67 = p67 || p == 0x67;
		emit(e, p, 1);
	}
	if (mode == DECODE_64 && unit_random() % 2)
		emit(e, rex = 0x40 | unit_random() % 16, 1);
	*size = mode == DECODE_16 ? 2 : 4;
	*address = mode == DECODE_16 ? 2 : mode == DECODE_32 ? 4 : 8;
	if (p66)
		*size = 6 - *size;
	if (p67)
		*address = *address == 4 ? 2 : 4;
	if (rex & 8)
		*size = 8;
	return rex;
}

static void test_encoder(void)
{
	for (u32 round = 0; round < 100000; round++) {
		u32 o = unit_random() % ARRAY_SIZE(ops), mode = unit_random() % 3, size, address, imm, rex;
		u32 digit = ops[o].digit == 8 ? unit_random() % 8 : ops[o].digit;
		struct encoded e = { .count = 0 };
		struct decode_insn i;

		rex = emit_prefixes(&e, mode, &size, &address);
		if (!(ops[o].opcode & 1))
			size = 1;
		imm = ops[o].imm == 9 ? (size == 8 ? 4 : size) : ops[o].imm;
		emit(&e, ops[o].opcode, 1);
		emit_memory(&e, digit, address);
		emit(&e, unit_random(), imm);
		i = decode_exact(e.bytes, e.count, mode);
		if (e.count > 15) {
			CHECK(i.kind == DECODE_UNSUPPORTED);
			continue;
		}
		CHECK(i.kind == ops[o].kind && i.op == ops[o].op && i.length == e.count && i.size == size);
		CHECK(i.has_imm == (imm != 0) && i.reg_size == size && !i.lock);
		if (ops[o].digit == 8 && size == 1 && !rex && digit >= 4)
			CHECK(i.high_byte && i.reg == digit - 4);
		else if (ops[o].digit == 8)
			CHECK(!i.high_byte && i.reg == digit + (rex & 4 ? 8 : 0));
	}
}

static void test_random_bytes(void)
{
	for (u32 round = 0; round < 300000; round++) {
		u32 count = unit_random() % 20, mode = unit_random() % 3;
		struct decode_insn i;
		u8 bytes[20];

		for (u32 k = 0; k < count; k++)
			bytes[k] = (u8)unit_random();
		i = decode_exact(bytes, count, mode);
		if (i.kind == DECODE_TRUNCATED)
			CHECK(count < 15);
		if (i.kind < DECODE_LOAD)
			continue;
		CHECK(i.length >= 2 && i.length <= 15 && i.length <= count && i.reg < 16);
		CHECK(i.size == 1 || i.size == 2 || i.size == 4 || i.size == 8);
		CHECK(i.reg_size >= i.size && (!i.high_byte || i.reg < 4));
	}
}

/* Addition and subtraction bit by bit, as an adder does it. */
static u64 model(u32 op, u64 a, u64 b, u32 bits, u64 *flags)
{
	bool subtract = op == DECODE_SUB || op == DECODE_SBB || op == DECODE_CMP;
	bool adder = subtract || op == DECODE_ADD || op == DECODE_ADC, before_last = false, aux = false;
	bool carry = (op == DECODE_ADC || op == DECODE_SBB) && *flags & 1, last = false;
	u64 result = 0;
	u32 low_ones = 0;

	if (subtract)
		carry = !carry;
	for (u32 k = 0; k < bits; k++) {
		u32 x = a >> k & 1, y = b >> k & 1, sum;

		before_last = carry;
		if (adder) {
			sum = x + (subtract ? !y : y) + carry;
			carry = sum > 1;
		} else {
			sum = op == DECODE_OR ? x | y : op == DECODE_XOR ? x ^ y : x & y;
		}
		if (k == 3)
			aux = carry;
		if (k < 8)
			low_ones += sum & 1;
		last = sum & 1;
		result |= (u64)last << k;
	}
	*flags &= ~0x8d5ull;
	if (adder) {
		*flags |= carry != subtract ? 0x1 : 0;
		*flags |= aux != subtract ? 0x10 : 0;
		*flags |= carry != before_last ? 0x800 : 0;
	}
	*flags |= low_ones % 2 ? 0 : 0x4;
	*flags |= result ? 0 : 0x40;
	*flags |= last ? 0x80 : 0;
	return result;
}

static u64 any_value(void)
{
	u64 x = unit_random();

	return unit_random() % 2 ? x : unit_random() % 2 ? 0 - x % 3 : 1ull << x % 64;
}

static void test_arithmetic(void)
{
	for (u32 round = 0; round < 200000; round++) {
		u32 op = unit_random() % (DECODE_TEST + 1), bytes = 1u << unit_random() % 4;
		bool first = unit_random() % 2, compares = op == DECODE_CMP || op == DECODE_TEST;
		struct decode_insn i = { .op = (u8)op, .size = (u8)bytes, .reg_size = (u8)bytes };
		u64 reg[16] = { 0 }, memory = any_value(), other = any_value(), mask = ~0ull >> (64 - 8 * bytes);
		u64 flags = unit_random(), want_flags = flags, before, want, got;

		i.reg = unit_random() % 16;
		i.reg_first = first;
		i.kind = first || compares ? DECODE_LOAD : DECODE_RMW;
		i.has_imm = !first && unit_random() % 2;
		i.imm = other;
		i.high_byte = bytes == 1 && i.reg < 4 && unit_random() % 2;
		reg[i.reg] = before = i.high_byte ? other << 8 | (unit_random() & 0xff) : other;
		if (first)
			want = model(op, other & mask, memory & mask, 8 * bytes, &want_flags);
		else
			want = model(op, memory & mask, other & mask, 8 * bytes, &want_flags);
		got = decode_execute(&i, reg, &flags, memory);
		CHECK(flags == want_flags);
		CHECK(got == (i.kind == DECODE_RMW ? want : 0));
		if (i.kind == DECODE_RMW || compares)
			CHECK(reg[i.reg] == before);
		else if (i.high_byte)
			CHECK(reg[i.reg] == ((before & ~0xff00ull) | want << 8));
		else
			CHECK(reg[i.reg] == (bytes == 4 ? want : (before & ~mask) | want));
	}
}

static u64 run_bytes(const char *bytes, u32 count, u64 reg[16], u64 memory)
{
	struct decode_insn i = decode_exact(bytes, count, DECODE_64);
	u64 flags = 0xffffffffull, value;

	CHECK(i.kind >= DECODE_LOAD);
	value = decode_execute(&i, reg, &flags, memory);
	CHECK(flags == 0xffffffffull); /* moves leave them alone */
	return value;
}

static void test_moves(void)
{
	u64 r[16];

	for (u32 i = 0; i < 16; i++)
		r[i] = 0x1122334455667700ull + i;
	run_bytes(BYTES("\x8b\x00"), r, 0xffffffff89abcdefull); /* mov eax,[rax] */
	CHECK(r[0] == 0x89abcdef);
	run_bytes(BYTES("\x66\x8b\x08"), r, 0x89abcdef); /* mov cx,[rax] */
	CHECK(r[1] == 0x112233445566cdefull);
	run_bytes(BYTES("\x8a\x30"), r, 0x1ab); /* mov dh,[rax] */
	CHECK(r[2] == 0x112233445566ab02ull);
	run_bytes(BYTES("\x40\x8a\x30"), r, 0x1ab); /* mov sil,[rax] */
	CHECK(r[6] == 0x11223344556677abull);
	run_bytes(BYTES("\x4c\x8b\x00"), r, 0x8000000000000001ull); /* mov r8,[rax] */
	CHECK(r[8] == 0x8000000000000001ull);
	run_bytes(BYTES("\x0f\xb6\x18"), r, 0xf80); /* movzx ebx,byte [rax] */
	CHECK(r[3] == 0x80);
	run_bytes(BYTES("\x0f\xbe\x18"), r, 0xf80); /* movsx ebx,byte [rax] */
	CHECK(r[3] == 0xffffff80);
	run_bytes(BYTES("\x48\x0f\xbf\x18"), r, 0x8000); /* movsx rbx,word [rax] */
	CHECK(r[3] == 0xffffffffffff8000ull);
	run_bytes(BYTES("\x66\x0f\xbe\x18"), r, 0x80); /* movsx bx,byte [rax] */
	CHECK(r[3] == 0xffffffffffffff80ull);
	run_bytes(BYTES("\x48\x63\x18"), r, 0x180000000ull); /* movsxd rbx,dword [rax] */
	CHECK(r[3] == 0xffffffff80000000ull);
	CHECK(run_bytes(BYTES("\x89\x38"), r, 0) == 0x55667707);                 /* mov [rax],edi */
	CHECK(run_bytes(BYTES("\x88\x30"), r, 0) == 0xab);                       /* mov [rax],dh */
	CHECK(run_bytes(BYTES("\xc7\x00\xff\xff\xff\xff"), r, 0) == 0xffffffff); /* mov dword [rax],-1 */
	CHECK(run_bytes(BYTES("\x48\xc7\x00\xff\xff\xff\xff"), r, 0) == ~0ull);
	CHECK(run_bytes(BYTES("\x87\x38"), r, 0xf12345678ull) == 0x55667707); /* xchg [rax],edi */
	CHECK(r[7] == 0x12345678);
	CHECK(r[15] == 0x112233445566770full);
}

const struct unit_case decode_cases[] = {
	{ "decode: an assembler's bytes", test_cases },
	{ "decode: an encoder's bytes", test_encoder },
	{ "decode: random bytes", test_random_bytes },
	{ "decode: arithmetic bit by bit", test_arithmetic },
	{ "decode: moves", test_moves },
	{ NULL, NULL },
};
