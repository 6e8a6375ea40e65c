// The drivers of this program, by what they drive.
#pragma once
#include "pci.h"

// How many functions were found, and how many of them driven.
extern u32 functions_found, functions_driven;

// Drives a function, from its start to its shutdown, if there is a driver for it.
void drive(struct pci_function *function);

// Drives every function below a bridge.
void drive_below(const struct pci_function *bridge);
