#include "hotplug.h"

#include "console.h"
#include "cpu.h"
#include "drivers.h"

// Registers of the PCI Express capability.
#define CAPABILITIES 0x00
#define CAPABILITIES_SLOT (0x0100u << 16)
#define LINK_CONTROL_AND_STATUS 0x10
#define LINK_ACTIVE (0x2000u << 16)
#define SLOT_CAPABILITIES 0x14
#define SLOT_HOT_PLUG 0x40
#define SLOT_NUMBER(capabilities) ((capabilities) >> 19)
#define SLOT_CONTROL 0x18
#define SLOT_STATUS 0x1a

// Slot control: all events that are served, and the switches.
#define ENABLES 0x1039
#define ATTENTION_ON 0x0040
#define ATTENTION_OFF 0x00c0
#define POWER_ON 0x0000
#define POWER_OFF 0x0400
#define INDICATOR_ON 0x0100
#define INDICATOR_BLINKING 0x0200
#define INDICATOR_OFF 0x0300

// Slot status.
#define EVENT_BUTTON 0x0001
#define EVENT_PRESENCE 0x0008
#define EVENT_COMMAND 0x0010
#define EVENT_LINK 0x0100
#define EVENTS (EVENT_BUTTON | EVENT_PRESENCE | EVENT_COMMAND | EVENT_LINK)
#define PRESENT 0x0040

#define LIMIT 1000  // milliseconds: what a command, a link and a device after power-on may take
#define MAX_SLOTS 16

struct slot {
	struct pci_function *port;
	u8 express;  // where the port has its PCI Express capability
	u32 number;
	struct pci_interrupts interrupts;
	volatile u32 events;
	bool on;
};

static struct slot slots[MAX_SLOTS];
static u32 slot_count, removals;
// The slot whose device is being driven, and where to go on when that device is lost.
static struct slot *volatile driven;
static void *lost_context[5];

static u16 status_of(const struct slot *slot) {
	return (u16)(pci_read(slot->port, slot->express + SLOT_CONTROL) >> 16);
}

static bool link_active(const struct slot *slot) {
	return pci_read(slot->port, slot->express + LINK_CONTROL_AND_STATUS) & LINK_ACTIVE;
}

static bool has_device(const struct slot *slot) { return (status_of(slot) & PRESENT) && link_active(slot); }

static void say(const struct slot *slot, const char *state) { print("SLOT %u %s\n", slot->number, state); }

// Takes the events until there is none: a message comes only when there was none before.
static void on_slot_interrupt(void *context) {
	struct slot *slot = context;
	for (u16 events; (events = status_of(slot) & EVENTS);) {
		pci_write16(slot->port, slot->express + SLOT_STATUS, events);
		slot->events |= events;
	}
	if (slot == driven && !has_device(slot)) device_lost = true;
}

static u32 take_events(struct slot *slot) {
	disable_interrupts();
	u32 events = slot->events;
	slot->events = 0;
	enable_interrupts();
	return events;
}

static void command(struct slot *slot, u16 switches) {
	pci_write16(slot->port, slot->express + SLOT_CONTROL, ENABLES | switches);
	if (!wait_until(slot->events & EVENT_COMMAND, LIMIT)) fail("slot %u does not complete a command", slot->number);
	disable_interrupts();
	slot->events &= ~EVENT_COMMAND;
	enable_interrupts();
}

static _Noreturn void stop(const struct slot *slot) {
	say(slot, "stuck");
	for (;;) sleep_until_interrupt();
}

// A driver fails while its device is lost: it is left where it stands.
static void on_driver_fail(void) {
	if (driven && !has_device(driven)) __builtin_longjmp(lost_context, 1);
}

static __attribute__((noinline)) bool drive_device(struct slot *slot) {
	driven = slot;
	if (__builtin_setjmp(lost_context) == 0) {
		on_fail = on_driver_fail;
		drive_below(slot->port);
	}
	on_fail = NULL;
	driven = NULL;
	device_lost = false;
	enable_interrupts();
	return has_device(slot);
}

static bool answers(const struct slot *slot) {
	const struct pci_function device = {.bus = slot->port->secondary};
	return pci_read(&device, 0) != 0xffffffff;
}

static void switch_off(struct slot *slot, u16 attention) {
	// The power first: whoever plugged it in takes it when the indicator is off as well.
	command(slot, attention | POWER_OFF | INDICATOR_BLINKING);
	command(slot, attention | POWER_OFF | INDICATOR_OFF);
	slot->on = false;
}

static void count_removal(struct slot *slot) {
	removals++;
	say(slot, "empty");
}

static void lose(struct slot *slot) {
	say(slot, "lost");
	pci_forget_below(slot->port);
	command(slot, ATTENTION_OFF | POWER_OFF | INDICATOR_BLINKING);
	slot->on = false;
	// What is there by now is the next one, and would be taken for what leaves if the indicator went off.
	if (!(status_of(slot) & PRESENT)) command(slot, ATTENTION_OFF | POWER_OFF | INDICATOR_OFF);
	count_removal(slot);
}

// Drives what is in a slot that is on.
static void use(struct slot *slot) {
	if (!drive_device(slot)) return;
	command(slot, ATTENTION_OFF | POWER_ON | INDICATOR_ON);
	say(slot, "ready");
}

static void plug(struct slot *slot) {
	// Whatever was said before, it is about what is there now.
	take_events(slot);
	say(slot, "plugged");
	command(slot, ATTENTION_OFF | POWER_ON | INDICATOR_BLINKING);
	if (options.hotplug == HOTPLUG_BLINK) stop(slot);
	if (!wait_until(link_active(slot), LIMIT) || !wait_until(answers(slot), LIMIT)) {
		say(slot, "failed");
		switch_off(slot, ATTENTION_ON);
		return;
	}
	slot->on = true;
	pci_scan_below(slot->port);
	use(slot);
}

// True when the button is pressed again, in the time that is left for that.
static bool taken_back(struct slot *slot) {
	if (options.button == 0) return false;
	wait_until(slot->events & (EVENT_BUTTON | EVENT_PRESENCE), options.button);
	return take_events(slot) & EVENT_BUTTON;
}

static void unplug(struct slot *slot) {
	say(slot, "requested");
	command(slot, ATTENTION_OFF | POWER_ON | INDICATOR_BLINKING);
	if (options.hotplug == HOTPLUG_BLINK) stop(slot);
	if (taken_back(slot)) {
		command(slot, ATTENTION_OFF | POWER_ON | INDICATOR_ON);
		say(slot, "kept");
		return;
	}
	for (u32 i = 0; i < pci_function_count; i++) {
		if (pci_functions[i].present && pci_functions[i].bridge == slot->port) pci_enable(&pci_functions[i], false);
	}
	pci_forget_below(slot->port);
	switch_off(slot, ATTENTION_OFF);
	count_removal(slot);
}

static void serve(struct slot *slot) {
	u32 events = take_events(slot);
	if (events == 0) return;
	if (options.hotplug == HOTPLUG_IGNORE) {
		say(slot, "ignored");
		return;
	}
	if (slot->on) {
		if (!has_device(slot) || events & EVENT_PRESENCE) lose(slot);
		else if (events & EVENT_BUTTON) unplug(slot);
		else return;
		events |= take_events(slot);
	}
	if (events & (EVENT_PRESENCE | EVENT_BUTTON) && !slot->on && status_of(slot) & PRESENT) plug(slot);
}

static void start(struct pci_function *port, u8 express) {
	if (slot_count == MAX_SLOTS) fail("there are more than %u slots that can be hot plugged", MAX_SLOTS);
	struct slot *slot = &slots[slot_count++];
	*slot = (struct slot){.port = port, .express = express};
	slot->number = SLOT_NUMBER(pci_read(port, express + SLOT_CAPABILITIES));
	slot->on = has_device(slot);
	static const interrupt_handler handlers[1] = {on_slot_interrupt};
	void *const contexts[1] = {slot};
	pci_connect_interrupts(&slot->interrupts, port, options.slot_interrupt, 1, handlers, contexts);
	command(slot, ATTENTION_OFF | (slot->on ? POWER_ON | INDICATOR_ON : POWER_OFF | INDICATOR_OFF));
	print("slot %u below %02x:%02x.%u interrupts by %s\n", slot->number, port->bus, port->device, port->number,
		  interrupt_kind_name(slot->interrupts.kind));
	if (slot->on) return;
	// Before this program looked, or before its interrupt was connected.
	if (status_of(slot) & PRESENT) slot->events |= EVENT_PRESENCE;
	else say(slot, "empty");
}

void hotplug_start(void) {
	for (u32 i = 0; i < pci_function_count; i++) {
		struct pci_function *function = &pci_functions[i];
		if (!function->is_bridge || pci_is_chipset(function)) continue;
		u8 at = pci_find_capability(function, PCI_CAPABILITY_EXPRESS);
		if (at == 0 || !(pci_read(function, at + CAPABILITIES) & CAPABILITIES_SLOT)) continue;
		if (pci_read(function, at + SLOT_CAPABILITIES) & SLOT_HOT_PLUG) start(function, at);
	}
}

bool hotplug_owns(const struct pci_function *function) {
	for (u32 i = 0; i < slot_count; i++) {
		if (function->bridge == slots[i].port) return true;
	}
	return false;
}

static bool any_event(void) {
	for (u32 i = 0; i < slot_count; i++) {
		if (slots[i].events) return true;
	}
	return false;
}

void hotplug_run(void) {
	if (slot_count == 0) fail("no slot can be hot plugged");
	for (u32 i = 0; i < slot_count; i++) {
		if (slots[i].on) use(&slots[i]);
	}
	while (options.removals == 0 || removals < options.removals) {
		disable_interrupts();
		while (!any_event()) sleep_until_interrupt();
		enable_interrupts();
		for (u32 i = 0; i < slot_count; i++) serve(&slots[i]);
	}
}
