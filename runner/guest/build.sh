#!/bin/sh
# Builds guest.elf, the same bytes for the same compiler wherever the sources lie.
# Usage: build.sh [output]     CC names the compiler.
set -eu
cd "$(dirname "$0")"
output=${1:-guest.elf}
cc=${CC:-gcc}
sources="boot.S console.c drivers.c edu.c hotplug.c interrupts.c main.c memory.c nvme.c options.c pci.c"

# -fno-tree-loop-distribute-patterns: memset() must not be compiled into a call of itself.
"$cc" -m32 -march=i686 -mgeneral-regs-only -Os -std=gnu11 -Wall -Wextra -Werror \
	-ffreestanding -fno-pic -fno-stack-protector -fno-asynchronous-unwind-tables -fcf-protection=none \
	-fno-tree-loop-distribute-patterns -fno-ident -ffile-prefix-map="$PWD"=. -frandom-seed=vfio-ts \
	-static -no-pie -nostdlib -Wl,--build-id=none -Wl,-z,noexecstack -Wl,--gc-sections -Wl,-T,guest.ld -Wl,-s \
	-o "$output" $sources

# The bytes are the same only for the same compiler, so the test that compares them asks which it was.
if [ "$output" = guest.elf ]; then
	{ "$cc" --version | head -n 1; ld --version | head -n 1; } >compiler.txt
fi
