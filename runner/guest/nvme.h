// An NVMe controller: two I/O queue pairs, each with an interrupt vector of its own where there are enough.
#pragma once
#include "pci.h"

// Drives the controller and fails on the first thing that is not as it must be. `index` counts controllers.
void nvme_drive(struct pci_function *function, u32 index);
