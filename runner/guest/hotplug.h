// Hot plug into root ports' slots, as PCI Express Base section 6.7 has it for a guest.
//
// What happens is printed as `SLOT number state`, by the slot's physical number:
//
//   empty      the slot is off and nothing is in it, at the start and after each removal
//   plugged    something has been plugged in
//   ready      it has been driven, and stays
//   requested  the button was pressed, for it to leave
//   kept       the button was pressed again: it stays
//   lost       it was pulled out while the slot was on
//   failed     the slot has power and no link comes up
//   ignored    (hotplug=ignore) something happened, and nothing will
//   stuck      (hotplug=blink) the power indicator blinks, for ever
#pragma once
#include "pci.h"

// Takes the slots into service that can be hot plugged.
void hotplug_start(void);

// Whether a function is in such a slot: then this part of the program drives it.
bool hotplug_owns(const struct pci_function *function);

// Serves the slots until as many devices have left as the options say.
void hotplug_run(void);
