// The few types and helpers that a program without a library needs.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;

#define PAGE_SIZE 4096u
#define PAGE_ALIGNED __attribute__((aligned(PAGE_SIZE)))
#define ARRAY_LENGTH(array) (sizeof(array) / sizeof((array)[0]))

// FNV-1a, 32 bits: the checksum that the host computes over the same bytes.
#define CHECKSUM_START 2166136261u
static inline u32 checksum(u32 sum, const void *bytes, u32 length) {
	const u8 *byte = bytes;
	for (u32 i = 0; i < length; i++) sum = (sum ^ byte[i]) * 16777619u;
	return sum;
}

void *memcpy(void *to, const void *from, size_t length);
void *memset(void *to, int value, size_t length);
int memcmp(const void *left, const void *right, size_t length);
