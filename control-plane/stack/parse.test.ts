// biome-ignore-all lint/suspicious/noTemplateCurlyInString: variables of stack files look like that
import { readFileSync } from "node:fs";
import { expect } from "chai";
import { TswarmError } from "#base/errors.ts";
import { parseStack } from "#control-plane/stack/parse.ts";
import {
  EndpointMode,
  FailureAction,
  NetworkAttachmentConfig,
  NetworkSpec,
  PortMode,
  PortProtocol,
  RestartCondition,
  UpdateOrder,
} from "#proto/gen/types.ts";

const refusals = (yaml: string, env: Record<string, string> = {}): string[] => {
  try {
    parseStack(yaml, { name: "s", env });
  } catch (error) {
    if (!(error instanceof TswarmError)) throw error;
    expect(error.code).to.equal("invalid");
    return error.issues.map((i) => `${i.field}: ${i.reason}`);
  }
  return [];
};
const attached = NetworkAttachmentConfig.fromPartial;
const service = (lines: string) => `services:\n  a:\n    image: i\n${lines.replace(/^/gm, "    ")}\n`;

describe("stack file", () => {
  for (const [what, yaml, reason] of [
    ["an alias without an anchor", "services: *a\n", "file: Unresolved alias"],
    ["an anchor that contains itself", "services: &a {b: *a}\n", "it is nested too deeply"],
    ["brackets without end", `services: ${"[".repeat(20_000)}`, "line 1: "],
  ] as const)
    it(`refuses ${what}`, () => expect(refusals(yaml).join("\n")).to.contain(reason));

  it("reads the example stack", () => {
    const yaml = readFileSync(new URL("../../deploy/stacks/demo.yaml", import.meta.url), "utf8");
    const stack = parseStack(yaml, { name: "demo" });
    expect(stack.networks.map((n) => [n.annotations?.name, n.driver, n.ipv4])).to.deep.equal([
      ["demo_backend", "overlay", true],
    ]);
    expect(
      stack.services.map((s) => [
        s.annotations?.name,
        s.task?.container?.image,
        s.replicas,
        s.task?.container?.args,
        s.task?.networks,
      ]),
    ).to.deep.equal([
      ["demo_web", "localhost/web:1", 3, [], [attached({ target: "demo_backend", aliases: ["web"] })]],
      ["demo_cache", "localhost/cache:1", 1, [], [attached({ target: "demo_backend", aliases: ["cache"] })]],
      [
        "demo_client",
        "localhost/tools:1",
        3,
        ["sleep", "infinity"],
        [attached({ target: "demo_backend", aliases: ["client"] })],
      ],
    ]);
  });

  it("reads every supported key", () => {
    const { networks, services } = parseStack(
      `
version: "3.8"
name: ignored-when-given
x-common: &common { anything: [goes] }
x-env: &env { LEVEL: info, DEBUG: }
services:
  db:
    image: "localhost/db:\${TAG:-7}"
    command: run --name 'a b'
    entrypoint: [/bin/start, -v]
    environment: { <<: *env, PORT: 5432, FROM: }
    networks:
      front: { aliases: [database, db] }
      old:
    hostname: h
    labels: [tier=data]
    stop_grace_period: 1m30s
    stop_signal: SIGINT
    working_dir: /srv
    user: "1000:1000"
    read_only: true
    init: true
    tty: true
    cap_add: [NET_ADMIN]
    cap_drop: [ALL]
    sysctls: { net.core.somaxconn: 1024 }
    extra_hosts: ["a:10.0.0.1", "b=10.0.0.2", "c:fd00::1"]
    dns: 10.0.0.53
    dns_search: [example.org]
    dns_opt: [ndots:1]
    x-note: mine
    deploy:
      mode: replicated
      replicas: \${N:-2}
      endpoint_mode: dnsrr
      labels: { team: core }
      resources:
        limits: { cpus: "0.50", memory: 64M, pids: 100 }
        reservations: { cpus: 0.25, memory: 1g }
      restart_policy: { condition: on-failure, delay: 1s, max_attempts: 3, window: 2m }
      update_config: { parallelism: 0, delay: 10s, failure_action: rollback, monitor: 500ms, max_failure_ratio: 0.1, order: start-first }
      rollback_config: { parallelism: 2 }
      placement:
        constraints: ["node.role==worker"]
        preferences: [{ spread: node.labels.dc }]
        max_replicas_per_node: 1
networks:
  front:
    driver: overlay
    driver_opts: { mtu: 1400 }
    attachable: true
    internal: true
    enable_ipv6: true
    labels: { a: b }
    ipam: { driver: default, config: [{ subnet: 10.9.0.0/24, gateway: 10.9.0.1, ip_range: 10.9.0.128/25 }, { subnet: "fd00::/64" }] }
  old: { external: true, name: legacy }
`,
      { name: "s", env: { FROM: "outside" } },
    );
    const [s] = services;
    const c = s!.task!.container!;
    expect(c).to.deep.include({
      image: "localhost/db:7",
      args: ["run", "--name", "a b"],
      command: ["/bin/start", "-v"],
      env: { LEVEL: "info", PORT: "5432", FROM: "outside" },
      hostname: "h",
      labels: { tier: "data", "com.docker.stack.namespace": "s" },
      stopGraceMs: 90_000,
      stopSignal: "SIGINT",
      dir: "/srv",
      user: "1000:1000",
      readOnly: true,
      init: true,
      tty: true,
      capAdd: ["NET_ADMIN"],
      capDrop: ["ALL"],
      sysctls: { "net.core.somaxconn": "1024" },
      hosts: ["a:10.0.0.1", "b:10.0.0.2", "c:fd00::1"],
      dns: ["10.0.0.53"],
      dnsSearch: ["example.org"],
      dnsOptions: ["ndots:1"],
    });
    expect(s).to.deep.include({
      annotations: { name: "s_db", labels: { team: "core", "com.docker.stack.namespace": "s" } },
      replicas: 2,
      endpointMode: EndpointMode.DNSRR,
      update: {
        parallelism: 0,
        delayMs: 10_000,
        failureAction: FailureAction.FAILURE_ROLLBACK,
        monitorMs: 500,
        maxFailureRatio: 0.1,
        order: UpdateOrder.START_FIRST,
      },
      rollback: {
        parallelism: 2,
        delayMs: 0,
        failureAction: FailureAction.FAILURE_PAUSE,
        monitorMs: 5_000,
        maxFailureRatio: 0,
        order: UpdateOrder.STOP_FIRST,
      },
    });
    expect(s!.task).to.deep.include({
      limits: { nanoCpus: 5e8, memoryBytes: 64 << 20, pids: 100 },
      reservations: { nanoCpus: 2.5e8, memoryBytes: 1 << 30, pids: 0 },
      restart: { condition: RestartCondition.RESTART_ON_FAILURE, delayMs: 1_000, maxAttempts: 3, windowMs: 120_000 },
      placement: { constraints: ["node.role==worker"], spread: ["node.labels.dc"], maxReplicasPerNode: 1 },
      networks: [
        attached({ target: "s_front", aliases: ["db", "database"] }),
        attached({ target: "legacy", aliases: ["db"] }),
      ],
    });
    expect(networks).to.deep.equal([
      NetworkSpec.fromPartial({
        annotations: { name: "s_front", labels: { a: "b", "com.docker.stack.namespace": "s" } },
        driver: "overlay",
        options: { mtu: "1400" },
        internal: true,
        attachable: true,
        ipv4: true,
        ipv6: true,
        ipam: [
          { subnet: "10.9.0.0/24", range: "10.9.0.128/25", gateway: "10.9.0.1", reserved: {} },
          { subnet: "fd00::/64", range: "", gateway: "", reserved: {} },
        ],
      }),
    ]);
  });

  it("adds the default network when a service names none, and only then", () => {
    const { networks, services } = parseStack("services: { a: { image: i }, b: { image: j } }", { name: "s" });
    expect(networks.map((n) => n.annotations?.name)).to.deep.equal(["s_default"]);
    expect(services[1]!.task!.networks).to.deep.equal([attached({ target: "s_default", aliases: ["b"] })]);
    const other = "services: { a: { image: i, networks: [n] } }\nnetworks: { n: { external: true } }";
    expect(parseStack(other, { name: "s" }).networks).to.deep.equal([]);
  });

  it("reads short and long ports", () => {
    const text = service(`
ports:
  - 80
  - "8080:80/udp"
  - 127.0.0.1:9000-9001:90-91
  - { target: 443, published: "8443", protocol: sctp, mode: host, host_ip: "::1", name: https }
  - { target: 70, published: 7000-7001 }
  - { target: 60-61 }
  - { target: 50, published: 5000 }`);
    const { ports } = parseStack(text, { name: "s" }).services[0]!;
    const port = (published: number, target: number, more = {}) => ({
      name: "",
      protocol: PortProtocol.TCP,
      mode: PortMode.INGRESS,
      hostIp: "",
      target,
      published,
      ...more,
    });
    expect(ports).to.deep.equal([
      port(0, 80),
      port(8080, 80, { protocol: PortProtocol.UDP }),
      port(9000, 90, { hostIp: "127.0.0.1" }),
      port(9001, 91, { hostIp: "127.0.0.1" }),
      port(8443, 443, { name: "https", protocol: PortProtocol.SCTP, mode: PortMode.HOST, hostIp: "::1" }),
      port(7000, 70),
      port(7001, 70),
      port(0, 60),
      port(0, 61),
      port(5000, 50),
    ]);
  });

  it("reads all of an attachment, and how long connections may end", () => {
    const text = `${service(`
x-drain-timeout: 1m
networks:
  front:
    aliases: [www]
    ipv4_address: 10.0.0.10-10.0.0.12
    ipv6_address: ["fd00::1", "fd00::5"]
    mac_address: 02:42:0a:00:00:05
    interface_name: front0
    gw_priority: -2
    driver_opts: { com.docker.network.endpoint.sysctls: "net.ipv4.conf.IFNAME.log_martians=1,net.ipv6.conf.IFNAME.mtu=1300" }
  back: { gw_priority: 1, driver_opts: { com.docker.network.endpoint.ifname: back0 } }`)}networks: { front: , back: }`;
    const { task } = parseStack(text, { name: "s" }).services[0]!;
    expect(task!.drainMs).to.equal(60_000);
    expect(task!.networks).to.deep.equal([
      attached({
        target: "s_front",
        aliases: ["a", "www"],
        ipv4: ["10.0.0.10", "10.0.0.11", "10.0.0.12"],
        ipv6: ["fd00::1", "fd00::5"],
        mac: "02:42:0a:00:00:05",
        interfaceName: "front0",
        gatewayPriority: -2,
        sysctls: { "net.ipv4.conf.IFNAME.log_martians": "1", "net.ipv6.conf.IFNAME.mtu": "1300" },
      }),
      attached({ target: "s_back", aliases: ["a"], gatewayPriority: 1, interfaceName: "back0" }),
    ]);
    expect(parseStack(service("user: x"), { name: "s" }).services[0]!.task!.drainMs).to.equal(undefined);
  });

  it("refuses wrong ports and attachments by their paths", () => {
    const lines = `
x-drain-timeout: soon
ports:
  - http
  - 80:80/icmp
  - { published: 80 }
  - { target: 80, published: web, protocol: x, mode: y, app_protocol: http }
  - { target: 80-81, published: 80-82 }
networks:
  default:
    ipv4_address: nowhere
    ipv6_address: [fd00::2-fd00::1]
    gw_priority: first
    link_local_ips: [169.254.0.1]
    driver_opts: { speed: fast }`;
    const at = "services.a.networks.default";
    expect(refusals(`${service(lines)}networks: { default: }`)).to.deep.equal([
      `${at}.link_local_ips: is not supported by this version of tswarm`,
      `${at}.ipv4_address: "nowhere" is not an address`,
      `${at}.ipv6_address: "fd00::2-fd00::1" is not an address`,
      `${at}.gw_priority: "first" is not a whole number`,
      `${at}.driver_opts: there is no option speed`,
      'services.a.x-drain-timeout: "soon" is not a duration',
      'services.a.ports.0: "http" is not a port',
      'services.a.ports.1: "icmp" in "80:80/icmp" is no protocol',
      "services.a.ports.2.target: is missing",
      "services.a.ports.3.app_protocol: is not supported by this version of tswarm",
      'services.a.ports.3.published: "web" is not a port',
      'services.a.ports.3.protocol: is "x"',
      'services.a.ports.3.mode: is "y"',
      "services.a.ports.4: the ranges of published and target have different sizes",
    ]);
  });

  it("takes the name from the file when none is given", () => {
    expect(parseStack("name: x\nservices: { a: { image: i } }", { name: "" }).services[0]!.annotations!.name).to.equal(
      "x_a",
    );
    expect(() => parseStack("services: { a: { image: i } }", { name: "" })).to.throw("the stack has no name");
    expect(() => parseStack("services: { a: { image: i } }", { name: "Bad!" })).to.throw("not a name for a stack");
  });

  const unsupported = [
    "volumes: [a:/b]",
    "build: .",
    "depends_on: [x]",
    "healthcheck: { test: true }",
    "configs: [c]",
    "secrets: [c]",
    "privileged: true",
    "restart: always",
    "network_mode: host",
    "container_name: x",
    "logging: { driver: x }",
    "env_file: x",
    "ulimits: { nofile: 1 }",
    "mac_address: x",
    "expose: [80]",
  ];
  for (const line of unsupported) {
    const key = line.split(":")[0];
    it(`refuses ${key}`, () =>
      expect(refusals(service(line))).to.deep.equal([`services.a.${key}: is not supported by this version of tswarm`]));
  }

  it("collects all problems of a file", () => {
    expect(
      refusals(`
volumes: { v: }
services:
  a: { command: x, networks: [nowhere], deploy: { mode: global, replicas: many, update_config: { delay: 3 days } } }
  b: { image: i, environment: [=x], deploy: { resources: { limits: { memory: lots, gpu: 1 } }, rollback_config: { failure_action: rollback } } }
  c: just text
networks:
  n: { external: true, driver: bridge, ipam: { config: [{ subnet: 10.0.0.0/8, aux: x }] } }
`),
    ).to.deep.equal([
      "volumes: is not supported by this version of tswarm",
      "networks.n.driver: does not go with external: true, which takes the network as it is",
      "networks.n.ipam: does not go with external: true, which takes the network as it is",
      'services.a.deploy.mode: is "global"',
      "services.a.image: is missing",
      'services.a.networks.0: network "nowhere" is not in this file',
      'services.a.deploy.replicas: is "many", not a whole number of 0 or more',
      'services.a.deploy.update_config.delay: "3 days" is not a duration',
      'services.b.environment.0: "=x" has no name',
      "services.b.deploy.resources.limits.gpu: is not supported by this version of tswarm",
      'services.b.deploy.resources.limits.memory: "lots" is not a size',
      'services.b.deploy.rollback_config.failure_action: is "rollback"',
      'services.c: is "just text", not a mapping',
      "services.c.image: is missing",
    ]);
  });

  it("refuses malformed YAML with its line, and repeated keys", () => {
    expect(refusals("services:\n  a: [")[0]).to.match(/^line 2: /);
    expect(refusals("services:\n  a: { image: i }\n  a: { image: j }")[0]).to.match(/^line 3: .*unique/i);
    expect(refusals("")).to.deep.equal(["services: there is none"]);
  });
});

describe("variables in a stack file", () => {
  const image = (written: string, env: Record<string, string>) =>
    parseStack(`services: { a: { image: "${written}" } }`, { name: "s", env }).services[0]!.task!.container!.image;
  const cases: [string, string][] = [
    ["$A", "1"],
    ["x${A}y", "x1y"],
    ["${B:-d}", "d"],
    ["${E:-d}", "d"],
    ["${E-d}x", "x"],
    ["${B:-${A}}", "1"],
    ["${A:+set}", "set"],
    ["q${B+set}", "q"],
    ["$$A", "$A"],
    ["${A:?no}", "1"],
  ];
  for (const [written, expected] of cases)
    it(`${written} is ${expected}`, () => expect(image(written, { A: "1", E: "" })).to.equal(expected));

  it("refuses what is missing or malformed", () => {
    expect(refusals(service("user: ${A:?say who}"))).to.deep.equal([
      "services.a.user: variable A is required: say who",
    ]);
    expect(refusals(service("user: ${A"))).to.deep.equal(['services.a.user: "${A" has no closing brace']);
    expect(refusals(service("user: a$"))).to.deep.equal(['services.a.user: "$" stands alone; write "$$" for a dollar']);
  });
});
