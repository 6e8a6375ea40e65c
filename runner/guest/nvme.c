#include "nvme.h"

#include "console.h"
#include "cpu.h"

// Registers (NVM Express Base 1.4, section 3.1).
#define CAPABILITIES_LOW 0x00
#define CAPABILITIES_HIGH 0x04
#define VERSION 0x08
#define INTERRUPT_MASK_SET 0x0c
#define INTERRUPT_MASK_CLEAR 0x10
#define CONFIGURATION 0x14
#define CONFIGURATION_ENABLE 0x1
#define CONFIGURATION_SHUTDOWN 0x4000
#define CONFIGURATION_ENTRY_SIZES (6u << 16 | 4u << 20)  // 64 bytes a command, 16 a completion
#define STATUS 0x1c
#define STATUS_READY 0x1
#define STATUS_FATAL 0x2
#define STATUS_SHUTDOWN(status) ((status) >> 2 & 3)
#define STATUS_SHUTDOWN_COMPLETE 2
#define ADMIN_QUEUE_ATTRIBUTES 0x24
#define ADMIN_SUBMISSION_QUEUE 0x28
#define ADMIN_COMPLETION_QUEUE 0x30
#define DOORBELLS 0x1000

enum admin_opcode { DELETE_SQ = 0x00, CREATE_SQ = 0x01, DELETE_CQ = 0x04, CREATE_CQ = 0x05, IDENTIFY = 0x06, SET_FEATURES = 0x09 };
enum io_opcode { FLUSH = 0x00, WRITE = 0x01, READ = 0x02 };

#define IDENTIFY_NAMESPACE 0
#define IDENTIFY_CONTROLLER 1
#define FEATURE_NUMBER_OF_QUEUES 7
#define QUEUE_CONTIGUOUS 0x1
#define QUEUE_INTERRUPTS 0x2

#define NAMESPACE 1
#define QUEUES 3  // the admin queue and two for I/O
#define DEPTH 16
#define COMMAND_LIMIT 10000  // milliseconds
#define REQUESTS 4           // commands in flight at once
#define BUFFER_SIZE 0x10000
#define WRITE_BLOCKS 32

struct command {
	u8 opcode, flags;
	u16 id;
	u32 namespace, reserved[2];
	u64 metadata, prp1, prp2;
	u32 words[6];  // command dwords 10 to 15
};

struct completion {
	u32 result, reserved;
	u16 head, queue, id;
	volatile u16 status;  // bit 0 is the phase
};

struct queue {
	struct controller *controller;
	u32 index;
	struct command *commands;
	struct completion *completions;
	u32 tail, head, phase;
	volatile u32 interrupts, spurious, completed;
	volatile bool done[DEPTH];
	volatile u16 status[DEPTH];
	volatile u32 result[DEPTH];
};

struct controller {
	uintptr_t registers;
	u32 doorbell_stride;
	u32 block_shift;  // log2 of the bytes of a block
	u32 blocks;       // what can be addressed with 32 bits
	u32 largest;      // bytes of the largest transfer
	u32 commands;
	struct pci_interrupts interrupts;
	struct queue queues[QUEUES];
};

// A transfer: its buffer, the page its PRP list goes to, and the command it became.
struct request {
	u8 *buffer;
	u64 *list;
	struct queue *queue;
	u32 id, length;
};

static struct controller controller;
// A page each: rings start on a page.
static struct command command_rings[QUEUES][PAGE_SIZE / sizeof(struct command)] PAGE_ALIGNED;
static struct completion completion_rings[QUEUES][PAGE_SIZE / sizeof(struct completion)] PAGE_ALIGNED;
static u8 identity[PAGE_SIZE] PAGE_ALIGNED;
// A page more than a buffer holds, for transfers that start inside a page.
static u8 buffers[REQUESTS][BUFFER_SIZE + PAGE_SIZE] PAGE_ALIGNED;
static u64 lists[REQUESTS][PAGE_SIZE / sizeof(u64)] PAGE_ALIGNED;
static u8 originals[BUFFER_SIZE] PAGE_ALIGNED;

// ---- Queues

static uintptr_t doorbell(const struct queue *queue, bool completion) {
	return queue->controller->registers + DOORBELLS + (2 * queue->index + completion) * queue->controller->doorbell_stride;
}

// Takes what the controller has completed. True when there was anything.
static bool reap(struct queue *queue) {
	bool any = false;
	for (;;) {
		struct completion *entry = &queue->completions[queue->head];
		u16 status = entry->status;
		if ((status & 1) != queue->phase) break;
		barrier();
		u16 id = entry->id % DEPTH;
		queue->status[id] = status >> 1;
		queue->result[id] = entry->result;
		queue->done[id] = true;
		queue->completed++;
		if (++queue->head == DEPTH) queue->head = 0, queue->phase ^= 1;
		any = true;
	}
	if (any) write32(doorbell(queue, true), queue->head);
	return any;
}

static void on_queue_interrupt(void *context) {
	struct queue *queue = context;
	queue->interrupts++;
	if (!reap(queue)) queue->spurious++;
}

// One interrupt for all queues, masked in the controller while they are looked at (section 7.5.1.1; the mask registers are
// not for MSI-X). The two writes also make every interrupt touch the device: a host that cannot see the end of interrupt at
// the 8259s takes that for it, and would otherwise never lower the pin after an interrupt that found nothing.
static void on_shared_interrupt(void *context) {
	struct queue *queues = context;
	const struct controller *owner = queues[0].controller;
	bool any = false, maskable = owner->interrupts.kind != INTERRUPT_MSIX;
	queues[0].interrupts++;
	if (maskable) write32(owner->registers + INTERRUPT_MASK_SET, 1);
	for (u32 i = 0; i < QUEUES; i++) any |= reap(&queues[i]);
	if (!any) queues[0].spurious++;
	if (maskable) write32(owner->registers + INTERRUPT_MASK_CLEAR, 1);
}

// The next free entry of the submission ring, empty. Its index is the command's id.
static struct command *next_command(struct queue *queue, u8 opcode) {
	struct command *command = &queue->commands[queue->tail];
	memset(command, 0, sizeof *command);
	command->opcode = opcode;
	command->id = (u16)queue->tail;
	return command;
}

static u32 submit(struct queue *queue) {
	u32 id = queue->tail;
	queue->done[id] = false;
	queue->tail = (queue->tail + 1) % DEPTH;
	queue->controller->commands++;
	barrier();
	write32(doorbell(queue, false), queue->tail);
	return id;
}

static u32 complete(struct queue *queue, u32 id, const char *what) {
	if (!wait_until(queue->done[id], COMMAND_LIMIT)) {
		bool there = (queue->completions[queue->head].status & 1) == queue->phase;
		fail("%s: no interrupt in %u ms, and the completion is %s", what, COMMAND_LIMIT, there ? "there" : "not there");
	}
	if (queue->status[id] != 0) fail("%s: status %x", what, queue->status[id]);
	return queue->result[id];
}

// ---- Administration

static u32 admin(const struct command *template, const char *what) {
	struct queue *queue = &controller.queues[0];
	struct command *command = next_command(queue, template->opcode);
	u16 id = command->id;
	*command = *template;
	command->id = id;
	return complete(queue, submit(queue), what);
}

static u32 read_register(u32 offset) { return read32(controller.registers + offset); }
static void write_register(u32 offset, u32 value) { write32(controller.registers + offset, value); }

static void start_queues(void) {
	for (u32 i = 0; i < QUEUES; i++) {
		memset(command_rings[i], 0, sizeof command_rings[i]);
		memset(completion_rings[i], 0, sizeof completion_rings[i]);
		controller.queues[i] = (struct queue){.controller = &controller,
											  .index = i,
											  .commands = command_rings[i],
											  .completions = completion_rings[i],
											  .phase = 1};
	}
}

static void enable(void) {
	u32 low = read_register(CAPABILITIES_LOW), high = read_register(CAPABILITIES_HIGH);
	u32 version = read_register(VERSION);
	u32 limit = (low >> 24) * 500 + 500;
	if (low == 0xffffffff && high == 0xffffffff) fail("the controller does not answer");
	if ((low & 0xffff) + 1 < DEPTH) fail("its queues have only %u entries", (low & 0xffff) + 1);
	controller.doorbell_stride = 4u << (high & 0xf);
	print("  NVMe %u.%u, queues of up to %u entries\n", version >> 16, version >> 8 & 0xff, (low & 0xffff) + 1);

	write_register(CONFIGURATION, 0);
	if (!wait_until(!(read_register(STATUS) & STATUS_READY), limit)) fail("the controller does not stop");
	write_register(ADMIN_QUEUE_ATTRIBUTES, (DEPTH - 1) << 16 | (DEPTH - 1));
	write_register(ADMIN_SUBMISSION_QUEUE, (u32)command_rings[0]);
	write_register(ADMIN_SUBMISSION_QUEUE + 4, 0);
	write_register(ADMIN_COMPLETION_QUEUE, (u32)completion_rings[0]);
	write_register(ADMIN_COMPLETION_QUEUE + 4, 0);
	write_register(CONFIGURATION, CONFIGURATION_ENTRY_SIZES | CONFIGURATION_ENABLE);
	if (!wait_until(read_register(STATUS) & (STATUS_READY | STATUS_FATAL), limit)) fail("the controller does not start");
	if (read_register(STATUS) & STATUS_FATAL) fail("the controller has a fatal error");
}

// A text of the Identify data: padded with spaces, ended nowhere.
static void print_text(u32 index, const char *name, const u8 *text, u32 length) {
	while (length > 0 && (text[length - 1] == ' ' || text[length - 1] == 0)) length--;
	print("RESULT nvme%u.%s=", index, name);
	for (u32 i = 0; i < length; i++) print("%c", text[i]);
	print("\n");
}

static void identify(u32 index) {
	struct command command = {.opcode = IDENTIFY, .prp1 = (u32)identity, .words = {IDENTIFY_CONTROLLER}};
	admin(&command, "Identify Controller");
	barrier();
	print_text(index, "serial", identity + 4, 20);
	print_text(index, "model", identity + 24, 40);
	print_text(index, "firmware", identity + 64, 8);
	u32 exponent = identity[77];
	controller.largest = exponent == 0 || exponent > 8 ? BUFFER_SIZE : PAGE_SIZE << exponent;
	if (controller.largest > BUFFER_SIZE / 2) controller.largest = BUFFER_SIZE / 2;

	command = (struct command){
		.opcode = IDENTIFY, .namespace = NAMESPACE, .prp1 = (u32)identity, .words = {IDENTIFY_NAMESPACE}};
	admin(&command, "Identify Namespace");
	barrier();
	const u32 *size = (const u32 *)identity;
	u32 format = *(const u32 *)(identity + 128 + 4 * (identity[26] & 0xf));
	controller.block_shift = format >> 16 & 0xff;
	controller.blocks = size[1] ? 0xffffffff : size[0];
	if (controller.block_shift < 9 || controller.block_shift > 12) fail("its blocks have 2^%u bytes", controller.block_shift);
	u32 mebibytes = size[0] >> (20 - controller.block_shift) | size[1] << (12 + controller.block_shift);
	print("  namespace %u: %u MiB in blocks of %u bytes\n", NAMESPACE, mebibytes, 1u << controller.block_shift);
	if (size[1] == 0) print("RESULT nvme%u.blocks=%u\n", index, size[0]);
	print("RESULT nvme%u.block_size=%u\n", index, 1u << controller.block_shift);
}

static void create_queues(void) {
	struct command command = {
		.opcode = SET_FEATURES, .words = {FEATURE_NUMBER_OF_QUEUES, (QUEUES - 2) << 16 | (QUEUES - 2)}};
	u32 granted = admin(&command, "Set Features");
	if ((granted & 0xffff) + 1 < QUEUES - 1 || (granted >> 16) + 1 < QUEUES - 1) fail("it grants only one I/O queue");
	for (u32 i = 1; i < QUEUES; i++) {
		u32 vector = controller.interrupts.vectors == QUEUES ? i : 0;
		command = (struct command){
			.opcode = CREATE_CQ,
			.prp1 = (u32)completion_rings[i],
			.words = {(DEPTH - 1) << 16 | i, vector << 16 | QUEUE_INTERRUPTS | QUEUE_CONTIGUOUS}};
		admin(&command, "Create I/O Completion Queue");
		command = (struct command){.opcode = CREATE_SQ,
								   .prp1 = (u32)command_rings[i],
								   .words = {(DEPTH - 1) << 16 | i, i << 16 | QUEUE_CONTIGUOUS}};
		admin(&command, "Create I/O Submission Queue");
	}
}

static void delete_queues(void) {
	for (u32 i = QUEUES - 1; i > 0; i--) {
		struct command command = {.opcode = DELETE_SQ, .words = {i}};
		admin(&command, "Delete I/O Submission Queue");
		command = (struct command){.opcode = DELETE_CQ, .words = {i}};
		admin(&command, "Delete I/O Completion Queue");
	}
}

static void shut_down(void) {
	write_register(CONFIGURATION, CONFIGURATION_ENTRY_SIZES | CONFIGURATION_SHUTDOWN | CONFIGURATION_ENABLE);
	if (!wait_until(STATUS_SHUTDOWN(read_register(STATUS)) == STATUS_SHUTDOWN_COMPLETE, COMMAND_LIMIT)) {
		fail("the controller does not shut down");
	}
	write_register(CONFIGURATION, 0);
	if (!wait_until(!(read_register(STATUS) & STATUS_READY), COMMAND_LIMIT)) fail("the controller does not stop");
}

// ---- Data

// Describes a buffer to the controller: one page entry, two, or one and a list of the rest.
static void set_prps(struct command *command, const struct request *request) {
	u32 address = (u32)request->buffer, end = address + request->length;
	command->prp1 = address;
	address = (address & ~(PAGE_SIZE - 1)) + PAGE_SIZE;
	if (address >= end) return;
	if (end - address <= PAGE_SIZE) {
		command->prp2 = address;
		return;
	}
	for (u32 i = 0; address < end; address += PAGE_SIZE) request->list[i++] = address;
	command->prp2 = (u32)request->list;
}

static void start_transfer(struct request *request, struct queue *queue, u8 opcode, u32 block, u32 count) {
	struct command *command = next_command(queue, opcode);
	request->queue = queue;
	request->length = count << controller.block_shift;
	command->namespace = NAMESPACE;
	set_prps(command, request);
	command->words[0] = block;
	command->words[2] = count - 1;
	request->id = submit(queue);
}

static void finish_transfer(const struct request *request, const char *what) {
	complete(request->queue, request->id, what);
	barrier();
}

// Reads blocks with several commands in flight on both queues, and returns their checksum in order. Each transfer is
// `length` bytes at `offset` in a page, which decides whether it takes one page entry, two, or a list.
static u32 read_blocks(u32 first, u32 count, u32 length, u32 offset) {
	u32 sum = CHECKSUM_START, each = length >> controller.block_shift, end = first + count;
	u32 turn = 0;
	if (each == 0) each = 1;
	while (first < end) {
		struct request requests[REQUESTS];
		u32 started = 0;
		for (; started < REQUESTS && first < end; started++) {
			u32 size = end - first < each ? end - first : each;
			requests[started] = (struct request){.buffer = buffers[started] + offset, .list = lists[started]};
			memset(requests[started].buffer, 0, size << controller.block_shift);
			start_transfer(&requests[started], &controller.queues[1 + turn++ % 2], READ, first, size);
			first += size;
		}
		for (u32 i = 0; i < started; i++) {
			finish_transfer(&requests[i], "Read");
			sum = checksum(sum, requests[i].buffer, requests[i].length);
		}
	}
	return sum;
}

static void check_reads(u32 index) {
	u32 count = options.blocks < controller.blocks ? options.blocks : controller.blocks;
	u32 one = read_blocks(0, count, PAGE_SIZE, 0);
	u32 two = read_blocks(0, count, PAGE_SIZE, PAGE_SIZE / 2);
	u32 list = read_blocks(0, count, controller.largest, 0);
	u32 unaligned = read_blocks(0, count, controller.largest, PAGE_SIZE / 2);
	print("  %u blocks read with one page entry %08x, two %08x, lists %08x and %08x\n", count, one, two, list, unaligned);
	print("RESULT nvme%u.read.blocks=%u\n", index, count);
	print("RESULT nvme%u.read.checksum=%08x\n", index, one);
	if (two != one || list != one || unaligned != one) fail("reading the same blocks in four ways gives different bytes");
	if (options.has_checksum && options.checksum != one) fail("the blocks' checksum is %08x, not %08x", one, options.checksum);
}

static void transfer(u32 queue, u8 opcode, u32 block, u32 count, u8 *buffer, const char *what) {
	struct request request = {.buffer = buffer, .list = lists[0]};
	start_transfer(&request, &controller.queues[queue], opcode, block, count);
	finish_transfer(&request, what);
}

static void flush(u32 queue) {
	struct command *command = next_command(&controller.queues[queue], FLUSH);
	command->namespace = NAMESPACE;
	complete(&controller.queues[queue], submit(&controller.queues[queue]), "Flush");
}

static void check_writes(u32 index) {
	u32 first = options.blocks, count = WRITE_BLOCKS;
	while (count << controller.block_shift > controller.largest) count /= 2;
	if (options.write == WRITE_OFF || controller.blocks < first + count || first + count < first) {
		print("  nothing is written\n");
		return;
	}
	u32 length = count << controller.block_shift;
	u8 *pattern = buffers[0], *check = buffers[1] + PAGE_SIZE / 2;
	transfer(1, READ, first, count, originals, "Read");
	u32 seed = checksum(CHECKSUM_START, originals, length);
	for (u32 i = 0; i < length; i++) {
		seed = seed * 1664525u + 1013904223u;
		pattern[i] = (u8)(seed >> 24);
	}
	transfer(1, WRITE, first, count, pattern, "Write");
	flush(1);
	memset(check, 0, length);
	transfer(2, READ, first, count, check, "Read");
	if (memcmp(pattern, check, length) != 0) fail("what was written is not what is read back");
	u32 sum = checksum(CHECKSUM_START, check, length);
	print("  %u blocks written at block %u, flushed and read back: %08x\n", count, first, sum);
	print("RESULT nvme%u.write.first=%u\n", index, first);
	print("RESULT nvme%u.write.blocks=%u\n", index, count);
	print("RESULT nvme%u.write.checksum=%08x\n", index, sum);
	if (options.write == WRITE_KEEP) return;
	transfer(2, WRITE, first, count, originals, "Write");
	flush(2);
	memset(check, 0, length);
	transfer(1, READ, first, count, check, "Read");
	if (memcmp(originals, check, length) != 0) fail("what was there before could not be put back");
}

// A masked vector's interrupt waits in the pending bits and comes when the vector is unmasked (PCI 3.0, 6.8.3.4).
static void check_masking(u32 index) {
	struct queue *queue = &controller.queues[2];
	const struct pci_interrupts *interrupts = &controller.interrupts;
	if (interrupts->kind != INTERRUPT_MSIX || interrupts->vectors != QUEUES) return;
	u32 before = queue->interrupts;
	struct request request = {.buffer = buffers[0], .list = lists[0]};
	pci_mask_vector(interrupts, 2, true);
	start_transfer(&request, queue, READ, 0, 1);
	if (!wait_until((queue->completions[queue->head].status & 1) == queue->phase, COMMAND_LIMIT)) {
		fail("a command on a masked vector is not completed");
	}
	bool pending = wait_until(pci_vector_pending(interrupts, 2), COMMAND_LIMIT);
	if (queue->interrupts != before) fail("a masked vector interrupts");
	if (!pending) fail("a masked vector's interrupt is not pending");
	pci_mask_vector(interrupts, 2, false);
	complete(queue, request.id, "Read on a vector that was masked");
	if (queue->interrupts != before + 1) fail("unmasking delivers %u interrupts", queue->interrupts - before);
	if (pci_vector_pending(interrupts, 2)) fail("an interrupt is still pending after its delivery");
	print("  vector 2 masked: the interrupt waited; unmasked: it came\n");
	print("RESULT nvme%u.masking=ok\n", index);
}

static void report_interrupts(u32 index) {
	u32 completed = 0, total = 0, spurious = 0;
	for (u32 i = 0; i < QUEUES; i++) {
		const struct queue *queue = &controller.queues[i];
		completed += queue->completed;
		total += queue->interrupts;
		spurious += queue->spurious;
		if (i >= controller.interrupts.vectors) continue;
		print("RESULT nvme%u.interrupts.%u=%u\n", index, i, queue->interrupts);
		if (queue->interrupts == 0) fail("vector %u never interrupted", i);
	}
	print("  %u commands, %u completions, %u interrupts of which %u found nothing\n", controller.commands, completed, total,
		  spurious);
	print("RESULT nvme%u.commands=%u\n", index, controller.commands);
	print("RESULT nvme%u.interrupts=%u\n", index, total);
	print("RESULT nvme%u.spurious=%u\n", index, spurious);
	if (completed != controller.commands) fail("%u commands were completed %u times", controller.commands, completed);
}

void nvme_drive(struct pci_function *function, u32 index) {
	const struct pci_bar *bar = &function->bars[0];
	print("NVMe controller %u at %02x:%02x.%u\n", index, function->bus, function->device, function->number);
	if (bar->kind != PCI_BAR_MEMORY || bar->address == 0) fail("its registers have no address");
	controller = (struct controller){.registers = bar->address};
	start_queues();
	pci_enable(function, true);

	struct queue *queues = controller.queues;
	static const interrupt_handler own[QUEUES] = {on_queue_interrupt, on_queue_interrupt, on_queue_interrupt};
	static const interrupt_handler shared[1] = {on_shared_interrupt};
	void *const contexts[QUEUES] = {&queues[0], &queues[1], &queues[2]};
	bool separate = options.interrupt == INTERRUPT_MSIX && pci_msix_size(function) >= QUEUES;
	pci_connect_interrupts(&controller.interrupts, function, options.interrupt, separate ? QUEUES : 1, separate ? own : shared, contexts);
	print("  interrupts by %s, %u vectors\n", interrupt_kind_name(controller.interrupts.kind), controller.interrupts.vectors);
	print("RESULT nvme%u.interrupt=%s\n", index, interrupt_kind_name(controller.interrupts.kind));

	enable();
	identify(index);
	create_queues();
	check_reads(index);
	check_writes(index);
	check_masking(index);
	delete_queues();
	report_interrupts(index);
	shut_down();
	pci_disconnect_interrupts(&controller.interrupts);
	pci_enable(function, false);
}
