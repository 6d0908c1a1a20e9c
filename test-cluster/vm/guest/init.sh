# Makes the guest a plain host: kernel file systems, nothing but cgroup v2, the project at /project, loopback. tini reaps.
set -e
export PATH=/project/node_modules/.bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mkdir -p /dev/pts /dev/shm
mount -t devpts -o gid=5,mode=620,ptmxmode=666 devpts /dev/pts
mount -t tmpfs -o mode=1777 shm /dev/shm
mount -t tmpfs -o mode=755 run /run
mount -t tmpfs -o mode=1777 tmp /tmp
mount -t erofs -o ro /dev/vdb /project
ln -s /proc/self/fd /dev/fd
echo tswarm-vm >/proc/sys/kernel/hostname
ip link set lo up
# No udev here: what is not asked for by name is loaded by hand.
modprobe -a virtio_console aesni_intel tun
cd /project
exec tini-static -- sh /guest/serve.sh
