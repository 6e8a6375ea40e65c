// What a compiler may call even in a freestanding program.
#include "types.h"

void *memcpy(void *to, const void *from, size_t length) {
	void *start = to;
	__asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(length) : : "memory");
	return start;
}

void *memset(void *to, int value, size_t length) {
	void *start = to;
	__asm__ volatile("rep stosb" : "+D"(to), "+c"(length) : "a"(value) : "memory");
	return start;
}

int memcmp(const void *left, const void *right, size_t length) {
	const u8 *a = left, *b = right;
	for (size_t i = 0; i < length; i++) {
		if (a[i] != b[i]) return a[i] - b[i];
	}
	return 0;
}
