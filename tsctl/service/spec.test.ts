import { expect } from "chai";
import { TswarmError } from "#base/errors.ts";
import {
  EndpointMode,
  FailureAction,
  NetworkAttachmentConfig,
  RestartCondition,
  ServiceSpec,
  UpdateOrder,
} from "#proto/gen/types.ts";
import type { ServiceFlags } from "#tsctl/service/flags.ts";
import { changedServiceSpec, newServiceSpec } from "#tsctl/service/spec.ts";

const context = { env: { HERE: "yes" }, networkId: (name: string) => (name === "backend" ? "id1" : name) };
const attached = NetworkAttachmentConfig.fromPartial;
const create = (flags: ServiceFlags) => newServiceSpec("i", [], flags, context);
const refusals = (flags: ServiceFlags): string[] => {
  try {
    create(flags);
  } catch (error) {
    if (error instanceof TswarmError) return error.issues.map((i) => `${i.field}: ${i.reason}`);
    throw error;
  }
  return [];
};

describe("flags of service create", () => {
  it("has Docker's defaults", () =>
    expect(newServiceSpec("localhost/web:1", ["a", "-b"], {}, context)).to.deep.equal(
      ServiceSpec.fromPartial({
        annotations: {},
        task: { container: { image: "localhost/web:1", args: ["a", "-b"] }, placement: {} },
        replicas: 1,
        endpointMode: EndpointMode.VIP,
      }),
    ));

  const container: [ServiceFlags, object][] = [
    [{ env: ["A=1", "B=x=y", "HERE", "GONE"] }, { env: { A: "1", B: "x=y", HERE: "yes" } }],
    [{ containerLabel: ["a=b", "c"] }, { labels: { a: "b", c: "" } }],
    [{ entrypoint: "sh -c 'x y'" }, { command: ["sh", "-c", "x y"] }],
    [
      { workdir: "/w", user: "1:2", hostname: "h", tty: true, init: true, readOnly: true },
      { dir: "/w", user: "1:2", hostname: "h", tty: true, init: true, readOnly: true },
    ],
    [
      { stopSignal: "SIGINT", stopGracePeriod: "1m30s" },
      { stopSignal: "SIGINT", stopGraceMs: 90_000 },
    ],
    [
      { capAdd: ["NET_ADMIN"], capDrop: ["ALL"] },
      { capAdd: ["NET_ADMIN"], capDrop: ["ALL"] },
    ],
    [{ sysctl: ["net.core.somaxconn=9"] }, { sysctls: { "net.core.somaxconn": "9" } }],
    [
      { host: ["a:10.0.0.1"], dns: ["1.1.1.1"], dnsOption: ["ndots:1"], dnsSearch: ["x"] },
      { hosts: ["a:10.0.0.1"], dns: ["1.1.1.1"], dnsOptions: ["ndots:1"], dnsSearch: ["x"] },
    ],
    [
      { mount: ["type=bind,src=/a,dst=/b,ro", "type=tmpfs,target=/t,tmpfs-size=1m"] },
      {
        mounts: [
          { type: "bind", source: "/a", target: "/b", readOnly: true, tmpfsSizeBytes: 0 },
          { type: "tmpfs", source: "", target: "/t", readOnly: false, tmpfsSizeBytes: 1 << 20 },
        ],
      },
    ],
  ];
  for (const [flags, expected] of container)
    it(JSON.stringify(flags), () => expect(create(flags).task!.container).to.deep.include(expected));

  const task: [ServiceFlags, object][] = [
    [
      { limitCpu: "0.5", limitMemory: "64m", limitPids: "9" },
      { limits: { nanoCpus: 5e8, memoryBytes: 64 << 20, pids: 9 } },
    ],
    [{ reserveCpu: "2" }, { reservations: { nanoCpus: 2e9, memoryBytes: 0, pids: 0 } }],
    [
      { restartCondition: "none" },
      { restart: { condition: RestartCondition.RESTART_NONE, delayMs: 5_000, maxAttempts: 0, windowMs: 0 } },
    ],
    [
      { restartDelay: "0", restartMaxAttempts: "2", restartWindow: "1m" },
      { restart: { condition: RestartCondition.RESTART_ANY, delayMs: 0, maxAttempts: 2, windowMs: 60_000 } },
    ],
    [
      { constraint: ["node.role==worker"], placementPref: ["spread=node.labels.dc"], replicasMaxPerNode: "1" },
      { placement: { constraints: ["node.role==worker"], spread: ["node.labels.dc"], maxReplicasPerNode: 1 } },
    ],
    [
      { network: ["backend", "name=front,alias=a,alias=b"] },
      {
        networks: [attached({ target: "backend" }), attached({ target: "front", aliases: ["a", "b"] })],
      },
    ],
  ];
  for (const [flags, expected] of task)
    it(JSON.stringify(flags), () => expect(create(flags).task).to.deep.include(expected));

  it("reads all of an attachment", () => {
    const written = [
      "name=back,alias=a,ip=10.0.0.8,ip=10.0.0.10-10.0.0.11,ip6=fd00::1,mac-address=02:42:0a:00:00:05,interface=data0",
      "gw-priority=-3,sysctl=net.ipv4.conf.IFNAME.log_martians=1,driver-opt=com.docker.network.endpoint.ifname=data1",
      '"driver-opt=com.docker.network.endpoint.sysctls=net.ipv4.conf.IFNAME.arp_announce=2,net.ipv6.conf.IFNAME.mtu=1300"',
    ];
    expect(create({ network: [written.join(",")] }).task!.networks).to.deep.equal([
      attached({
        target: "back",
        aliases: ["a"],
        ipv4: ["10.0.0.8", "10.0.0.10", "10.0.0.11"],
        ipv6: ["fd00::1"],
        mac: "02:42:0a:00:00:05",
        interfaceName: "data1",
        gatewayPriority: -3,
        sysctls: {
          "net.ipv4.conf.IFNAME.log_martians": "1",
          "net.ipv4.conf.IFNAME.arp_announce": "2",
          "net.ipv6.conf.IFNAME.mtu": "1300",
        },
      }),
    ]);
  });

  it("keeps the time for connections to end apart from its absence", () => {
    expect(create({}).task!.drainMs).to.equal(undefined);
    expect(create({ drainTimeout: "0" }).task!.drainMs).to.equal(0);
    expect(create({ drainTimeout: "1m" }).task!.drainMs).to.equal(60_000);
  });

  it("fills policies of which a part is given", () => {
    const spec = create({
      name: "web",
      label: ["a=b"],
      replicas: "6",
      endpointMode: "dnsrr",
      updateParallelism: "0",
      updateOrder: "start-first",
      updateFailureAction: "rollback",
      rollbackDelay: "2s",
      rollbackMaxFailureRatio: "0.25",
      rollbackMonitor: "1s",
    });
    expect(spec).to.deep.include({
      annotations: { name: "web", labels: { a: "b" } },
      replicas: 6,
      endpointMode: EndpointMode.DNSRR,
      update: {
        parallelism: 0,
        delayMs: 0,
        failureAction: FailureAction.FAILURE_ROLLBACK,
        monitorMs: 5_000,
        maxFailureRatio: 0,
        order: UpdateOrder.START_FIRST,
      },
      rollback: {
        parallelism: 1,
        delayMs: 2_000,
        failureAction: FailureAction.FAILURE_PAUSE,
        monitorMs: 1_000,
        maxFailureRatio: 0.25,
        order: UpdateOrder.STOP_FIRST,
      },
    });
  });

  const refused: [ServiceFlags, string][] = [
    [{ replicas: "-1" }, '--replicas: "-1" is not a whole number of 0 or more'],
    [{ limitCpu: "much" }, '--limit-cpu: "much" is not a number of CPUs'],
    [{ limitMemory: "1x" }, '--limit-memory: "1x" is not a size'],
    [{ updateDelay: "5" }, '--update-delay: "5" is not a duration'],
    [{ updateMaxFailureRatio: "2" }, '--update-max-failure-ratio: "2" is not a ratio'],
    [{ updateOrder: "both" }, '--update-order: "both" is not one of its values'],
    [{ rollbackFailureAction: "rollback" }, '--rollback-failure-action: "rollback" is not one of its values'],
    [{ restartCondition: "always" }, '--restart-condition: "always" is not one of its values'],
    [{ endpointMode: "lb" }, '--endpoint-mode: "lb" is not one of its values'],
    [{ mode: "global" }, '--mode: "global" is not one of its values'],
    [{ env: ["=x"] }, '--env: "=x" has no name'],
    [{ host: ["nohost"] }, '--host: "nohost" is not a host'],
    [{ placementPref: ["binpack"] }, '--placement-pref: "binpack" is not a preference'],
    [{ entrypoint: "'open" }, "--entrypoint: a quote is not closed"],
    [{ network: ["name=a,driver-opt=x"] }, "--network: there is no option x"],
    [{ network: ["name=a,link=x"] }, '--network: "link" is not supported in "name=a,link=x"'],
    [{ network: ["alias=a"] }, '--network: "alias=a" names no network'],
    [{ network: ["name=a,ip=x"] }, '--network: "x" is not an address'],
    [{ network: ["name=a,ip6=fd00::1-fd00:1::"] }, '--network: "fd00::1-fd00:1::" is not an address'],
    [{ network: ["name=a,gw-priority=x"] }, '--network: "x" is not a whole number'],
    [{ drainTimeout: "5" }, '--drain-timeout: "5" is not a duration'],
    [{ network: ["a", "a"] }, '--network: the service is attached to "a" already'],
    [{ mount: ["type=volume,src=v,dst=/v"] }, "--mount: mounts of type volume are not supported by this version"],
    [{ mount: ["type=bind,src=a,dst=/v"] }, '--mount: "type=bind,src=a,dst=/v" has no absolute source'],
    [{ mount: ["type=tmpfs"] }, '--mount: "type=tmpfs" has no absolute target'],
  ];
  for (const [flags, expected] of refused)
    it(`refuses ${JSON.stringify(flags)}`, () => expect(refusals(flags)).to.deep.equal([expected]));

  it("tells all that is wrong", () =>
    expect(refusals({ replicas: "x", env: ["=1"], updateDelay: "?" })).to.have.length(3));
});

describe("flags of service update", () => {
  const before = ServiceSpec.fromPartial({
    annotations: { name: "web", labels: { a: "1", b: "2" } },
    task: {
      container: {
        image: "i:1",
        imageDigest: "sha256:1",
        args: ["old"],
        env: { A: "1", B: "2" },
        capDrop: ["NET_RAW"],
        hosts: ["a:10.0.0.1"],
        mounts: [{ type: "tmpfs", target: "/t" }],
      },
      limits: { nanoCpus: 1e9, memoryBytes: 5 },
      placement: { constraints: ["node.role==worker"], spread: ["x"] },
      networks: [{ target: "id1", aliases: ["w"] }],
      forceUpdate: 3,
    },
    replicas: 4,
    update: {
      parallelism: 2,
      monitorMs: 7,
      failureAction: FailureAction.FAILURE_CONTINUE,
      order: UpdateOrder.START_FIRST,
    },
  });
  const change = (flags: ServiceFlags) => changedServiceSpec(before, flags, context);

  it("changes nothing without flags", () => expect(change({})).to.deep.equal(before));
  it("adds and removes", () => {
    const after = change({
      envAdd: ["C=3", "A=9"],
      envRm: ["B"],
      labelAdd: ["c="],
      labelRm: ["a"],
      constraintAdd: ["node.id==x"],
      constraintRm: ["node.role==worker"],
      placementPrefRm: ["spread=x"],
      hostRm: ["a:10.0.0.1"],
      mountRm: ["/t"],
      networkAdd: ["front"],
      networkRm: ["backend"],
      capAdd: ["NET_RAW"],
    });
    expect(after.annotations!.labels).to.deep.equal({ b: "2", c: "" });
    expect(after.task!.placement).to.deep.equal({ constraints: ["node.id==x"], spread: [], maxReplicasPerNode: 0 });
    expect(after.task!.networks).to.deep.equal([attached({ target: "front" })]);
    expect(after.task!.container).to.deep.include({
      env: { A: "9", C: "3" },
      hosts: [],
      mounts: [],
      capAdd: ["NET_RAW"],
      capDrop: [],
    });
    expect(before.task!.container!.env).to.deep.equal({ A: "1", B: "2" });
  });
  it("knows an attached network by its name", () =>
    expect(() => change({ networkAdd: ["backend"] })).to.throw('attached to "backend" already'));
  it("keeps the rest of resources and policies", () => {
    const after = change({ limitMemory: "1k", updateParallelism: "5" });
    expect(after.task!.limits).to.deep.equal({ nanoCpus: 1e9, memoryBytes: 1024, pids: 0 });
    expect(after.update).to.deep.equal({ ...before.update, parallelism: 5 });
  });
  it("has a new image pinned anew, and forces", () => {
    expect(change({ image: "i:2" }).task!.container).to.deep.include({ image: "i:2", imageDigest: "" });
    expect(change({ args: "new 'a b'" }).task!.container!.args).to.deep.equal(["new", "a b"]);
    expect(change({ force: true }).task!.forceUpdate).to.equal(4);
  });
});
