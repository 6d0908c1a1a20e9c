import { once } from "node:events";
import { appendFileSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PassThrough } from "node:stream";
import type { Client } from "@grpc/grpc-js";
import { expect } from "chai";
import { silentLogger } from "#base/log.ts";
import { realClock } from "#base/node/system.ts";
import { createQueue } from "#base/queue.ts";
import { seededRandom } from "#base/random.ts";
import { startTestManager, type TestManager } from "#control-plane/manager/test-manager.ts";
import { serveStream } from "#node-agent/local/streams.ts";
import type { TaskRunner } from "#node-agent/reconcile/task-runner.ts";
import type { ExecHandle, Runtime } from "#node-agent/runtime/runtime.ts";
import { type Session, startSession } from "#node-agent/session/session.ts";
import type { Doctor } from "#node-agent/wiring/doctor.ts";
import {
  ControlDefinition,
  DoctorRequest,
  type DoctorResponse,
  ExecInput,
  Finding,
  LogsRequest,
} from "#proto/gen/control.ts";
import { Node, NodeDescription, Task, TaskState } from "#proto/gen/types.ts";
import { createClient, openChannel, type RpcClient } from "#proto/rpc/client.ts";
import { clientCredentials } from "#proto/rpc/security.ts";

const until = async (what: string, done: () => boolean): Promise<void> => {
  for (let i = 0; !done(); i++) {
    if (i > 1_000) throw new Error(`never: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
};

describe("logs and exec from client to container", () => {
  let dir: string;
  let manager: TestManager;
  let session: Session;
  let control: RpcClient<ControlDefinition>;
  /** Streams that the agent serves now. */
  let serving = 0;
  let failures: unknown[] = [];
  let opened: (() => void) | undefined;
  let killed: number;
  let handle: { stdin: PassThrough; stdout: PassThrough; stderr: PassThrough; exit: PromiseWithResolvers<number> };

  const runtime = {
    async exec(): Promise<ExecHandle> {
      handle = {
        stdin: new PassThrough(),
        stdout: new PassThrough(),
        stderr: new PassThrough(),
        exit: Promise.withResolvers<number>(),
      };
      opened?.();
      const end = (code: number) => {
        handle.stdout.end();
        handle.stderr.end();
        handle.exit.resolve(code);
      };
      handle.stdin.once("end", () => end(0));
      return {
        ...handle,
        exit: handle.exit.promise,
        resize: () => {},
        kill: () => {
          killed++;
          end(137);
        },
      };
    },
  } as unknown as Runtime;
  const logOf = (id: string) => join(dir, id);
  const tasks = {
    get: (id: string) =>
      id.startsWith("t") ? { task: Task.fromPartial({ id, spec: { container: {} } }), logPath: logOf(id) } : undefined,
  } as unknown as TaskRunner;

  const finding = (object: string): Finding => Finding.fromPartial({ kind: "link", object, problem: "missing" });
  let tell: (findings: readonly Finding[]) => void = () => {};
  const doctor: Pick<Doctor, "examine" | "follow"> = {
    examine: async ({ repair }) => ({ findings: repair ? [] : [finding("seen")], checked: 7, durationUs: 1 }),
    follow(callback) {
      tell = callback;
      return () => void (tell = () => {});
    },
  };

  beforeEach(async () => {
    dir = mkdtempSync(join(tmpdir(), "logs-"));
    killed = 0;
    serving = 0;
    failures = [];
    manager = await startTestManager();
    const credentials = clientCredentials(await manager.identity("w1", "worker"));
    let accepted = false;
    session = startSession({
      clock: realClock,
      random: seededRandom(2),
      logger: silentLogger,
      addr: "192.0.2.2",
      managers: () => [manager.address],
      dial: (address) => openChannel(address, credentials),
      description: async () => NodeDescription.fromPartial({}),
      statuses: () => [],
      onAccepted: () => void (accepted = true),
      onAssignments: () => {},
      onManagers: () => {},
      onRemoved: () => {},
      onStream(request, channel: Client) {
        serving++;
        serveStream(request, channel, { nodeId: "w1", tasks, runtime, doctor })
          .catch((error) => failures.push(error))
          .finally(() => serving--);
      },
    });
    control = createClient(ControlDefinition, manager.dial(await manager.identity("m1", "manager")));
    await until("a session", () => accepted);
    await manager.replicated.write((tx) => {
      for (const [id, nodeId] of [
        ["t1", "w1"],
        ["t2", "w1"],
        ["lost", "m1"],
      ] as const)
        tx.put(
          "task",
          Task.fromPartial({
            ...{ id, nodeId, name: id, slot: 1, desiredState: TaskState.TASK_RUNNING },
            status: { state: TaskState.TASK_RUNNING },
          }),
        );
    });
  });
  afterEach(() => {
    session.stop();
    manager.close();
    rmSync(dir, { recursive: true });
    expect(failures).to.deep.equal([]);
  });

  const line = (text: string) => `2026-01-01T00:00:00.000000000+00:00 stdout F ${text}\n`;
  const logs = (ref: string, more: Partial<LogsRequest> = {}, signal?: AbortSignal) =>
    control.logs(
      LogsRequest.fromPartial({ ref, tail: -1, stdout: true, stderr: true, ...more }),
      signal ? { signal } : {},
    );
  const exec = (inputs: AsyncIterable<ExecInput>, signal?: AbortSignal) =>
    control.exec(inputs, signal ? { signal } : {});
  const start = (ref: string, stdin = true): ExecInput =>
    ExecInput.fromPartial({ input: { $case: "start", value: { ref, command: ["cat"], stdin } } });

  it("all lines of a long log arrive, and both sides close", async () => {
    writeFileSync(logOf("t1"), Array.from({ length: 20_000 }, (_, i) => line(String(i))).join(""));
    let next = 0;
    for await (const { lines } of logs("t1"))
      for (const { data } of lines) expect(data.toString()).to.match(new RegExp(`^${next++}\\n?$`));
    expect(next).to.equal(20_000);
    await until("the agent is done", () => serving === 0);
  });

  it("a client that follows and goes ends the agent's reading", async () => {
    writeFileSync(logOf("t1"), line("one"));
    const controller = new AbortController();
    const seen: string[] = [];
    const reading = (async () => {
      for await (const { lines } of logs("t1", { follow: true }, controller.signal))
        for (const { data } of lines) seen.push(data.toString().trim());
    })().catch(() => {});
    await until("first line", () => seen.length === 1);
    appendFileSync(logOf("t1"), line("two"));
    await until("second line", () => seen.length === 2);
    controller.abort();
    await reading;
    await until("the agent is done", () => serving === 0);
  });

  it("a node without a session is a warning", async () => {
    const warnings: string[] = [];
    for await (const message of logs("lost")) warnings.push(...message.warnings);
    expect(warnings.join()).to.contain("m1 is not connected");
  });

  it("exec carries input and output, and the exit code last", async () => {
    const inputs = createQueue<ExecInput>();
    inputs.push(start("t1"));
    inputs.push({ input: { $case: "stdin", value: Buffer.from("hello") } });
    inputs.push({ input: { $case: "stdinClosed", value: true } });
    // After the end of input: goes nowhere, and breaks nothing.
    inputs.push({ input: { $case: "stdin", value: Buffer.from("late") } });
    const reading = (async () => {
      const cases: string[] = [];
      for await (const { output } of exec(inputs)) {
        cases.push(output!.$case);
        if (output?.$case === "started") handle.stdin.pipe(handle.stdout, { end: false });
        if (output?.$case === "stdout") expect(output.value.toString()).to.equal("hello");
        if (output?.$case === "exitCode") expect(output.value).to.equal(0);
      }
      return cases;
    })();
    expect(await reading).to.deep.equal(["started", "stdout", "exitCode"]);
    await until("the agent is done", () => serving === 0);
    inputs.end();
  });

  it("a client that goes while the program is silent ends the program", async () => {
    const controller = new AbortController();
    const inputs = createQueue<ExecInput>();
    inputs.push(start("t1"));
    const started = new Promise<void>((resolve) => {
      opened = resolve;
    });
    const reading = (async () => {
      for await (const _ of exec(inputs, controller.signal));
    })().catch(() => {});
    await started;
    // Also one that has nothing more to say.
    inputs.end();
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(killed).to.equal(0);
    controller.abort();
    await reading;
    await until("killed", () => killed > 0);
    await until("the agent is done", () => serving === 0);
  });

  it("an exec that can't be is refused by the one who knows", async () => {
    const failing = async (ref: string, input: ExecInput = start(ref)) => {
      const inputs = createQueue<ExecInput>();
      inputs.push(input);
      try {
        for await (const _ of exec(inputs));
      } catch (error) {
        return error;
      } finally {
        inputs.end();
      }
      return undefined;
    };
    expect(await failing("lost")).to.have.property("code", "unavailable");
    expect(await failing("nope")).to.have.property("code", "not_found");
    const empty = ExecInput.fromPartial({ input: { $case: "start", value: { ref: "t1", command: [] } } });
    expect(await failing("t1", empty)).to.have.property("code", "invalid");
    await manager.replicated.write((tx) =>
      tx.put("task", { ...tx.get("task", "t2")!, id: "x9", name: "x9", meta: undefined }),
    );
    expect(await failing("x9"))
      .to.have.property("message")
      .that.contains("is not on this node any more");
  });

  describe("back pressure", () => {
    const PIECE = Buffer.alloc(64 << 10, "x");
    /** What waits on the way, in pieces: queues, grpc's buffers and windows of two connections. */
    const ON_THE_WAY = 120;
    const LIMIT = 400;
    /** Resolves when the number has stopped growing. */
    const stalled = async (count: () => number): Promise<number> => {
      for (let last = -1, same = 0; same < 3; ) {
        same = last === count() && last > 0 ? same + 1 : 0;
        last = count();
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
      return count();
    };
    /** Starts `cat`, then gives pieces of input as fast as they are taken. */
    const feed = (pieces: number, signal?: AbortSignal) => {
      let taken = 0;
      const inputs = async function* (): AsyncGenerator<ExecInput> {
        yield start("t1");
        for (; taken < pieces; taken++) yield { input: { $case: "stdin", value: PIECE } };
        yield { input: { $case: "stdinClosed", value: true } };
      };
      return { outputs: exec(inputs(), signal), taken: () => taken };
    };
    const drain = (outputs: AsyncIterable<unknown>) =>
      (async () => {
        for await (const _ of outputs);
      })().catch(() => {});

    it("input waits with its sender while the program does not read", async () => {
      const { outputs, taken } = feed(LIMIT);
      const reading = drain(outputs);
      expect(await stalled(taken)).to.be.lessThan(ON_THE_WAY);
      expect(handle.stdin.writableLength).to.be.at.most(2 * PIECE.length);
      let read = 0;
      handle.stdin.on("data", (data: Buffer) => {
        read += data.length;
      });
      await reading;
      expect(read).to.equal(LIMIT * PIECE.length);
      await until("the agent is done", () => serving === 0);
    });

    it("a program that ends without having read its input is over", async () => {
      const { outputs, taken } = feed(LIMIT);
      const reading = drain(outputs);
      await stalled(taken);
      handle.stdout.end();
      handle.stderr.end();
      handle.exit.resolve(0);
      await reading;
      await until("the agent is done", () => serving === 0);
      expect(killed).to.equal(0);
    });

    it("a client that goes while its input waits ends the program", async () => {
      const controller = new AbortController();
      const { outputs, taken } = feed(LIMIT, controller.signal);
      const reading = drain(outputs);
      await stalled(taken);
      controller.abort();
      await reading;
      await until("killed", () => killed > 0);
      await until("the agent is done", () => serving === 0);
    });

    for (const leaves of [false, true])
      it(`output waits in the program while the client does not read${leaves ? "; one that goes ends the program" : ""}`, async () => {
        const controller = new AbortController();
        const inputs = createQueue<ExecInput>();
        inputs.push(start("t1"));
        const outputs = exec(inputs, controller.signal)[Symbol.asyncIterator]();
        expect((await outputs.next()).value.output.$case).to.equal("started");
        let written = 0;
        const writing = (async () => {
          for (; written < LIMIT && !handle.stdout.writableEnded; written++)
            if (!handle.stdout.write(PIECE)) await Promise.race([once(handle.stdout, "drain"), handle.exit.promise]);
        })();
        expect(await stalled(() => written)).to.be.lessThan(ON_THE_WAY);
        if (leaves) {
          controller.abort();
          await until("killed", () => killed > 0);
        } else {
          let read = 0;
          while (read < LIMIT * PIECE.length) {
            const { value } = await outputs.next();
            read += value.output.value.length;
          }
          await writing;
          handle.stdin.emit("end");
          expect((await outputs.next()).value.output).to.deep.equal({ $case: "exitCode", value: 0 });
          inputs.end();
        }
        await outputs.return?.();
        await until("the agent is done", () => serving === 0);
      });
  });

  describe("what the nodes' networking lacks", () => {
    const examine = (request: Partial<DoctorRequest>, signal?: AbortSignal) =>
      control.doctor(DoctorRequest.fromPartial(request), signal ? { signal } : {});
    const known = () =>
      manager.replicated.write((tx) => {
        for (const id of ["w1", "m1"]) {
          const node = tx.get("node", id) ?? Node.fromPartial({ id, spec: {} });
          tx.put("node", { ...node, description: NodeDescription.fromPartial({ hostname: `host-${id}` }) });
        }
      });

    it("comes from all nodes at once, with the reason of one that can't be asked", async () => {
      await known();
      const answers = new Map<string, DoctorResponse>();
      for await (const answer of examine({})) answers.set(answer.hostname, answer);
      expect(answers.get("host-w1")!.findings.map((f) => f.object)).to.deep.equal(["seen"]);
      expect(answers.get("host-w1")!.checked).to.equal(7);
      expect(answers.get("host-m1")!.error).to.match(/not connected/);
      await until("the agent is done", () => serving === 0);
    });

    it("is asked of one node, and repaired", async () => {
      await known();
      const answers: DoctorResponse[] = [];
      for await (const answer of examine({ node: "host-w1", repair: true })) answers.push(answer);
      expect(answers.map((a) => [a.hostname, a.findings.length])).to.deep.equal([["host-w1", 0]]);
    });

    it("is told as it happens until the client goes", async () => {
      await known();
      const controller = new AbortController();
      const seen: string[] = [];
      const reading = (async () => {
        for await (const { findings } of examine({ node: "w1", watch: true }, controller.signal))
          for (const { object } of findings) seen.push(object);
      })().catch(() => {});
      await until("the first answer", () => seen.length === 1);
      tell([finding("later")]);
      await until("the second answer", () => seen.length === 2);
      expect(seen).to.deep.equal(["seen", "later"]);
      controller.abort();
      await reading;
      await until("the agent is done", () => serving === 0);
    });
  });
});
