import { mkdtempSync, rmSync } from "node:fs";
import { createSecureServer } from "node:http2";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { Server, ServerCredentials } from "@grpc/grpc-js";
import { expect } from "chai";
import { refuse, TswarmError } from "#base/errors.ts";
import { createCa, createKeyAndRequest, issueCertificate } from "#base/node/pki.ts";
import {
  ControlDefinition,
  type ExecInput,
  type ExecOutput,
  type GetNodeRequest,
  LogsRequest,
} from "#proto/gen/control.ts";
import { addService, type Handlers } from "#proto/rpc/server.ts";
import { type Connection, connect } from "#tsctl/connection/client.ts";

const BIG = "x".repeat(300_000);
let aborted = 0;

const handlers = {
  getNode: async (request: GetNodeRequest) => {
    if (request.ref === "missing") throw refuse("not_found", "ref", "no node “missing”", "See tsctl node ls");
    return { node: { node: undefined, reachability: request.ref, leader: true } };
  },
  logs: async function* (request: LogsRequest, context: { signal: AbortSignal }) {
    context.signal.addEventListener("abort", () => aborted++);
    for (let i = 0; i < request.tail || request.follow; i++) {
      if (context.signal.aborted) return;
      yield { lines: [], warnings: [request.follow ? String(i) : BIG] };
      if (request.follow) await new Promise((r) => setTimeout(r, 1));
    }
    if (request.ref === "broken") throw new TswarmError("unavailable", "log ended");
  },
  exec: async function* (inputs: AsyncIterable<ExecInput>): AsyncGenerator<ExecOutput> {
    for await (const { input } of inputs)
      if (input?.$case === "stdin") yield { output: { $case: "stdout", value: input.value } };
    yield { output: { $case: "exitCode", value: 7 } };
  },
} as unknown as Handlers<ControlDefinition>;
for (const name of Object.keys(ControlDefinition.methods))
  if (!(name in handlers)) (handlers as Record<string, unknown>)[name] = async () => ({});

const failure = async (promise: Promise<unknown>): Promise<TswarmError> => {
  try {
    await promise;
  } catch (error) {
    return error as TswarmError;
  }
  throw new Error("did not fail");
};

describe("gRPC over node:http2", () => {
  const folder = mkdtempSync(join(tmpdir(), "tsctl-"));
  const host = `unix:${folder}/socket`;
  const server = new Server();
  let connection: Connection;
  const control = () => connection.client(ControlDefinition);
  before(async () => {
    addService(server, ControlDefinition, handlers);
    await new Promise<void>((resolve, reject) =>
      server.bindAsync(host, ServerCredentials.createInsecure(), (e) => (e ? reject(e) : resolve())),
    );
    connection = await connect({ host });
  });
  after(() => {
    connection?.close();
    server.forceShutdown();
    rmSync(folder, { recursive: true });
  });

  it("answers, also with a message larger than any frame", async () => {
    const { node } = await control().getNode({ ref: BIG });
    expect(node!.reachability).to.equal(BIG);
    expect(node!.leader).to.equal(true);
  });

  it("brings field, reason and remedy of a refusal", async () => {
    const error = await failure(control().getNode({ ref: "missing" }));
    expect(error).to.be.instanceOf(TswarmError);
    expect(error.code).to.equal("not_found");
    expect(error.issues).to.deep.equal([{ field: "ref", reason: "no node “missing”", remedy: "See tsctl node ls" }]);
  });

  it("reads a stream to its end, and the error at its end", async () => {
    let size = 0;
    for await (const r of control().logs(LogsRequest.fromPartial({ tail: 20 }))) size += r.warnings[0]!.length;
    expect(size).to.equal(20 * BIG.length);
    let seen = 0;
    const error = await failure(
      (async () => {
        for await (const _ of control().logs(LogsRequest.fromPartial({ tail: 2, ref: "broken" }))) seen++;
      })(),
    );
    expect([seen, error.code, error.message]).to.deep.equal([2, "unavailable", "log ended"]);
  });

  it("tells the server when a reader leaves a stream, or its signal says so", async () => {
    for await (const r of control().logs(LogsRequest.fromPartial({ follow: true }))) if (r.warnings[0] === "3") break;
    const controller = new AbortController();
    const error = await failure(
      (async () => {
        for await (const _ of control().logs(LogsRequest.fromPartial({ follow: true }), { signal: controller.signal }))
          controller.abort();
      })(),
    );
    expect(error.code).to.equal("cancelled");
    while (aborted < 2) await new Promise((resolve) => setTimeout(resolve, 5));
  });

  it("sends and receives at the same time", async () => {
    async function* inputs(): AsyncGenerator<ExecInput> {
      for (let i = 0; i < 50; i++) yield { input: { $case: "stdin", value: Buffer.from(BIG) } };
    }
    let size = 0;
    let code = 0;
    for await (const { output } of control().exec(inputs())) {
      if (output?.$case === "stdout") size += output.value.length;
      if (output?.$case === "exitCode") code = output.value;
    }
    expect([size, code]).to.deep.equal([50 * BIG.length, 7]);
  });

  it("keeps nothing of what was sent", async () => {
    setFlagsFromString("--expose-gc");
    const collect = runInNewContext("gc") as () => void;
    const sent: WeakRef<Buffer>[] = [];
    let held = 0;
    async function* inputs(): AsyncGenerator<ExecInput> {
      for (let i = 0; i < 100; i++) {
        const value = Buffer.alloc(100_000);
        sent.push(new WeakRef(value));
        yield { input: { $case: "stdin", value } };
      }
      // Everything before has been echoed by now, or nearly so.
      await new Promise((resolve) => setTimeout(resolve, 50));
      collect();
      held = sent.filter((ref) => ref.deref()).length;
    }
    for await (const _ of control().exec(inputs()));
    expect(sent.length).to.equal(100);
    expect(held).to.be.lessThan(10);
  });

  it("fails at once when nobody listens", async () => {
    const error = await failure(connect({ host: `unix:${folder}/nobody` }));
    expect((error as unknown as NodeJS.ErrnoException).code).to.equal("ENOENT");
  });

  for (const role of ["manager", "worker"] as const)
    it(`over TCP ${role === "manager" ? "talks to a manager" : "does not take a worker for a manager"}`, async () => {
      const now = Date.now();
      const ca = await createCa(now);
      const { keyPem, csrPem } = await createKeyAndRequest();
      const cert = await issueCertificate(ca, csrPem, { nodeId: "n1", clusterId: "c1", role }, now, 60_000);
      const tls = createSecureServer({ key: keyPem, cert });
      await new Promise<void>((resolve) => tls.listen(0, "127.0.0.1", resolve));
      try {
        const { port } = tls.address() as AddressInfo;
        const attempt = connect({ host: `127.0.0.1:${port}`, ca: ca.certificatePem });
        if (role === "manager") (await attempt).close();
        else expect((await failure(attempt)).message).to.contain("not a manager's");
      } finally {
        tls.close();
      }
    });

  it("wants certificates for TCP", async () => {
    expect((await failure(connect({ host: "127.0.0.1:1" }))).message).to.contain("needs certificates");
    expect((await failure(connect({ host: "nonsense" }))).message).to.contain("is not an address");
  });
});
