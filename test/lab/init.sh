#!/bin/busybox sh
# PID 1 of the lab's guest: makes the host's own file system its root, read-only under a layer of memory, runs the job,
# leaves its exit code in the job's folder, and powers off.
bb=/bin/busybox
$bb mount -t proc proc /proc
$bb mount -t sysfs sysfs /sys
$bb mount -t devtmpfs dev /dev 2>/dev/null
while read -r module; do $bb insmod "/modules/$module" || echo "lab: cannot load $module"; done </modules/order

for word in $($bb cat /proc/cmdline); do
	case $word in lab.modules=*) modules=${word#lab.modules=} ;; esac
done
options=trans=virtio,version=9p2000.L,msize=512000
$bb mount -t 9p -o $options,ro,cache=loose root /ro || echo "lab: no root"
$bb mount -t tmpfs tmpfs /rw
$bb mkdir /rw/upper /rw/work
$bb mount -t overlay -o lowerdir=/ro,upperdir=/rw/upper,workdir=/rw/work overlay /newroot || echo "lab: no overlay"
for folder in proc sys dev; do
	$bb mkdir -p /newroot/$folder
	$bb mount --move /$folder /newroot/$folder
done
$bb mkdir -p /newroot/job /newroot/tmp /newroot/run /newroot/dev/shm /newroot/dev/pts /newroot/lib/modules
$bb mount -t tmpfs tmpfs /newroot/dev/shm
$bb mount -t 9p -o $options,cache=none job /newroot/job || echo "lab: no job folder"
release=$($bb uname -r)
$bb rm -rf "/newroot/lib/modules/$release"
$bb mkdir -p "/newroot/lib/modules/$release"
$bb mount -o bind "/newroot$modules" "/newroot/lib/modules/$release" || echo "lab: no modules"
$bb cp $bb /newroot/run/busybox
echo "lab: job starts after $($bb cut -d' ' -f1 /newroot/proc/uptime) s"
$bb chroot /newroot /run/busybox sh /job/job.sh
code=$?
echo $code >/newroot/job/exit-code
echo "lab: job ended with $code after $($bb cut -d' ' -f1 /newroot/proc/uptime) s"
$bb sync
$bb umount /newroot/job
$bb poweroff -f
