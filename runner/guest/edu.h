// The teaching device of QEMU, 1234:11e8: some registers, an interrupt, a DMA engine with a buffer of 4 KiB.
#pragma once
#include "pci.h"

#define EDU_VENDOR 0x1234
#define EDU_DEVICE 0x11e8

// Drives the device and fails on the first thing that is not as it must be. `index` counts such devices.
void edu_drive(struct pci_function *function, u32 index);
