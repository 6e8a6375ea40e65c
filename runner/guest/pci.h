// PCI: finding functions, giving them addresses, and their interrupts.
#pragma once
#include "interrupts.h"
#include "options.h"
#include "types.h"

#define PCI_CLASS_NVME 0x010802
#define PCI_CLASS_BRIDGE 0x0604

#define PCI_CAPABILITY_MSI 0x05
#define PCI_CAPABILITY_EXPRESS 0x10
#define PCI_CAPABILITY_MSIX 0x11

#define PCI_BAR_COUNT 6
#define PCI_MAX_FUNCTIONS 64
#define PCI_MAX_VECTORS 4

struct pci_bar {
	enum { PCI_BAR_NONE, PCI_BAR_MEMORY, PCI_BAR_IO } kind;
	bool is_64_bit;
	u32 address;  // 0: there was no room for it
	u32 size;
};

// A stretch of addresses; empty when its end is not above its start.
struct range {
	u32 start, end;
};

struct pci_interrupts;

struct pci_function {
	bool present;
	u8 bus, device, number;
	u16 vendor, id;
	u32 class;  // base class, subclass, programming interface: 24 bits
	bool is_bridge;
	u8 pin;   // 1 (INTA) to 4 (INTD), 0 without
	u8 line;  // of the 8259s
	struct pci_bar bars[PCI_BAR_COUNT];
	const struct pci_function *bridge;  // the one above, or null
	u8 secondary;                       // of a bridge: the number of the bus below, and what it forwards
	struct range memory, io;
	struct pci_interrupts *interrupts;  // those that are connected, or null
};

extern struct pci_function pci_functions[PCI_MAX_FUNCTIONS];
extern u32 pci_function_count;

// Finds every function of every bus, numbers the buses, and places the BARs of all that is not the PC's own.
void pci_scan(void);

// Does so below one bridge, in addresses that nothing uses: something was plugged in there.
void pci_scan_below(struct pci_function *bridge);

// Forgets the functions below a bridge, their addresses and their interrupts: something leaves, or has left.
void pci_forget_below(struct pci_function *bridge);

// A function of the PC's own chipset: nothing that was plugged in.
bool pci_is_chipset(const struct pci_function *function);

u32 pci_read(const struct pci_function *function, u32 offset);
void pci_write(const struct pci_function *function, u32 offset, u32 value);
void pci_write16(const struct pci_function *function, u32 offset, u16 value);

// Where a capability is in configuration space, or 0.
u8 pci_find_capability(const struct pci_function *function, u8 id);

// Lets the function answer at its BARs and read and write memory by itself; or no longer.
void pci_enable(const struct pci_function *function, bool enable);

// Interrupts of a function in use.
struct pci_interrupts {
	struct pci_function *function;
	enum interrupt_kind kind;
	u32 vectors;      // how many handlers are connected
	u8 capability;    // of MSI or MSI-X
	uintptr_t table;  // MSI-X: where its table and its pending bits are in memory
	uintptr_t pending;
	u8 messages[PCI_MAX_VECTORS];  // MSI, MSI-X: vectors of the local APIC
	interrupt_handler handler;     // INTx: what is on the line
	void *context;
};

// How many vectors the function's MSI-X table has; 0 without MSI-X.
u32 pci_msix_size(const struct pci_function *function);

// Connects `count` handlers to a function, each with its own context, by the best kind that the function has and that is
// not better than `best`: more than one handler only if its MSI-X table has as many and MSI-X may be used. By MSI and INTx
// there is one interrupt and the first handler gets it.
void pci_connect_interrupts(struct pci_interrupts *interrupts, struct pci_function *function, enum interrupt_kind best,
							u32 count, const interrupt_handler handlers[], void *const contexts[]);
void pci_disconnect_interrupts(struct pci_interrupts *interrupts);

// MSI-X only.
void pci_mask_vector(const struct pci_interrupts *interrupts, u32 vector, bool masked);
bool pci_vector_pending(const struct pci_interrupts *interrupts, u32 vector);

const char *interrupt_kind_name(enum interrupt_kind kind);
