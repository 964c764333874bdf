// SPDX-License-Identifier: BSD-2-Clause
#include "lhv/smram.h"

#include "arch/cpu.h"

#define PCI_ADDRESS 0xcf8
#define PCI_DATA 0xcfc
#define HOST_BRIDGE(reg) (0x80000000u | ((reg)&0xfc))
#define I440FX 0x12378086u
#define SMRAMC 0x72 /* system-management RAM control */
#define D_OPEN 0x40u
#define D_LCK 0x10u
#define G_SMRAME 0x08u
#define HANDLER 0xa8000ul /* SMBASE + 8000H, as firmware for this bridge has it */

static u8 smramc_read(void)
{
	out32(PCI_ADDRESS, HOST_BRIDGE(SMRAMC));
	return in8(PCI_DATA + (SMRAMC & 3));
}

static void smramc_write(u8 value)
{
	out32(PCI_ADDRESS, HOST_BRIDGE(SMRAMC));
	out8(PCI_DATA + (SMRAMC & 3), value);
}

bool smram_present(void)
{
	out32(PCI_ADDRESS, HOST_BRIDGE(0));
	return in32(PCI_DATA) == I440FX && (smramc_read() & (G_SMRAME | D_LCK)) == G_SMRAME;
}

void smram_exchange(u8 code[SMRAM_HANDLER_BYTES])
{
	volatile u8 *handler = (volatile u8 *)HANDLER;
	u8 control = smramc_read();

	smramc_write(control | D_OPEN);
	for (u32 i = 0; i < SMRAM_HANDLER_BYTES; i++) {
		u8 old = handler[i];

		handler[i] = code[i];
		code[i] = old;
	}
	smramc_write(control);
}
