// The system calls of an unprivileged container, with the same effect as Docker's default profile: an allow list with EPERM for
// the rest, and calls that a capability unlocks. Names that the running libseccomp does not know are skipped by the runtime.
// Grouped by what they are for, so that a reader can judge a group instead of 350 names.

const PLAIN: Readonly<Record<string, string>> = {
  files: `access faccessat faccessat2 open openat openat2 creat close close_range read readv pread64 preadv preadv2 write writev
    pwrite64 pwritev pwritev2 lseek _llseek dup dup2 dup3 fcntl fcntl64 flock ftruncate ftruncate64 truncate truncate64 fallocate
    fsync fdatasync sync syncfs sync_file_range sync_file_range2 arm_sync_file_range readahead fadvise64 fadvise64_64
    arm_fadvise64_64 copy_file_range sendfile sendfile64 splice tee vmsplice pipe pipe2 memfd_create memfd_secret ioctl cachestat`,
  names: `chdir fchdir getcwd chmod fchmod fchmodat fchmodat2 chown chown32 fchown fchown32 fchownat lchown lchown32 link linkat
    symlink symlinkat readlink readlinkat rename renameat renameat2 unlink unlinkat mkdir mkdirat rmdir mknod mknodat umask
    getdents getdents64 stat stat64 fstat fstat64 fstatat64 newfstatat lstat lstat64 statx statfs statfs64 fstatfs fstatfs64
    utime utimes utimensat utimensat_time64 futimesat name_to_handle_at getxattr lgetxattr fgetxattr getxattrat setxattr lsetxattr
    fsetxattr setxattrat listxattr llistxattr flistxattr listxattrat removexattr lremovexattr fremovexattr removexattrat
    inotify_init inotify_init1 inotify_add_watch inotify_rm_watch fanotify_mark`,
  memory: `brk mmap mmap2 munmap mremap mprotect msync madvise mincore mlock mlock2 munlock mlockall munlockall
    remap_file_pages map_shadow_stack mseal pkey_alloc pkey_free pkey_mprotect membarrier process_mrelease`,
  processes: `execve execveat exit exit_group fork vfork wait4 waitid waitpid kill tkill tgkill getpid getppid gettid getpgid
    getpgrp setpgid getsid setsid pidfd_open pidfd_send_signal prctl arch_prctl set_thread_area get_thread_area set_tid_address
    set_robust_list get_robust_list rseq capget capset getpriority setpriority ioprio_get ioprio_set sched_yield sched_getaffinity
    sched_setaffinity sched_getattr sched_setattr sched_getparam sched_setparam sched_getscheduler sched_setscheduler
    sched_get_priority_max sched_get_priority_min sched_rr_get_interval sched_rr_get_interval_time64 getrusage getrlimit ugetrlimit
    setrlimit prlimit64 getcpu restart_syscall seccomp landlock_create_ruleset landlock_add_rule landlock_restrict_self
    uretprobe modify_ldt`,
  users: `getuid getuid32 geteuid geteuid32 getgid getgid32 getegid getegid32 getgroups getgroups32 setgroups setgroups32 getresuid
    getresuid32 getresgid getresgid32 setuid setuid32 setgid setgid32 setreuid setreuid32 setregid setregid32 setresuid
    setresuid32 setresgid setresgid32 setfsuid setfsuid32 setfsgid setfsgid32`,
  signals: `rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_tgsigqueueinfo rt_sigreturn sigreturn sigprocmask
    rt_sigsuspend rt_sigtimedwait rt_sigtimedwait_time64 sigaltstack pause signalfd signalfd4 alarm`,
  waiting: `select _newselect pselect6 pselect6_time64 poll ppoll ppoll_time64 epoll_create epoll_create1 epoll_ctl epoll_ctl_old
    epoll_wait epoll_wait_old epoll_pwait epoll_pwait2 eventfd eventfd2 futex futex_time64 futex_waitv futex_wait futex_wake
    futex_requeue io_setup io_submit io_cancel io_destroy io_getevents io_pgetevents io_pgetevents_time64`,
  time: `time times clock_adjtime clock_adjtime64 gettimeofday clock_gettime clock_gettime64 clock_getres clock_getres_time64 clock_nanosleep
    clock_nanosleep_time64 nanosleep adjtimex getitimer setitimer timer_create timer_delete timer_getoverrun timer_gettime
    timer_gettime64 timer_settime timer_settime64 timerfd_create timerfd_gettime timerfd_gettime64 timerfd_settime
    timerfd_settime64`,
  sockets: `socketcall socketpair bind listen accept accept4 connect shutdown getsockname getpeername getsockopt setsockopt send
    sendto sendmsg sendmmsg recv recvfrom recvmsg recvmmsg recvmmsg_time64`,
  ipc: `ipc msgctl msgget msgrcv msgsnd semctl semget semop semtimedop semtimedop_time64 shmat shmctl shmdt shmget mq_open mq_unlink
    mq_timedsend mq_timedsend_time64 mq_timedreceive mq_timedreceive_time64 mq_notify mq_getsetattr`,
  system: "uname sysinfo getrandom",
  // The kernel checks ptrace access itself since 4.8, when seccomp stopped being a way around it.
  tracing: `ptrace process_vm_readv process_vm_writev`,
};

const ARM: Readonly<Record<string, string>> = { arm64: "breakpoint cacheflush set_tls", x64: "" };

const BY_CAPABILITY: Readonly<Record<string, string>> = {
  CAP_DAC_READ_SEARCH: "open_by_handle_at",
  CAP_SYS_ADMIN: `bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie mount mount_setattr move_mount
    open_tree perf_event_open quotactl quotactl_fd setdomainname sethostname setns syslog umount umount2 unshare`,
  CAP_SYS_BOOT: "reboot",
  CAP_SYS_CHROOT: "chroot",
  CAP_SYS_MODULE: "delete_module init_module finit_module",
  CAP_SYS_PACCT: "acct",
  CAP_SYS_PTRACE: "kcmp pidfd_getfd process_madvise",
  CAP_SYS_RAWIO: "iopl ioperm",
  CAP_SYS_TIME: "settimeofday stime clock_settime clock_settime64",
  CAP_SYS_TTY_CONFIG: "vhangup",
  CAP_SYS_NICE: "get_mempolicy mbind set_mempolicy set_mempolicy_home_node migrate_pages move_pages",
  CAP_SYSLOG: "syslog",
  CAP_BPF: "bpf",
  CAP_PERFMON: "perf_event_open",
};

type Condition = { index: number; value: number; valueTwo?: number; op: string };
export type SyscallRule = { names: string[]; action: string; errnoRet?: number; args?: Condition[] };
export type Seccomp = {
  defaultAction: string;
  defaultErrnoRet: number;
  architectures: string[];
  syscalls: SyscallRule[];
};

const EPERM = 1;
const ENOSYS = 38;
const AF_VSOCK = 40;
/** CLONE_NEWNS | NEWCGROUP | NEWUTS | NEWIPC | NEWUSER | NEWPID | NEWNET (linux/sched.h). */
const CLONE_NAMESPACES = 0x7e020000;
/** linux/personality.h: PER_LINUX, PER_LINUX32, UNAME26, PER_LINUX32 | UNAME26, and "tell me the present one". */
const PERSONALITIES = [0x0, 0x8, 0x20000, 0x20008, 0xffffffff];

const split = (text: string): string[] => text.split(/\s+/).filter((name) => name !== "");
const allow = (names: string[], args?: Condition[]): SyscallRule => ({
  names,
  action: "SCMP_ACT_ALLOW",
  ...(args && { args }),
});

/** The filter for a container with these capabilities on this machine (`process.arch` names). */
export const defaultSeccomp = (arch: "x64" | "arm64", capabilities: readonly string[]): Seccomp => {
  const unlocked = Object.entries(BY_CAPABILITY).flatMap(([name, calls]) =>
    capabilities.includes(name) ? split(calls) : [],
  );
  const rules = [
    allow([...new Set([...Object.values(PLAIN).flatMap(split), ...split(ARM[arch]!), ...unlocked])]),
    // Programs must not reach the hypervisor's sockets past the container's network.
    allow(["socket"], [{ index: 0, value: AF_VSOCK, op: "SCMP_CMP_NE" }]),
    ...PERSONALITIES.map((value) => allow(["personality"], [{ index: 0, value, op: "SCMP_CMP_EQ" }])),
  ];
  if (!capabilities.includes("CAP_SYS_ADMIN")) {
    rules.push(allow(["clone"], [{ index: 0, value: CLONE_NAMESPACES, valueTwo: 0, op: "SCMP_CMP_MASKED_EQ" }]));
    // clone3 passes its flags in memory, where seccomp can't look: ENOSYS makes the C library fall back to clone.
    rules.push({ names: ["clone3"], action: "SCMP_ACT_ERRNO", errnoRet: ENOSYS });
  }
  return {
    defaultAction: "SCMP_ACT_ERRNO",
    defaultErrnoRet: EPERM,
    architectures:
      arch === "x64" ? ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"] : ["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"],
    syscalls: rules,
  };
};
