/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef DEV_MTRR_H
#define DEV_MTRR_H

#include "core/mtrr.h"

/* Reads this CPU's MTRRs and MAXPHYADDR. A CPU without MTRRs looks as if all memory were write-back. */
void mtrr_read(struct mtrr_state *m);

#endif
