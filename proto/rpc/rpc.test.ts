import { credentials, Server, ServerCredentials, type ServiceError } from "@grpc/grpc-js";
import { expect } from "chai";
import { refuse, TswarmError } from "#base/errors.ts";
import {
  ControlDefinition,
  type ExecInput,
  type ExecOutput,
  type GetNodeRequest,
  LogsRequest,
} from "#proto/gen/control.ts";
import { createClient, openChannel } from "#proto/rpc/client.ts";
import { methodPath } from "#proto/rpc/definition.ts";
import { addService, type Handlers } from "#proto/rpc/server.ts";
import { fromServiceError } from "#proto/rpc/status.ts";

const listen = (server: Server): Promise<number> =>
  new Promise((resolve, reject) =>
    server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (e, port) => (e ? reject(e) : resolve(port))),
  );

const handlers = {
  getNode: async (request: GetNodeRequest) => {
    if (request.ref === "missing") throw refuse("not_found", "ref", "no node \u201cmissing\u201d", "See tsctl node ls");
    return { node: undefined };
  },
  logs: async function* (request: LogsRequest, context: { signal: AbortSignal }) {
    for (let i = 0; i < (request.follow ? 1e9 : request.tail); i++) {
      if (context.signal.aborted) return;
      yield { lines: [], warnings: [String(i)] };
      if (request.follow) await new Promise((r) => setTimeout(r, 1));
    }
    throw new TswarmError("unavailable", "log ended");
  },
  exec: async function* (inputs: AsyncIterable<ExecInput>): AsyncGenerator<ExecOutput> {
    for await (const { input } of inputs)
      if (input?.$case === "stdin") yield { output: { $case: "stdout", value: input.value } };
    yield { output: { $case: "exitCode", value: 7 } };
  },
} as unknown as Handlers<ControlDefinition>;
for (const name of Object.keys(ControlDefinition.methods))
  if (!(name in handlers)) (handlers as Record<string, unknown>)[name] = async () => ({});

for (const via of ["direct", "proxied"]) {
  describe(`rpc ${via}`, () => {
    const servers: Server[] = [];
    let channel: ReturnType<typeof openChannel>;
    before(async () => {
      const server = new Server();
      addService(server, ControlDefinition, handlers);
      servers.push(server);
      let port = await listen(server);
      if (via === "proxied") {
        const onward = openChannel(`127.0.0.1:${port}`);
        const front = new Server();
        addService(front, ControlDefinition, undefined, { elsewhere: () => onward });
        servers.push(front);
        port = await listen(front);
      }
      channel = openChannel(`127.0.0.1:${port}`, credentials.createInsecure());
    });
    after(() => {
      channel.close();
      for (const s of servers) s.forceShutdown();
    });

    it("answers, and carries field, reason and remedy of a refusal", async () => {
      const client = createClient(ControlDefinition, channel);
      expect(await client.getNode({ ref: "a" })).to.deep.equal({ node: undefined });
      const error = await client.getNode({ ref: "missing" }).catch((e: unknown) => e);
      expect(error).to.be.instanceOf(TswarmError);
      expect((error as TswarmError).code).to.equal("not_found");
      expect((error as TswarmError).issues).to.deep.equal([
        { field: "ref", reason: "no node \u201cmissing\u201d", remedy: "See tsctl node ls" },
      ]);
    });

    for (const [what, method, bytes, reason] of [
      ["is no message", "getNode", Buffer.from([0x0f]), /the request of GetNode can't be read/],
      ["is cut off", "getNode", Buffer.from([0x0a, 0x20, 0x61]), /the request of GetNode can't be read/],
      ["is missing", "getNode", undefined, /GetNode was called without a request/],
      ["is no message, in a stream", "exec", Buffer.from([0x0f]), /the request of Exec can't be read/],
    ] as const)
      it(`refuses a request that ${what}`, async () => {
        const path = methodPath(ControlDefinition, ControlDefinition.methods[method]);
        const raw = (message: Buffer) => message;
        const error = await new Promise<ServiceError>((resolve) => {
          const call = channel.makeBidiStreamRequest(path, raw, raw);
          call.on("data", () => {});
          call.on("error", resolve);
          if (bytes) call.write(bytes);
          call.end();
        });
        expect(fromServiceError(error)).to.include({ code: "invalid" });
        expect(fromServiceError(error).message).to.match(reason);
      });

    it("streams, and ends with the error of the server", async () => {
      const client = createClient(ControlDefinition, channel);
      const seen: string[] = [];
      const run = async () => {
        for await (const m of client.logs(LogsRequest.fromPartial({ tail: 100 }))) seen.push(...m.warnings);
      };
      const error = await run().catch((e: unknown) => e);
      expect(seen).to.have.length(100);
      expect((error as TswarmError).code).to.equal("unavailable");
    });

    it("a reader that leaves ends the call", async () => {
      const client = createClient(ControlDefinition, channel);
      let n = 0;
      for await (const _ of client.logs(LogsRequest.fromPartial({ follow: true }))) if (++n === 3) break;
      expect(n).to.equal(3);
    });

    it("carries both directions", async () => {
      const client = createClient(ControlDefinition, channel);
      const input = async function* (): AsyncGenerator<ExecInput> {
        for (const word of ["one", "two"]) yield { input: { $case: "stdin", value: Buffer.from(word) } };
      };
      const out: unknown[] = [];
      for await (const { output } of client.exec(input()))
        out.push(output?.$case === "stdout" ? output.value.toString() : output?.value);
      expect(out).to.deep.equal(["one", "two", 7]);
    });
  });
}
