import { expect } from "chai";
import { createQueue } from "#base/queue.ts";
import { createManualClock } from "#control-plane/controllers/manual-clock.ts";
import { createBroker } from "#control-plane/dispatcher/broker.ts";
import type { AgentFrame, StreamRequest } from "#proto/gen/dispatcher.ts";
import type { RpcContext } from "#proto/rpc/server.ts";
import { toErrorDetail } from "#proto/rpc/status.ts";

const request = {
  $case: "logs" as const,
  value: { taskIds: [], follow: false, tail: -1, since: 0, stdout: true, stderr: true },
};
const streamId = (id: string): AgentFrame => ({ frame: { $case: "streamId", value: id } });
const logs = (text: string): AgentFrame => ({ frame: { $case: "logs", value: { lines: [], warnings: [text] } } });
const settle = () => new Promise<void>((resolve) => setImmediate(resolve));
const codeOf = (promise: Promise<unknown>) =>
  promise.then(
    () => "",
    (e: { code: string }) => e.code,
  );

describe("broker of streams", () => {
  const setup = () => {
    const clock = createManualClock();
    const sent: StreamRequest[] = [];
    let ids = 0;
    const send = (nodeId: string, message: StreamRequest): boolean => nodeId !== "away" && sent.push(message) > 0;
    const broker = createBroker(send, () => `s${++ids}`, clock);
    const serve = (nodeId: string) => {
      const frames = createQueue<AgentFrame>();
      const controller = new AbortController();
      const peer = { nodeId, clusterId: "c", role: "worker" as const };
      const context: RpcContext = { peer, address: "", signal: controller.signal, reset: () => {} };
      const out = broker.serve(frames, context)[Symbol.asyncIterator]();
      return { frames, out, abort: () => controller.abort() };
    };
    return { broker, clock, sent, serve };
  };

  it("joins the two ends, and ends where either does", async () => {
    const { broker, sent, serve } = setup();
    const opening = broker.open("n1", request);
    const { frames, out } = serve("n1");
    frames.push(streamId(sent[0]!.streamId));
    const first = out.next();
    const stream = await opening;
    frames.push(logs("one"));
    const reader = stream.frames[Symbol.asyncIterator]();
    expect((await reader.next()).value).to.deep.equal(logs("one"));
    stream.send({ frame: { $case: "cancel", value: true } });
    expect((await first).value).to.deep.equal({ frame: { $case: "cancel", value: true } });
    const last = reader.next();
    stream.close();
    expect((await last).done).to.equal(true);
    expect((await out.next()).done).to.equal(true);
  });

  it("an agent that is lost ends its side; its error reaches the reader", async () => {
    const { broker, sent, serve } = setup();
    const opening = broker.open("n1", request);
    const { frames, out, abort } = serve("n1");
    frames.push(streamId(sent[0]!.streamId));
    const first = out.next();
    const stream = await opening;
    frames.push({ frame: { $case: "error", value: toErrorDetail(new Error("broken")) } });
    abort();
    expect((await first).done).to.equal(true);
    const reader = stream.frames[Symbol.asyncIterator]();
    const error = await reader.next().catch((e: Error) => e.message);
    expect(error).to.equal("broken");
  });

  it("gives up after ten seconds, and at once when the node has no session or loses it", async () => {
    const { broker, clock, sent, serve } = setup();
    expect(await codeOf(broker.open("away", request))).to.equal("unavailable");
    const late = codeOf(broker.open("n1", request));
    await clock.pass(9_999);
    expect(await Promise.race([late, settle().then(() => "waits")])).to.equal("waits");
    await clock.pass(1);
    expect(await late).to.equal("unavailable");
    const { frames, out } = serve("n1");
    frames.push(streamId(sent[0]!.streamId));
    expect(await codeOf(out.next())).to.equal("not_found");
    const lost = codeOf(broker.open("n1", request));
    const other = codeOf(broker.open("n2", request));
    broker.abandon("n1");
    expect(await lost).to.equal("unavailable");
    expect(await Promise.race([other, settle().then(() => "waits")])).to.equal("waits");
  });

  it("no node takes another's stream", async () => {
    const { broker, sent, serve } = setup();
    const opening = broker.open("n1", request);
    const thief = serve("n2");
    thief.frames.push(streamId(sent[0]!.streamId));
    expect(await codeOf(thief.out.next())).to.equal("not_found");
    const { frames, out } = serve("n1");
    frames.push(streamId(sent[0]!.streamId));
    void out.next();
    await opening;
  });
});
