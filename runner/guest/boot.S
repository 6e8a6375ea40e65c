// Where the program starts, and where interrupts come in.

#define MULTIBOOT_MAGIC 0x1badb002
#define STUBS 128

	.section .multiboot, "a"
	.align 4
	.long MULTIBOOT_MAGIC, 0, -MULTIBOOT_MAGIC

	.section .text.start, "ax"
	.globl _start
_start:
	// The loader leaves flat segments whose selectors are its own business, so they are replaced.
	lgdt gdt_pointer
	ljmp $0x08, $1f
1:	mov $0x10, %cx
	mov %cx, %ds
	mov %cx, %es
	mov %cx, %fs
	mov %cx, %gs
	mov %cx, %ss
	mov $stack_end, %esp
	push %ebx // the multiboot information
	push %eax // the loader's magic
	call main
2:	cli
	hlt
	jmp 2b

	.section .rodata
	.align 8
gdt:
	.quad 0
	.quad 0x00cf9a000000ffff // 0x08: code, 4 GiB
	.quad 0x00cf92000000ffff // 0x10: data, 4 GiB
gdt_pointer:
	.word gdt_pointer - gdt - 1
	.long gdt

	.text
interrupt_common:
	pusha
	cld
	push %esp
	call interrupt_dispatch
	add $4, %esp
	popa
	add $8, %esp // vector and error code
	iret

	// One stub a vector. The processor pushes an error code for some exceptions; the others get a zero in its place.
	.macro stub vector
stub_\vector:
	.if (\vector == 8) || ((\vector >= 10) && (\vector <= 14)) || (\vector == 17)
	.else
	push $0
	.endif
	push $\vector
	jmp interrupt_common
	.endm

	.altmacro
	.macro stub_number vector
	stub \vector
	.endm
	.set i, 0
	.rept STUBS
	stub_number %i
	.set i, i + 1
	.endr

	.section .rodata
	.align 4
	.globl interrupt_stubs
interrupt_stubs:
	.macro stub_address vector
	.long stub_\vector
	.endm
	.set i, 0
	.rept STUBS
	stub_address %i
	.set i, i + 1
	.endr

	.bss
	.align 16
	.skip 16384
stack_end:

	.section .note.GNU-stack, "", @progbits
