import { expect } from "chai";
import { refuse } from "#base/errors.ts";
import { AUTO_REMOVE_LABEL } from "#control-plane/specs/own-container.ts";
import type { ConnectNetworkRequest, LogsRequest, LogsResponse, RunContainerRequest } from "#proto/gen/control.ts";
import { NetworkAttachmentConfig, PortMode, Task, TaskState } from "#proto/gen/types.ts";
import type { Control } from "#tsctl/cli.ts";
import { FakeCluster, type FakeOptions, NOW, tsctl } from "#tsctl/fake-cluster.ts";

const ID = "box-0123456789abcdefghijk";
const { TASK_COMPLETE, TASK_FAILED, TASK_NEW, TASK_REJECTED, TASK_RUNNING, TASK_SHUTDOWN } = TaskState;

/** A cluster in which one container goes through `statuses`; `lines` are its log once it runs. */
const setup = (statuses: object[], lines: string[] = []) => {
  const cluster = new FakeCluster();
  const task = Task.fromPartial({ id: ID, name: "box", status: { state: TASK_NEW } });
  const log = lines.map((text, i) => ({
    ...{ taskId: ID, nodeId: "n", atUs: 1_000 + Math.floor(i / 2), stderr: text.startsWith("!") },
    data: Buffer.from(text),
  }));
  const put = (status: object) =>
    cluster.putTask({ ...cluster.tasks.get(ID)!, status: { ...task.status!, ...status } });
  const asked: LogsRequest[] = [];
  const control = {
    runContainer: async (_: RunContainerRequest) => {
      cluster.putTask(task);
      void (async () => {
        for (const status of statuses) {
          await new Promise((next) => setTimeout(next, 5));
          put(status);
        }
      })();
      return { task, warnings: [] };
    },
    getTask: async () => {
      const found = cluster.tasks.get(ID);
      if (!found) throw refuse("not_found", "task", "it is gone", "See `tsctl ps`");
      return { task: found };
    },
    stopContainer: async () => {
      put({ state: TASK_SHUTDOWN, exitCode: 143 });
      return { task: cluster.tasks.get(ID) };
    },
    removeContainer: async () => {
      const gone = cluster.tasks.get(ID)!;
      cluster.tasks.delete(ID);
      cluster.emit("remove", { $case: "task", value: gone });
      return { id: ID };
    },
    /** The stream breaks off after three lines. */
    logs: async function* (request: LogsRequest): AsyncGenerator<LogsResponse> {
      asked.push(request);
      const newer = log.filter((line) => line.atUs >= request.since * 1_000);
      yield { lines: request.follow ? newer.slice(0, 3) : newer, warnings: [] };
    },
  } as unknown as Partial<Control>;
  const run = (line: string[], options: FakeOptions = {}) => tsctl(cluster, line, { ...options, control });
  const calls = (name: string) => cluster.calls.filter(([called]) => called === name).map(([, request]) => request);
  return { cluster, run, calls, asked };
};

describe("tsctl run", () => {
  it("asks for a container on the node that answers, with Docker's flags", async () => {
    const sent: RunContainerRequest[] = [];
    const cluster = new FakeCluster();
    const running = Task.fromPartial({ id: ID, status: { state: TASK_RUNNING } });
    const control = {
      getTask: async () => ({ task: running }),
      runContainer: async (request: RunContainerRequest) => {
        sent.push(request);
        return { task: Task.fromPartial({ id: ID }), warnings: ["so so"] };
      },
    } as unknown as Partial<Control>;
    const line =
      "run -d --rm --name box --network name=back,ip=10.0.0.9 --network lan -p 8080:80 -e A=1 -v /srv:/data:ro " +
      "--tmpfs /run:size=1m --hostname h --dns 192.0.2.53 --add-host db:192.0.2.9 --cap-add NET_ADMIN --user 1:2 -w /tmp -l a=b " +
      "-m 64m --cpus 0.5 --pids-limit 20 --stop-timeout 3 --restart no image ls -l";
    const ran = await tsctl(cluster, line.split(" "), { control });
    expect(ran).to.deep.equal({ out: `${ID}\n`, err: "warning: so so\n", code: 0 });
    const { name, node, spec, ports } = sent[0]!;
    expect([name, node]).to.deep.equal(["box", cluster.nodes[0]!.id]);
    expect(ports).to.have.length(1);
    expect(ports[0]).to.include({ published: 8080, target: 80, mode: PortMode.HOST });
    expect(spec!.networks).to.deep.equal([
      NetworkAttachmentConfig.fromPartial({ target: "back", ipv4: ["10.0.0.9"] }),
      NetworkAttachmentConfig.fromPartial({ target: "lan" }),
    ]);
    expect(spec!.limits).to.deep.equal({ memoryBytes: 64 * 1024 * 1024, nanoCpus: 5e8, pids: 20 });
    const container = spec!.container!;
    expect(container).to.deep.include({ args: ["ls", "-l"], env: { A: "1" }, hostname: "h", dns: ["192.0.2.53"] });
    expect(container).to.deep.include({ hosts: ["db:192.0.2.9"], capAdd: ["NET_ADMIN"], user: "1:2", dir: "/tmp" });
    expect(container).to.deep.include({ stopGraceMs: 3_000, labels: { a: "b", [AUTO_REMOVE_LABEL]: "true" } });
    expect(container.mounts.map((m) => [m.type, m.source, m.target, m.readOnly, m.tmpfsSizeBytes])).to.deep.equal([
      ["bind", "/srv", "/data", true, 0],
      ["tmpfs", "", "/run", false, 1024 * 1024],
    ]);
    await tsctl(cluster, "run -d --node node-2 --ip 10.0.0.7 --network-alias x --network back image".split(" "), {
      control,
    });
    expect(sent[1]!.node).to.equal("node-2");
    expect(sent[1]!.spec!.networks).to.deep.equal([
      NetworkAttachmentConfig.fromPartial({ target: "back", ipv4: ["10.0.0.7"], aliases: ["x"] }),
    ]);
  });

  it("refuses what it can't do by the flag's own name, all at once, before it dials", async () => {
    const { err, code } = await tsctl(undefined, [
      ...["run", "-m", "lots", "--restart", "always", "-v", "data:/x", "-p", "mode=ingress,target=80"],
      ...["--ip", "10.0.0.7", "--network", "a", "--network", "b", "image"],
    ]);
    expect(code).to.equal(1);
    for (const flag of ["--memory", "--restart", "--volume", "--publish"]) expect(err).to.include(flag);
    expect(err).not.to.include("--limit-memory");
    expect(
      (await tsctl(undefined, ["run", "--ip", "10.0.0.7", "--network", "a", "--network", "b", "i"])).err,
    ).to.include("--ip: there are several networks");
    expect((await tsctl(undefined, ["run", "-i", "image"])).err).to.match(/--interactive: .*\n?.*tsctl exec -it/);
  });

  it("in the background returns when it runs, or with the reason why not", async () => {
    for (const [status, err, code] of [
      [{ state: TASK_RUNNING }, "", 0],
      [{ state: TASK_FAILED, exitCode: 1 }, "", 0],
      [{ state: TASK_NEW, error: "no suitable node" }, "waiting: no suitable node\n", 0],
      [{ state: TASK_REJECTED, error: "no way" }, "tsctl: box did not run: no way\n", 125],
    ] as const)
      expect(await setup([status]).run(["run", "-d", "image"])).to.deep.equal({ out: `${ID}\n`, err, code });
  });

  it("shows each line of the output once and ends with the container's exit code", async () => {
    const running = [{ state: TASK_RUNNING }, { state: TASK_FAILED, exitCode: 7 }];
    const { run, asked } = setup(running, ["one", "two", "three", "!four", "five"]);
    const ran = await run(["run", "--name", "box", "image"]);
    expect(ran).to.deep.equal({ out: "one\ntwo\nthree\nfive\n", err: "!four\n", code: 7 });
    expect(asked.map((request) => request.follow)).to.deep.equal([true, false]);
  });

  it("says why it waits, and why it never ran", async () => {
    const waits = { state: TASK_NEW, error: "no suitable node" };
    const { run } = setup([waits, { ...waits, at: 2 }, { state: TASK_REJECTED, error: "port 80/tcp is in use by x" }]);
    const { err, code } = await run(["run", "image"]);
    expect(err).to.equal("waiting: no suitable node\ntsctl: box did not run: port 80/tcp is in use by x\n");
    expect(code).to.equal(125);
  });

  it("Ctrl-C stops the container, and --rm removes it at once", async () => {
    const interrupt = new AbortController();
    const { run, cluster } = setup([{ state: TASK_RUNNING }]);
    setTimeout(() => interrupt.abort(), 30);
    const ran = await run(["run", "--rm", "image"], { interrupt: interrupt.signal });
    expect(ran).to.deep.equal({ out: "", err: "", code: 143 });
    expect(cluster.tasks.size).to.equal(0);
  });
});

describe("tsctl ps, stop, rm, network connect", () => {
  it("ps lists what has not ended, of services too; -a everything", async () => {
    const { cluster, run, calls } = setup([]);
    const at = NOW - 300_000;
    const node = cluster.nodes[1]!;
    cluster.putTask(
      Task.fromPartial({
        ...{ id: ID, name: "box", nodeId: node.id, meta: { createdAt: at }, status: { state: TASK_RUNNING, at } },
        spec: { container: { image: "localhost/tools:1", args: ["sleep", "infinity", "and more"] } },
        ports: [{ published: 8080, target: 80, mode: PortMode.HOST, protocol: 1 }],
      }),
    );
    cluster.putTask(
      Task.fromPartial({
        ...{ id: "done", name: "web.1", serviceId: "s", serviceName: "web", nodeId: node.id, meta: { createdAt: NOW } },
        status: { state: TASK_FAILED, at, exitCode: 3 },
      }),
    );
    const { out, err } = await run(["ps", "-a"]);
    expect(err).to.equal("");
    expect(out.split("\n").map((line) => line.split(/ {2,}/))).to.deep.equal([
      ["CONTAINER ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "NODE", "PORTS", "NAMES"],
      ["done", "less than a second ago", "Exited (3) 5 minutes ago", "node-2", "web.1"],
      [
        ...["box-01234567", "localhost/tools:1", '"sleep infinity and …"', "5 minutes ago", "Up 5 minutes", "node-2"],
        ...["*:8080->80/tcp", "box"],
      ],
      [""],
    ]);
    await run(["ps", "-q", "--filter", "name=b"]);
    await run(["ps", "--filter", "status=exited"]);
    const filters = calls("listTasks").map((request) => (request as { filters: unknown }).filters);
    expect(filters).to.deep.equal([
      [],
      [
        { key: "name", values: ["b"] },
        { key: "status", values: ["created", "running"] },
      ],
      [{ key: "status", values: ["exited"] }],
    ]);
  });

  it("logs of a container of its own are what it wrote, as with docker", async () => {
    const { cluster, run } = setup([], ["one", "!two"]);
    cluster.putTask(Task.fromPartial({ id: ID, name: "box", status: { state: TASK_RUNNING } }));
    expect(await run(["logs", "box"])).to.deep.equal({ out: "one\n", err: "!two\n", code: 0 });
  });

  it("stop and rm wait until it has happened", async () => {
    const { cluster, run } = setup([]);
    cluster.putTask(Task.fromPartial({ id: ID, name: "box", status: { state: TASK_RUNNING } }));
    expect(await run(["stop", "box"])).to.deep.equal({ out: "box\n", err: "", code: 0 });
    expect(cluster.tasks.get(ID)!.status!.state).to.equal(TASK_SHUTDOWN);
    expect(await run(["rm", "-f", "box"])).to.deep.equal({ out: "box\n", err: "", code: 0 });
    expect(cluster.tasks.size).to.equal(0);
    expect(TASK_COMPLETE).to.be.lessThan(TASK_SHUTDOWN);
  });

  it("network connect passes on what it is told, and names wrong flags", async () => {
    const cluster = new FakeCluster();
    const sent: ConnectNetworkRequest[] = [];
    const control = {
      connectNetwork: async (r: ConnectNetworkRequest) => void sent.push(r),
    } as unknown as Partial<Control>;
    const line =
      "network connect --ip 10.0.0.9 --alias a --alias b --gw-priority 5 --mac-address 02:42:00:00:00:01 back web.1";
    expect(await tsctl(cluster, line.split(" "), { control })).to.deep.equal({ out: "", err: "", code: 0 });
    const config = { ipv4: ["10.0.0.9"], aliases: ["a", "b"], gatewayPriority: 5, mac: "02:42:00:00:00:01" };
    expect(sent).to.deep.equal([
      { network: "back", task: "web.1", config: NetworkAttachmentConfig.fromPartial(config) },
    ]);
    const wrong = await tsctl(undefined, "network connect --gw-priority x --driver-opt y=z back web.1".split(" "));
    expect(wrong.err).to.match(/--gw-priority.*\n.*--driver-opt/);
  });
});
