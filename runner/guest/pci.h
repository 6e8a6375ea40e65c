// PCI: finding functions, giving them addresses, and their interrupts.
#pragma once
#include "interrupts.h"
#include "options.h"
#include "types.h"

#define PCI_CLASS_NVME 0x010802
#define PCI_CLASS_BRIDGE 0x0604

#define PCI_CAPABILITY_MSI 0x05
#define PCI_CAPABILITY_MSIX 0x11

#define PCI_BAR_COUNT 6
#define PCI_MAX_FUNCTIONS 64

struct pci_bar {
	enum { PCI_BAR_NONE, PCI_BAR_MEMORY, PCI_BAR_IO } kind;
	bool is_64_bit;
	u32 address;  // 0: there was no room for it
	u32 size;
};

struct pci_function {
	u8 bus, device, number;
	u16 vendor, id;
	u32 class;  // base class, subclass, programming interface: 24 bits
	bool is_bridge;
	u8 pin;   // 1 (INTA) to 4 (INTD), 0 without
	u8 line;  // of the 8259s
	struct pci_bar bars[PCI_BAR_COUNT];
	const struct pci_function *bridge;  // the one above, or null
};

extern struct pci_function pci_functions[PCI_MAX_FUNCTIONS];
extern u32 pci_function_count;

// Finds every function of every bus, numbers the buses, and places the BARs of all that is not the PC's own.
void pci_scan(void);

// A function of the PC's own chipset: nothing that was plugged in.
bool pci_is_chipset(const struct pci_function *function);

u32 pci_read(const struct pci_function *function, u32 offset);
void pci_write(const struct pci_function *function, u32 offset, u32 value);

// Where a capability is in configuration space, or 0.
u8 pci_find_capability(const struct pci_function *function, u8 id);

// Lets the function answer at its BARs and read and write memory by itself; or no longer.
void pci_enable(const struct pci_function *function, bool enable);

// Interrupts of a function in use.
struct pci_interrupts {
	const struct pci_function *function;
	enum interrupt_kind kind;
	u32 vectors;      // how many handlers are connected
	u8 capability;    // of MSI or MSI-X
	uintptr_t table;  // MSI-X: where its table and its pending bits are in memory
	uintptr_t pending;
};

// How many vectors the function's MSI-X table has; 0 without MSI-X.
u32 pci_msix_size(const struct pci_function *function);

// Connects `count` handlers to a function, each with its own context: more than one only if its MSI-X table has as many
// and MSI-X may be used. By MSI and INTx there is one interrupt and the first handler gets it.
void pci_connect_interrupts(struct pci_interrupts *interrupts, const struct pci_function *function, u32 count,
							const interrupt_handler handlers[], void *const contexts[]);
void pci_disconnect_interrupts(const struct pci_interrupts *interrupts);

// MSI-X only.
void pci_mask_vector(const struct pci_interrupts *interrupts, u32 vector, bool masked);
bool pci_vector_pending(const struct pci_interrupts *interrupts, u32 vector);

const char *interrupt_kind_name(enum interrupt_kind kind);
