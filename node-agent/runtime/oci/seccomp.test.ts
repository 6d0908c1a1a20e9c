import { expect } from "chai";
import { defaultSeccomp } from "./seccomp.ts";

/** Action for a call with these arguments: the first rule that matches, as libseccomp with one action per call. */
const actionOf = (capabilities: string[], name: string, args: number[] = []): string => {
  const { syscalls, defaultAction } = defaultSeccomp("x64", capabilities);
  const rule = syscalls.find(
    (r) =>
      r.names.includes(name) &&
      (r.args ?? []).every(({ index, value, valueTwo, op }) => {
        const actual = args[index] ?? 0;
        if (op === "SCMP_CMP_NE") return actual !== value;
        if (op === "SCMP_CMP_EQ") return actual === value;
        return (actual & value) === valueTwo;
      }),
  );
  return rule ? `${rule.action}${rule.errnoRet ?? ""}` : defaultAction;
};
const ALLOW = "SCMP_ACT_ALLOW";
const REFUSE = "SCMP_ACT_ERRNO";

describe("defaultSeccomp", () => {
  it("allows what programs live on", () => {
    for (const name of "read openat execve futex epoll_pwait2 socketpair connect rt_sigreturn statx ptrace getrandom".split(
      " ",
    ))
      expect(actionOf([], name), name).to.equal(ALLOW);
  });
  it("refuses the kernel's administration", () => {
    const names =
      "mount umount2 setns unshare bpf keyctl add_key init_module kexec_load reboot swapon pivot_root io_uring_setup";
    for (const name of names.split(" ")) expect(actionOf([], name), name).to.equal(REFUSE);
    expect(actionOf([], "userfaultfd")).to.equal(REFUSE);
  });
  it("lets clone make threads and processes, but no namespaces", () => {
    expect(actionOf([], "clone", [0x3d0f00])).to.equal(ALLOW);
    expect(actionOf([], "clone", [0x10000000])).to.equal(REFUSE);
    expect(actionOf([], "clone3")).to.equal("SCMP_ACT_ERRNO38");
    expect(actionOf(["CAP_SYS_ADMIN"], "clone", [0x10000000])).to.equal(ALLOW);
    expect(actionOf(["CAP_SYS_ADMIN"], "clone3")).to.equal(ALLOW);
  });
  it("keeps sockets of the hypervisor and odd personalities out", () => {
    expect(actionOf([], "socket", [2])).to.equal(ALLOW);
    expect(actionOf([], "socket", [40])).to.equal(REFUSE);
    expect(actionOf([], "personality", [0xffffffff])).to.equal(ALLOW);
    expect(actionOf([], "personality", [0x0040000])).to.equal(REFUSE);
  });
  it("unlocks calls by capabilities", () => {
    expect(actionOf(["CAP_SYS_ADMIN"], "mount")).to.equal(ALLOW);
    expect(actionOf([], "chroot")).to.equal(REFUSE);
    expect(actionOf(["CAP_SYS_CHROOT"], "chroot")).to.equal(ALLOW);
    expect(actionOf(["CAP_SYS_TIME"], "clock_settime")).to.equal(ALLOW);
  });
  it("has no name twice with the same condition", () => {
    for (const { names } of defaultSeccomp("arm64", ["CAP_SYS_ADMIN", "CAP_BPF"]).syscalls)
      expect(names).to.have.length(new Set(names).size);
  });
});
