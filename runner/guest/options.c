#include "options.h"

#include "console.h"

#define LONGEST_WORD 40

struct options options = {.interrupt = INTERRUPT_MSIX, .blocks = 256, .write = WRITE_RESTORE, .slot_interrupt = INTERRUPT_MSI};

static bool equal(const char *left, const char *right) {
	while (*left && *left == *right) left++, right++;
	return *left == *right;
}

// The value behind `name=`, or null when the word is something else.
static const char *value_of(const char *word, const char *name) {
	while (*name && *word == *name) word++, name++;
	return *name == 0 && *word == '=' ? word + 1 : NULL;
}

static bool parse_number(const char *text, u32 base, u32 *number) {
	*number = 0;
	if (*text == 0) return false;
	for (; *text; text++) {
		u32 digit = *text <= '9' ? (u32)(*text - '0') : (u32)((*text | 0x20) - 'a') + 10;
		if (digit >= base) return false;
		*number = *number * base + digit;
	}
	return true;
}

static bool parse_word(const char *word) {
	const char *value;
	if ((value = value_of(word, "interrupt"))) {
		if (equal(value, "msix")) options.interrupt = INTERRUPT_MSIX;
		else if (equal(value, "msi")) options.interrupt = INTERRUPT_MSI;
		else if (equal(value, "intx")) options.interrupt = INTERRUPT_INTX;
		else return false;
		return true;
	}
	if ((value = value_of(word, "write"))) {
		if (equal(value, "restore")) options.write = WRITE_RESTORE;
		else if (equal(value, "keep")) options.write = WRITE_KEEP;
		else if (equal(value, "off")) options.write = WRITE_OFF;
		else return false;
		return true;
	}
	if ((value = value_of(word, "hotplug"))) {
		if (equal(value, "ignore")) options.hotplug = HOTPLUG_IGNORE;
		else if (equal(value, "blink")) options.hotplug = HOTPLUG_BLINK;
		else if (parse_number(value, 10, &options.removals)) options.hotplug = HOTPLUG_SERVE;
		else return false;
		return true;
	}
	if ((value = value_of(word, "slot-interrupt"))) {
		if (equal(value, "msi")) options.slot_interrupt = INTERRUPT_MSI;
		else if (equal(value, "intx")) options.slot_interrupt = INTERRUPT_INTX;
		else return false;
		return true;
	}
	if ((value = value_of(word, "button"))) return parse_number(value, 10, &options.button);
	if ((value = value_of(word, "blocks"))) return parse_number(value, 10, &options.blocks) && options.blocks > 0;
	if ((value = value_of(word, "checksum"))) {
		options.has_checksum = true;
		return parse_number(value, 16, &options.checksum);
	}
	return false;
}

void options_parse(const char *command_line) {
	char word[LONGEST_WORD + 1];
	u32 length = 0;
	for (const char *at = command_line;; at++) {
		if (*at != ' ' && *at != 0) {
			if (length == LONGEST_WORD) fail("an option is too long: \"%s\"", command_line);
			word[length++] = *at;
			continue;
		}
		word[length] = 0;
		if (length > 0 && !parse_word(word)) fail("the option \"%s\" is not understood", word);
		length = 0;
		if (*at == 0) return;
	}
}
