import { expect } from "chai";
import { TswarmError } from "#base/errors.ts";
import type { ExecInput } from "#proto/gen/control.ts";
import { NetworkAttachmentConfig, NetworkSpec, TaskState, UpdateState } from "#proto/gen/types.ts";
import type { Control, NodeLocal } from "#tsctl/cli.ts";
import { FakeCluster, NOW, tsctl } from "#tsctl/fake-cluster.ts";

const { TASK_FAILED, TASK_PREPARING, TASK_RUNNING } = TaskState;
const create = ["service", "create", "--name", "web", "--replicas", "2"];

describe("tsctl service", () => {
  it("create passes what follows the image to the container, and follows until stable", async () => {
    const cluster = new FakeCluster();
    cluster.onTask = () => [{ state: TASK_PREPARING }, { state: TASK_RUNNING }];
    const ran = await tsctl(cluster, [
      ...create,
      "--network",
      "backend",
      "localhost/web:1",
      "sh",
      "-c",
      "exit 1",
      "--name",
      "x",
    ]);
    expect(ran.err).to.equal("");
    expect(ran.code).to.equal(0);
    expect(ran.out).to.match(/^web-0123456789\w+\noverall progress: 0 out of 2 tasks\n/);
    expect(ran.out).to.match(/\nverify: Waiting 5 seconds to verify[^\n]*\nverify: Service web converged\n$/);
    const spec = [...cluster.services.values()][0]!.spec!;
    expect(spec.task!.container!.args).to.deep.equal(["sh", "-c", "exit 1", "--name", "x"]);
    expect(spec.task!.networks).to.deep.equal([NetworkAttachmentConfig.fromPartial({ target: "backend" })]);
  });

  it("create --detach prints the id only, -q no progress", async () => {
    const cluster = new FakeCluster();
    expect((await tsctl(cluster, [...create, "-d", "i"])).out).to.equal("web-0123456789abcdefghijk\n");
    expect(cluster.calls.map(([name]) => name)).to.deep.equal(["createService"]);
    expect((await tsctl(new FakeCluster(), [...create, "-q", "i"])).out).to.equal("web-0123456789abcdefghijk\n");
  });

  it("begins to count again when a task fails while it is watched", async () => {
    const cluster = new FakeCluster();
    let failed = false;
    cluster.onTask = (task) => {
      if (task.slot !== 2) return [{ state: TASK_RUNNING }];
      setTimeout(() => {
        failed = true;
        cluster.putTask({ ...task, status: { ...task.status!, state: TASK_FAILED, error: "exit 7" } });
        setTimeout(
          () =>
            cluster.putTask({
              ...task,
              id: "again",
              meta: { version: 0, createdAt: NOW + 5, updatedAt: 0 },
              status: { ...task.status!, state: TASK_RUNNING },
            }),
          5,
        );
      }, 8);
      return [{ state: TASK_RUNNING }];
    };
    const { out } = await tsctl(cluster, [...create, "i"]);
    expect(failed).to.equal(true);
    expect(out).to.contain("2/2: failed    exit 7\nverify: Detected task failure\n");
    expect(out).to.match(/verify: Service web converged\n$/);
  });

  it("update reads, changes and writes with the version; again after a stale one", async () => {
    const cluster = new FakeCluster();
    await tsctl(cluster, [...create, "-e", "A=1", "i:1"]);
    let stale = 1;
    const control = {
      updateService: async (request: Parameters<Control["updateService"]>[0]) => {
        if (stale-- > 0) throw new TswarmError("stale_version", "changed meanwhile");
        return cluster.control.updateService(request);
      },
    };
    const ran = await tsctl(cluster, ["service", "update", "--image", "i:2", "--env-add", "B=2", "web"], { control });
    expect(ran.err).to.equal("");
    expect(ran.out).to.match(/^web\n[\s\S]*verify: Service web converged\n$/);
    const service = [...cluster.services.values()][0]!;
    expect(service.spec!.task!.container).to.deep.include({ image: "i:2", env: { A: "1", B: "2" } });
    expect(stale).to.equal(-1);
  });

  it("says why an update paused, and fails", async () => {
    const cluster = new FakeCluster();
    await tsctl(cluster, [...create, "i:1"]);
    cluster.onTask = (task) => {
      setTimeout(() => {
        const service = [...cluster.services.values()][0]!;
        cluster.putService({
          ...service,
          updateStatus: {
            state: UpdateState.UPDATE_PAUSED,
            startedAt: 1,
            completedAt: 0,
            message: "update paused: task failed",
          },
        });
      }, 10);
      return [{ state: TASK_FAILED, error: `no such image ${task.spec!.container!.image}` }];
    };
    const ran = await tsctl(cluster, ["service", "update", "--image", "nope:1", "web"]);
    expect(ran.code).to.equal(1);
    expect(ran.err).to.contain("2 tasks: no such image nope:1");
    expect(ran.err).to.contain("tsctl: service update paused: update paused: task failed. See: tsctl service ps web");
  });

  it("leaves it running at Ctrl-C and says how to go on", async () => {
    const cluster = new FakeCluster();
    cluster.onTask = () => [{ state: TASK_PREPARING }];
    const controller = new AbortController();
    setTimeout(() => controller.abort(), 30);
    const ran = await tsctl(cluster, [...create, "i"], { interrupt: controller.signal });
    expect(ran.code).to.equal(130);
    expect(ran.err).to.contain("Watch it with: tsctl service wait web");
    expect(cluster.services.size).to.equal(1);
  });

  it("follows across a lost watch", async () => {
    const cluster = new FakeCluster();
    cluster.onTask = () => [{ state: TASK_PREPARING }, { state: TASK_RUNNING }];
    let broken = 0;
    const control = {
      watch: async function* (request: never, options: never) {
        if (broken++ === 0) throw new TswarmError("unavailable", "no leader");
        yield* cluster.control.watch(request, options);
      },
    } as unknown as Partial<Control>;
    expect((await tsctl(cluster, [...create, "i"], { control })).out).to.contain("verify: Service web converged");
    expect(broken).to.equal(2);
  });

  it("scale, rollback and rm", async () => {
    const cluster = new FakeCluster();
    await tsctl(cluster, [...create, "i:1"]);
    const scaled = await tsctl(cluster, ["service", "scale", "web=5"]);
    expect(scaled.out).to.match(/^web scaled to 5\n[\s\S]*overall progress: 5 out of 5 tasks\n[\s\S]*converged\n$/);
    const down = await tsctl(cluster, ["service", "scale", "web=1"]);
    expect(down.out).to.contain("overall progress: 1 out of 1 tasks");
    const back = await tsctl(cluster, ["service", "rollback", "web"]);
    expect(back.out).to.contain("overall progress: 5 out of 5 tasks");
    const gone = await tsctl(cluster, ["service", "rm", "web"]);
    expect([gone.out, gone.err, gone.code]).to.deep.equal(["web\n", "", 0]);
    expect((await tsctl(cluster, ["service", "rm", "web"])).err).to.equal(
      'tsctl: ref: no service "web". See tsctl service ls.\n',
    );
  });

  it("ls and ps have Docker's columns, history below its slot", async () => {
    const cluster = new FakeCluster();
    cluster.onTask = (task) => {
      if (task.slot === 2 && cluster.tasks.size === 2)
        cluster.putTask({
          ...task,
          id: "failedbefore012345",
          desiredState: TaskState.TASK_SHUTDOWN,
          meta: { version: 0, createdAt: NOW - 9, updatedAt: 0 },
          status: {
            ...task.status!,
            state: TASK_FAILED,
            error: "task: non-zero exit (137) and more",
            at: NOW - 180_000,
          },
        });
      return [{ state: TASK_RUNNING }];
    };
    await tsctl(cluster, [...create, "-q", "localhost/web:1"]);
    expect((await tsctl(cluster, ["service", "ls"])).out).to.equal(
      `ID             NAME      MODE         REPLICAS   IMAGE             PORTS
web-01234567   web       replicated   2/2        localhost/web:1
`,
    );
    expect((await tsctl(cluster, ["service", "ps", "web"])).out).to.equal(
      `ID             NAME        IMAGE             NODE      DESIRED STATE   CURRENT STATE           ERROR                              PORTS
web1v101-012   web.1       localhost/web:1   node-1    Running         Running 2 minutes ago
web2v101-012   web.2       localhost/web:1   node-2    Running         Running 2 minutes ago
failedbefore    \\_ web.2   localhost/web:1   node-2    Shutdown        Failed 3 minutes ago    "task: non-zero exit (137) and…"
`,
    );
    expect((await tsctl(cluster, ["service", "ps", "-q", "--no-trunc", "web"])).out.split("\n")[2]).to.equal(
      "failedbefore012345",
    );
    const format = "{{.Name}} {{.Error}}";
    expect((await tsctl(cluster, ["service", "ps", "--no-trunc", "--format", format, "web"])).out).to.equal(
      'web.1 \nweb.2 \nweb.2 "task: non-zero exit (137) and more"\n',
    );
    const inspected = JSON.parse((await tsctl(cluster, ["service", "inspect", "web"])).out);
    expect(inspected[0].spec).to.deep.include({ replicas: 2, endpointMode: "vip" });
    expect(
      (await tsctl(cluster, ["service", "inspect", "--format", "{{.Spec.Annotations.Name}}", "web"])).out,
    ).to.equal("web\n");
  });

  it("logs are prefixed with task and node", async () => {
    const cluster = new FakeCluster();
    await tsctl(cluster, [...create, "-q", "i"]);
    const [task] = [...cluster.tasks.values()];
    const lines = ["one", "two"].map((text, i) => ({
      taskId: task!.id,
      nodeId: task!.nodeId,
      atUs: (NOW + i) * 1_000 + 5,
      stderr: i === 1,
      data: Buffer.from(text),
    }));
    const control = {
      logs: async function* () {
        yield { lines, warnings: ["node-3 does not answer"] };
      },
    } as unknown as Partial<Control>;
    const ran = await tsctl(cluster, ["service", "logs", "--timestamps", "web"], { control });
    expect(ran.out).to.equal("2026-11-21T12:00:00.000005Z web.1.web1v101-012@node-1 | one\n");
    expect(ran.err).to.equal(
      "warning: node-3 does not answer\n2026-11-21T12:00:00.001005Z web.1.web1v101-012@node-1 | two\n",
    );
    expect((await tsctl(cluster, ["logs", "--raw", "web"], { control })).out).to.equal("one\n");
    for (const bad of [
      ["--tail", "x"],
      ["--since", "yesterday-ish"],
    ])
      expect((await tsctl(undefined, ["logs", ...bad, "web"])).code).to.equal(1);
  });
});

describe("tsctl elsewhere", () => {
  it("node ls marks the node that answers", async () => {
    expect((await tsctl(new FakeCluster(), ["node", "ls"])).out).to.equal(
      `ID               HOSTNAME   STATUS    AVAILABILITY   MANAGER STATUS   ENGINE VERSION
node1-012345 *   node-1     Ready     Active         Leader           0.1.0
node2-012345     node-2     Ready     Active         Reachable        0.1.0
node3-012345     node-3     Down      Active                          0.1.0
`,
    );
    expect(
      (await tsctl(new FakeCluster(), ["node", "ls", "--format", "table {{.Hostname}}\\t{{.Role}}"])).out,
    ).to.equal("HOSTNAME   ROLE\nnode-1     manager\nnode-2     manager\nnode-3     worker\n");
    const json = (await tsctl(new FakeCluster(), ["node", "ls", "--format", "json"])).out.split("\n")[0]!;
    expect(JSON.parse(json)).to.deep.include({ ID: "node1-012345", Self: true });
  });

  it("filters go to the server, values of a key together", async () => {
    const cluster = new FakeCluster();
    await tsctl(cluster, ["service", "ls", "-f", "name=a", "--filter", "label=x=y", "-f", "name=b"]);
    expect(cluster.calls).to.deep.equal([
      [
        "listServices",
        {
          filters: [
            { key: "name", values: ["a", "b"] },
            { key: "label", values: ["x=y"] },
          ],
        },
      ],
    ]);
  });

  it("node update, promote and demote change the spec only where asked", async () => {
    const cluster = new FakeCluster();
    await tsctl(cluster, [
      "node",
      "update",
      "--availability",
      "drain",
      "--label-add",
      "dc=x",
      "--label-rm",
      "rack",
      "node-2",
    ]);
    const request = cluster.calls.find(([name]) => name === "updateNode")![1];
    expect(request).to.deep.equal({
      id: cluster.nodes[1]!.id,
      version: 2,
      spec: { annotations: { name: "", labels: { dc: "x" } }, role: 2, availability: 3 },
    });
    expect((await tsctl(cluster, ["node", "promote", "node-2"])).out).to.contain("is a manager already");
    expect((await tsctl(cluster, ["node", "demote", "node-2"])).out).to.contain("becomes a worker");
  });

  it("network create sorts addresses to the subnet of their family", async () => {
    const cluster = new FakeCluster();
    const line =
      "network create -d overlay --subnet 10.77.0.0/24 --subnet fd00::/64 --gateway fd00::1 --ip-range 10.77.0.128/25 --aux-address r=10.77.0.5 -o mtu=1400 --label a=b --internal --attachable backend";
    expect((await tsctl(cluster, line.split(" "))).code).to.equal(0);
    expect((cluster.calls[0]![1] as { spec: unknown }).spec).to.deep.equal(
      NetworkSpec.fromPartial({
        annotations: { name: "backend", labels: { a: "b" } },
        driver: "overlay",
        options: { mtu: "1400" },
        internal: true,
        attachable: true,
        ipv4: true,
        ipv6: true,
        ipam: [
          { subnet: "10.77.0.0/24", range: "10.77.0.128/25", gateway: "", reserved: { r: "10.77.0.5" } },
          { subnet: "fd00::/64", range: "", gateway: "fd00::1", reserved: {} },
        ],
      }),
    );
  });

  it("stack deploy sends the specs of the file", async () => {
    const cluster = new FakeCluster();
    const files = { "s.yaml": "services: { web: { image: $IMAGE } }" };
    const ran = await tsctl(cluster, ["stack", "deploy", "-c", "s.yaml", "demo"], { files, env: { IMAGE: "i:1" } });
    expect(ran.out).to.equal("Creating network demo_default\nCreating service demo_web\n");
    const config = JSON.parse(
      (await tsctl(undefined, ["stack", "config", "-c", "s.yaml"], { files, env: { IMAGE: "i" } })).out,
    );
    expect(config.services[0].annotations.name).to.equal("stack_web");
  });

  it("exec reads its input no faster than the connection takes it", async () => {
    let read = 0;
    const input = async function* () {
      for (; read < 100; read++) yield Buffer.from("x");
    };
    let before = 0;
    const control = {
      exec: async function* (inputs: AsyncIterable<ExecInput>) {
        for await (const message of inputs) {
          if (message.input?.$case === "start") await new Promise((resolve) => setTimeout(resolve, 20));
          before ||= read;
          if (message.input?.$case === "stdinClosed") break;
        }
        yield { output: { $case: "exitCode", value: 0 } };
      },
    } as unknown as Partial<Control>;
    const ran = await tsctl(new FakeCluster(), ["exec", "-i", "client.1", "cat"], { control, input: input() });
    expect(ran.code).to.equal(0);
    expect(before).to.be.within(1, 16);
    expect(read).to.equal(100);
  });

  it("exec passes the exit code and both outputs on", async () => {
    const sent: unknown[] = [];
    const control = {
      exec: async function* (inputs: AsyncIterable<unknown>) {
        for await (const input of inputs) {
          sent.push(input);
          break;
        }
        yield { output: { $case: "started", value: true } };
        yield { output: { $case: "stdout", value: Buffer.from("out") } };
        yield { output: { $case: "stderr", value: Buffer.from("err") } };
        yield { output: { $case: "exitCode", value: 3 } };
      },
    } as unknown as Partial<Control>;
    const ran = await tsctl(
      new FakeCluster(),
      ["exec", "-e", "A=1", "-u", "0", "client.1", "curl", "-s", "http://web/"],
      { control },
    );
    expect(ran).to.deep.equal({ out: "out", err: "err", code: 3 });
    expect(sent[0]).to.deep.equal({
      input: {
        $case: "start",
        value: {
          ref: "client.1",
          command: ["curl", "-s", "http://web/"],
          tty: false,
          stdin: false,
          env: { A: "1" },
          user: "0",
          dir: "",
          size: undefined,
        },
      },
    });
    const cut = { exec: async function* () {} } as unknown as Partial<Control>;
    expect((await tsctl(new FakeCluster(), ["exec", "a.1", "x"], { control: cut })).code).to.equal(1);
  });

  describe("exec with a slow other end", () => {
    const turns = async () => {
      for (let i = 0; i < 50; i++) await new Promise((resolve) => setImmediate(resolve));
    };
    const reader = (read: (inputs: AsyncIterator<ExecInput>, signal?: AbortSignal) => Promise<void>) =>
      ({
        exec: async function* (inputs: AsyncIterable<ExecInput>, options?: { signal?: AbortSignal }) {
          const iterator = inputs[Symbol.asyncIterator]();
          await iterator.next();
          await read(iterator, options?.signal);
          yield { output: { $case: "exitCode", value: 0 } };
        },
      }) as unknown as Partial<Control>;

    it("Ctrl-C ends a command that does not read: a signal would wait behind the input", async () => {
      const input = async function* () {
        for (let i = 0; i < 100; i++) yield Buffer.from("x");
      };
      const interrupt = new AbortController();
      const control = reader(async (_, signal) => {
        await turns();
        const aborted = new Promise((resolve) => signal?.addEventListener("abort", resolve));
        interrupt.abort();
        if (!signal?.aborted) await aborted;
        throw new TswarmError("cancelled", "cancelled");
      });
      const ran = await tsctl(new FakeCluster(), ["exec", "-i", "a.1", "cat"], {
        ...{ control, input: input(), interrupt: interrupt.signal },
      });
      expect(ran).to.deep.equal({ out: "", err: "", code: 130 });
    });

    it("Ctrl-C interrupts a command that reads", async () => {
      const interrupt = new AbortController();
      const control = reader(async (inputs) => {
        interrupt.abort();
        expect((await inputs.next()).value).to.deep.equal({ input: { $case: "signal", value: "SIGINT" } });
      });
      const ran = await tsctl(new FakeCluster(), ["exec", "a.1", "cat"], { control, interrupt: interrupt.signal });
      expect(ran.code).to.equal(0);
    });

    for (const verb of ["exec", "logs"] as const)
      it(`${verb} takes no more output than is read`, async () => {
        let given = 0;
        let go = () => {};
        const full = new Promise<void>((resolve) => {
          go = resolve;
        });
        const outputs = async function* () {
          for (; given < 10; given++)
            yield verb === "exec"
              ? { output: { $case: "stdout", value: Buffer.from("x") } }
              : { lines: [{ data: Buffer.from("x"), atUs: 0 }], warnings: [] };
          if (verb === "exec") yield { output: { $case: "exitCode", value: 0 } };
        };
        const running = tsctl(
          new FakeCluster(),
          verb === "exec" ? ["exec", "a.1", "x"] : ["service", "logs", "--raw", "a"],
          { control: { [verb]: outputs } as unknown as Partial<Control>, drained: () => full },
        );
        await turns();
        expect(given).to.equal(0);
        go();
        await running;
        expect(given).to.equal(10);
      });
  });

  it("image load sends the archive in pieces", async () => {
    const sizes: number[] = [];
    const local = {
      loadImage: async (requests: AsyncIterable<{ data: Uint8Array }>) => {
        for await (const { data } of requests) sizes.push(data.length);
        return { loaded: [{ digest: "sha256:1", names: ["localhost/web:1"], sizeBytes: 1 }] };
      },
    } as unknown as Partial<NodeLocal>;
    const ran = await tsctl(new FakeCluster(), ["image", "load", "-i", "a.tar"], {
      local,
      files: { "a.tar": "x".repeat(600_000) },
    });
    expect(ran.out).to.equal("Loaded image: localhost/web:1\n");
    expect(sizes).to.deep.equal([262_144, 262_144, 75_712]);
  });

  it("cluster init prints the command that joins", async () => {
    const local = {
      init: async () => ({ nodeId: "n1", advertiseAddr: "10.0.0.1:2377", joinTokenWorker: "T" }),
    } as unknown as Partial<NodeLocal>;
    const ran = await tsctl(new FakeCluster(), ["cluster", "init", "--advertise-addr", "10.0.0.1"], { local });
    expect(ran.out).to.contain("    tsctl cluster join --token T 10.0.0.1:2377\n");
  });
});

describe("what needs no server is refused before it is dialed", () => {
  const lines: [string, number, string][] = [
    ["service create --secret x i", 1, "--secret: this version of tswarm does not support it"],
    ["service create --no-healthcheck i", 1, "--no-healthcheck: this version"],
    ["service create --update-delay soon i", 1, '--update-delay: "soon" is not a duration'],
    ["service create --publish web i", 1, '--publish: "web" is not a port'],
    ["service update --publish-rm web x", 1, '--publish-rm: "web" is not a port'],
    ["service create", 2, "missing required argument 'image'"],
    ["service create --bogus i", 2, "unknown option '--bogus'"],
    ["service update --limit-cpu x web", 1, '--limit-cpu: "x" is not a number of CPUs'],
    ["service scale web", 1, "web: is not a scale"],
    ["service scale web=x", 1, 'web=x: "x" is not a whole number'],
    ["service ls --filter web", 1, '--filter: "web" is not a filter'],
    ["network create --subnet 10.0.0.0 n", 1, '--subnet: "10.0.0.0" is not a subnet'],
    ["network create --gateway 10.0.0.1 n", 1, '--gateway: "10.0.0.1" has no subnet of its family'],
    ["network create --aux-address x --subnet 10.0.0.0/8 n", 1, '--aux-address: "x" is not name=address'],
    ["network create --label =x n", 1, '--label: "=x" has no key'],
    ["node update --role boss n", 2, "argument 'boss' is invalid"],
    ["cluster init --dispatcher-heartbeat x --default-addr-pool y", 1, "has 2 problems"],
    ["cluster join 10.0.0.1:2377", 2, "required option '--token <token>'"],
    ["stack deploy -c missing.yaml demo", 1, "can't read the stack file missing.yaml"],
    ["nonsense", 2, "unknown command 'nonsense'"],
  ];
  for (const [line, code, message] of lines)
    it(line, async () => {
      const ran = await tsctl(undefined, line.split(" "));
      expect(ran.err).to.contain(message);
      expect(ran.code).to.equal(code);
      expect(ran.out).to.equal("");
    });

  it("help names every group", async () => {
    const { out, code } = await tsctl(undefined, ["--help"]);
    expect(code).to.equal(0);
    for (const word of ["Workloads:", "Networks and images:", "Cluster:", "Examples:", "exec", "stack"])
      expect(out).to.contain(word);
    expect((await tsctl(undefined, ["service", "create", "--help"])).out)
      .to.contain("--update-parallelism")
      .and.contain("-p, --publish")
      .and.not.contain("--secret");
  });
});

describe("version", () => {
  it("is told with and without an agent", async () => {
    expect((await tsctl(undefined, ["--version"])).out).to.equal("1.2.3\n");
    const local = {
      info: async () => {
        throw new TswarmError("unavailable", "nobody");
      },
    } as unknown as Partial<NodeLocal>;
    expect((await tsctl(new FakeCluster(), ["version"], { local })).out).to.equal(
      "tsctl: 1.2.3\nAgent: not reachable\n",
    );
  });
});

describe("contexts", () => {
  const config = {
    current: "prod",
    contexts: { prod: { host: "10.0.0.1:2377", ca: "x" }, lab: { host: "unix:/lab" } },
  };
  const show = async (line: string[], options: Parameters<typeof tsctl>[2]) =>
    (await tsctl(undefined, [...line, "context", "show"], options)).out
      .split("\n")
      .slice(0, -1)
      .map((l) => l.replace(/^.*?: +/, ""));
  it("the first rule that applies decides, and says so", async () => {
    const env = { TSWARM_HOST: "/run/a.sock", TSWARM_CONTEXT: "lab" };
    const testCluster = { host: "unix:/test" };
    expect(await show(["-H", "unix:///x"], { env, config })).to.deep.equal(["unix:/x", "--host"]);
    expect(await show(["-c", "lab"], { env, config })).to.deep.equal(["lab", "unix:/lab", "--context"]);
    expect(await show([], { env, config })).to.deep.equal(["unix:/run/a.sock", "environment variable TSWARM_HOST"]);
    expect(await show([], { env: { TSWARM_CONTEXT: "lab" }, config })).to.deep.equal([
      "lab",
      "unix:/lab",
      "environment variable TSWARM_CONTEXT",
    ]);
    expect(await show([], { config, testCluster })).to.deep.equal([
      "prod",
      "10.0.0.1:2377",
      "current context of /config.json",
    ]);
    expect(await show([], { testCluster })).to.deep.equal([
      "unix:/test",
      "test cluster of make up (/build/cluster/context.json)",
    ]);
    expect(await show([], {})).to.deep.equal([
      "unix:/run/tswarm/tswarm.sock",
      "default socket of this machine's agent",
    ]);
    expect((await tsctl(undefined, ["-c", "nope", "context", "show"], { config })).err).to.contain(
      'there is no context "nope"',
    );
  });
  it("ls, use and create", async () => {
    expect((await tsctl(undefined, ["context", "ls"], { config })).out).to.equal(
      "NAME      HOST\nprod *    10.0.0.1:2377\nlab       unix:/lab\n",
    );
    expect((await tsctl(undefined, ["context", "use", "nope"], { config })).code).to.equal(1);
    expect((await tsctl(undefined, ["context", "create", "prod", "--address", "h:1"], { config })).err).to.contain(
      "has 2 problems",
    );
    expect((await tsctl(undefined, ["context", "create", "new", "--address", "/run/x"], { config })).out).to.match(
      /^new\n/,
    );
  });
});
