// Instructions that C has no words for.
#pragma once
#include "types.h"

static inline void outb(u16 port, u8 value) { __asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port)); }
static inline void outw(u16 port, u16 value) { __asm__ volatile("outw %0, %1" : : "a"(value), "Nd"(port)); }
static inline void outl(u16 port, u32 value) { __asm__ volatile("outl %0, %1" : : "a"(value), "Nd"(port)); }

static inline u8 inb(u16 port) {
	u8 value;
	__asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
	return value;
}

static inline u16 inw(u16 port) {
	u16 value;
	__asm__ volatile("inw %1, %0" : "=a"(value) : "Nd"(port));
	return value;
}

static inline u32 inl(u16 port) {
	u32 value;
	__asm__ volatile("inl %1, %0" : "=a"(value) : "Nd"(port));
	return value;
}

static inline void disable_interrupts(void) { __asm__ volatile("cli" : : : "memory"); }
static inline void enable_interrupts(void) { __asm__ volatile("sti" : : : "memory"); }

// Keeps interrupts away from two instructions that belong together, also where they are off already.
static inline u32 save_interrupts(void) {
	u32 flags;
	__asm__ volatile("pushf; pop %0; cli" : "=r"(flags) : : "memory");
	return flags;
}
static inline void restore_interrupts(u32 flags) { __asm__ volatile("push %0; popf" : : "r"(flags) : "memory", "cc"); }

// Sleeps until the next interrupt. One that arrives between the two instructions is not missed: `sti` takes effect after
// the instruction that follows it.
static inline void sleep_until_interrupt(void) { __asm__ volatile("sti; hlt; cli" : : : "memory"); }

// Stops for ever: a halt with interrupts off, by which the machine knows that the program has ended.
static inline _Noreturn void halt(void) {
	for (;;) __asm__ volatile("cli; hlt");
}

// Registers of a device, in memory.
static inline u32 read32(uintptr_t address) { return *(volatile u32 *)address; }
static inline void write32(uintptr_t address, u32 value) { *(volatile u32 *)address = value; }

// Memory that a device or an interrupt handler writes: the compiler must not keep it in a register.
#define barrier() __asm__ volatile("" : : : "memory")
