// What the lab's bench compares the library with: the same system calls and accesses in C.
//
//   bench open ADDRESS GROUP   opens a device until it is ready, prints how many nanoseconds that took, and ends
//   bench serve PAGE           takes commands: its descriptor 3 is a container, 4 a device in it, PAGE a file to share
//
// Commands are lines "NAME COUNT"; each is answered with one line, nanoseconds an operation.
#include <errno.h>
#include <fcntl.h>
#include <linux/vfio.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define CONTAINER 3
#define DEVICE 4
#define IOVA 0x10000000
#define LARGE (64 << 20)
#define SCRATCH 0x40000 // edu's buffer: a write there does nothing

struct shared {
	volatile uint64_t stamp; // when the interrupt was signalled
	volatile uint32_t served; // how many were received
};

static uint64_t now(void) {
	struct timespec time;
	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1000000000ull + time.tv_nsec;
}

static void sleep_us(long us) {
	struct timespec time = {.tv_nsec = us * 1000};
	nanosleep(&time, NULL);
}

static int check(int result, const char *what) {
	if (result < 0) {
		fprintf(stderr, "bench.c: %s: %s\n", what, strerror(errno));
		exit(1);
	}
	return result;
}

static struct vfio_region_info region(int device, int index) {
	struct vfio_region_info info = {.argsz = sizeof info, .index = index};
	check(ioctl(device, VFIO_DEVICE_GET_REGION_INFO, &info), "VFIO_DEVICE_GET_REGION_INFO");
	return info;
}

static void set_eventfd(int device, int index, int eventfd) {
	char buffer[sizeof(struct vfio_irq_set) + sizeof(int)];
	struct vfio_irq_set *set = (void *)buffer;
	*set = (struct vfio_irq_set){.argsz = sizeof buffer,
								 .flags = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER,
								 .index = index,
								 .count = 1};
	memcpy(set->data, &eventfd, sizeof eventfd);
	check(ioctl(device, VFIO_DEVICE_SET_IRQS, set), "VFIO_DEVICE_SET_IRQS eventfd");
}

static void fire(int device, int index, int count) {
	struct vfio_irq_set set = {.argsz = sizeof set,
							   .flags = VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_TRIGGER,
							   .index = index,
							   .count = count};
	check(ioctl(device, VFIO_DEVICE_SET_IRQS, &set), "VFIO_DEVICE_SET_IRQS");
}

static int watch(int epoll) {
	int fd = check(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), "eventfd");
	struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
	check(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event), "epoll_ctl");
	return fd;
}

// The calls that VfioDevice.open() and AssignedFunction.attach() need, in their order.
static uint64_t open_device(const char *address, const char *group_number) {
	uint64_t start = now();
	char path[64];
	snprintf(path, sizeof path, "/dev/vfio/%s", group_number);
	int group = check(open(path, O_RDWR | O_CLOEXEC), path);
	struct vfio_group_status status = {.argsz = sizeof status};
	check(ioctl(group, VFIO_GROUP_GET_STATUS, &status), "VFIO_GROUP_GET_STATUS");
	int container = check(open("/dev/vfio/vfio", O_RDWR | O_CLOEXEC), "/dev/vfio/vfio");
	check(ioctl(container, VFIO_GET_API_VERSION), "VFIO_GET_API_VERSION");
	check(ioctl(group, VFIO_GROUP_SET_CONTAINER, &container), "VFIO_GROUP_SET_CONTAINER");
	check(ioctl(container, VFIO_CHECK_EXTENSION, VFIO_TYPE1v2_IOMMU), "VFIO_CHECK_EXTENSION");
	check(ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU), "VFIO_SET_IOMMU");
	int device = check(ioctl(group, VFIO_GROUP_GET_DEVICE_FD, address), "VFIO_GROUP_GET_DEVICE_FD");
	struct vfio_device_info info = {.argsz = sizeof info};
	check(ioctl(device, VFIO_DEVICE_GET_INFO, &info), "VFIO_DEVICE_GET_INFO");
	struct vfio_region_info config = region(device, VFIO_PCI_CONFIG_REGION_INDEX);
	static uint8_t registers[4096];
	check(pread(device, registers, config.size, config.offset), "pread");
	for (int index = 0; index < VFIO_PCI_CONFIG_REGION_INDEX; index++) {
		struct vfio_region_info bar = region(device, index);
		if (!(bar.flags & VFIO_REGION_INFO_FLAG_MMAP)) continue;
		if (mmap(NULL, bar.size, PROT_READ | PROT_WRITE, MAP_SHARED, device, bar.offset) == MAP_FAILED) check(-1, "mmap");
	}
	int epoll = check(epoll_create1(EPOLL_CLOEXEC), "epoll_create1");
	for (int index = 0; index < VFIO_PCI_NUM_IRQS; index++) {
		struct vfio_irq_info irq = {.argsz = sizeof irq, .index = index};
		if (ioctl(device, VFIO_DEVICE_GET_IRQ_INFO, &irq) < 0 || irq.count == 0) continue;
		if (index != VFIO_PCI_MSI_IRQ_INDEX && index != VFIO_PCI_MSIX_IRQ_INDEX) set_eventfd(device, index, watch(epoll));
	}
	return now() - start;
}

static double map_unmap(void *memory, uint64_t size, uint32_t count) {
	uint64_t start = now();
	for (uint32_t i = 0; i < count; i++) {
		struct vfio_iommu_type1_dma_map map = {.argsz = sizeof map,
											   .flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
											   .vaddr = (uintptr_t)memory,
											   .iova = IOVA,
											   .size = size};
		struct vfio_iommu_type1_dma_unmap unmap = {.argsz = sizeof unmap, .iova = IOVA, .size = size};
		check(ioctl(CONTAINER, VFIO_IOMMU_MAP_DMA, &map), "VFIO_IOMMU_MAP_DMA");
		check(ioctl(CONTAINER, VFIO_IOMMU_UNMAP_DMA, &unmap), "VFIO_IOMMU_UNMAP_DMA");
	}
	return (double)(now() - start) / count;
}

// Fires the first MSI, each time a while after the receiver has served the last one and sleeps again.
static double signal_interrupts(struct shared *shared, uint32_t count) {
	for (uint32_t i = 0; i < count; i++) {
		for (int wait = 0; shared->served != i; wait++) {
			if (wait == 100000) check((errno = ETIMEDOUT, -1), "waiting for the receiver");
			sleep_us(50);
		}
		sleep_us(500);
		shared->stamp = now();
		fire(DEVICE, VFIO_PCI_MSI_IRQ_INDEX, 1);
	}
	return 0;
}

static int by_value(const void *a, const void *b) {
	double x = *(const double *)a, y = *(const double *)b;
	return x < y ? -1 : x > y;
}

// The epoll loop of a C program. The line "ready" says that it can be signalled now.
static double receive_interrupts(struct shared *shared, uint32_t count) {
	double *samples = malloc(count * sizeof *samples);
	int epoll = check(epoll_create1(EPOLL_CLOEXEC), "epoll_create1"), fd = watch(epoll);
	set_eventfd(DEVICE, VFIO_PCI_MSI_IRQ_INDEX, fd);
	shared->served = 0;
	puts("ready");
	fflush(stdout);
	for (uint32_t i = 0; i < count; i++) {
		struct epoll_event event;
		uint64_t counter;
		check(epoll_wait(epoll, &event, 1, -1), "epoll_wait");
		check(read(event.data.fd, &counter, sizeof counter), "read");
		samples[i] = now() - shared->stamp;
		shared->served = i + 1;
	}
	fire(DEVICE, VFIO_PCI_MSI_IRQ_INDEX, 0); // switches it off
	close(fd), close(epoll);
	qsort(samples, count, sizeof *samples, by_value);
	double median = samples[count / 2];
	free(samples);
	return median;
}

static double measure(const char *name, uint32_t count, struct shared *shared) {
	static volatile uint32_t *bar;
	static uint8_t *memory;
	static struct vfio_region_info info, config;
	if (!bar) {
		info = region(DEVICE, VFIO_PCI_BAR0_REGION_INDEX), config = region(DEVICE, VFIO_PCI_CONFIG_REGION_INDEX);
		bar = mmap(NULL, info.size, PROT_READ | PROT_WRITE, MAP_SHARED, DEVICE, info.offset);
		memory = mmap(NULL, LARGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (bar == MAP_FAILED || memory == MAP_FAILED) check(-1, "mmap");
		memset(memory, 1, LARGE);
	}
	if (!strcmp(name, "map 4 KiB")) return map_unmap(memory, 4096, count);
	if (!strcmp(name, "map 64 MiB")) return map_unmap(memory, LARGE, count);
	if (!strcmp(name, "signal")) return signal_interrupts(shared, count);
	if (!strcmp(name, "receive")) return receive_interrupts(shared, count);

	uint32_t value;
	uint64_t start = now();
	if (!strcmp(name, "check extension"))
		for (uint32_t i = 0; i < count; i++) ioctl(CONTAINER, VFIO_CHECK_EXTENSION, VFIO_TYPE1v2_IOMMU);
	else if (!strcmp(name, "region info"))
		for (uint32_t i = 0; i < count; i++) ioctl(DEVICE, VFIO_DEVICE_GET_REGION_INFO, &info);
	else if (!strcmp(name, "config read"))
		for (uint32_t i = 0; i < count; i++) check(pread(DEVICE, &value, 4, config.offset + 8), "pread");
	else if (!strcmp(name, "BAR read"))
		for (uint32_t i = 0; i < count; i++) (void)bar[0];
	else if (!strcmp(name, "BAR write"))
		for (uint32_t i = 0; i < count; i++) bar[SCRATCH / 4] = i;
	else
		check((errno = EINVAL, -1), name);
	return (double)(now() - start) / count;
}

int main(int count, char **words) {
	if (count == 4 && !strcmp(words[1], "open")) {
		printf("%llu\n", (unsigned long long)open_device(words[2], words[3]));
		return 0;
	}
	if (count != 3 || strcmp(words[1], "serve")) return 2;
	int page = check(open(words[2], O_RDWR | O_CLOEXEC), words[2]);
	struct shared *shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, page, 0);
	if (shared == MAP_FAILED) check(-1, "mmap");
	char line[64];
	while (fgets(line, sizeof line, stdin)) {
		char *space = strrchr(line, ' ');
		if (!space) return 2;
		*space = 0;
		printf("%.1f\n", measure(line, (uint32_t)atoi(space + 1), shared));
		fflush(stdout);
	}
	return 0;
}
