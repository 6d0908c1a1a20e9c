import { expect } from "chai";
import type { ContainerSpec } from "../runtime.ts";
import { execProcess, type HostFacts, ociConfig } from "./bundle.ts";
import { ALL_CAPABILITIES } from "./capabilities.ts";

const host: HostFacts = {
  ...{
    arch: "x64",
    capabilities: ALL_CAPABILITIES,
    maxOpenFiles: 4096,
    cgroupParent: "tswarm",
    initPath: "/usr/bin/tini",
  },
};
const root = { uid: 0, gid: 0, additionalGids: [], home: "/root" };
const web = { uid: 33, gid: 34, additionalGids: [34, 50], home: "/srv" };
const spec = (changes: Partial<ContainerSpec> = {}): ContainerSpec => ({
  ...{ id: "t1", taskName: "web.1.t1", rootfs: "/r", netns: { path: "/run/netns/x" }, hostname: "h", args: ["a", "b"] },
  ...{ env: [], cwd: "", user: "", tty: false, readOnly: false, init: false, mounts: [], files: [] },
  ...{
    limits: { memoryBytes: 0, nanoCpus: 0, pids: 0 },
    capAdd: [],
    capDrop: [],
    sysctls: {},
    labels: {},
    logPath: "/l",
  },
  ...changes,
});

describe("ociConfig", () => {
  it("has the namespaces of its own, and joins the network's", () => {
    const { namespaces } = ociConfig(spec(), root, host).linux;
    expect(namespaces.map((n) => n.type)).to.have.members(["pid", "ipc", "uts", "mount", "cgroup", "network"]);
    expect(namespaces.find((n) => n.type === "network")?.path).to.equal("/run/netns/x");
  });

  it("leaves the host's network alone when it shares it", () => {
    const { linux } = ociConfig(spec({ netns: "host" }), root, host);
    expect(linux.namespaces.map((n) => n.type)).to.not.include("network");
    expect(linux.sysctl).to.deep.equal({});
  });

  it("writes limits only where there are some", () => {
    expect(ociConfig(spec(), root, host).linux.resources).to.have.all.keys("devices");
    const limits = { memoryBytes: 1e6, nanoCpus: 1.5e9, pids: 9 };
    expect(ociConfig(spec({ limits }), root, host).linux.resources).to.deep.include({
      memory: { limit: 1e6, swap: 2e6 },
      cpu: { period: 100_000, quota: 150_000 },
      pids: { limit: 9 },
    });
    const little = { memoryBytes: 0, nanoCpus: 1e6, pids: 0 };
    expect(ociConfig(spec({ limits: little }), root, host).linux.resources.cpu?.quota).to.equal(1000);
  });

  it("gives a user the bounding set only", () => {
    const { capabilities } = ociConfig(spec(), web, host).process;
    expect(capabilities.effective).to.deep.equal([]);
    expect(capabilities.bounding).to.include("CAP_CHOWN");
  });

  it("does not ask for more open files than the agent has", () => {
    expect(ociConfig(spec(), root, host).process.rlimits[0]).to.deep.include({ soft: 4096, hard: 4096 });
  });

  it("orders mounts by depth, and lets a user's replace a system one", () => {
    const mount = (target: string) => ({ type: "bind", source: "/s", target, readOnly: true, tmpfsSizeBytes: 0 });
    const mounts = [mount("/a/b"), mount("/a"), mount("/dev/shm")];
    const config = ociConfig(spec({ mounts }), root, host);
    const targets = config.mounts.map((m) => m.destination);
    expect(targets.indexOf("/a")).to.be.below(targets.indexOf("/a/b"));
    expect(config.mounts.filter((m) => m.destination === "/dev/shm")).to.deep.equal([
      { destination: "/dev/shm", type: "bind", source: "/s", options: ["rbind", "rprivate", "ro"] },
    ]);
  });

  it("starts through the init when asked", () => {
    const config = ociConfig(spec({ init: true }), root, host);
    expect(config.process.args).to.deep.equal(["/sbin/docker-init", "--", "a", "b"]);
    expect(config.mounts.find((m) => m.destination === "/sbin/docker-init")?.source).to.equal("/usr/bin/tini");
  });

  it("completes the environment without touching what the spec sets", () => {
    expect(ociConfig(spec({ env: ["PATH=/x", "HOME="] }), web, host).process.env).to.deep.equal([
      "HOSTNAME=h",
      "PATH=/x",
      "HOME=",
    ]);
    const [path, ...others] = ociConfig(spec({ tty: true }), web, host).process.env;
    expect(path).to.match(/^PATH=\/usr\/local\/sbin:/);
    expect(others).to.deep.equal(["HOSTNAME=h", "TERM=xterm", "HOME=/srv"]);
  });
});

describe("execProcess", () => {
  const container = ociConfig(spec({ env: ["A=1", "B=1"] }), root, host).process;
  it("inherits what the caller does not change", () => {
    const change = { args: ["x"], env: ["B=2"], cwd: undefined, tty: false };
    const process = execProcess(container, change, undefined, undefined);
    expect(process).to.deep.include({
      args: ["x"],
      cwd: "/",
      user: container.user,
      capabilities: container.capabilities,
    });
    expect(process.env.filter((e) => /^[AB]=/.test(e))).to.deep.equal(["A=1", "B=2"]);
  });
  it("changes user, home and terminal together", () => {
    const change = { args: ["x"], env: [], cwd: "/t", tty: true };
    const process = execProcess(container, change, web, { columns: 9, rows: 8 });
    expect(process).to.deep.include({ cwd: "/t", terminal: true, consoleSize: { height: 8, width: 9 } });
    expect(process.user).to.deep.equal({ uid: 33, gid: 34, additionalGids: [34, 50] });
    expect(process.env).to.include("HOME=/srv").and.include("TERM=xterm").and.not.include("HOME=/root");
    expect(process.capabilities.effective).to.deep.equal([]);
  });
});
