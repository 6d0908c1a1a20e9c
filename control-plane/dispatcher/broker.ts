// Streams that a manager wants of an agent: logs and exec. The request goes down the agent's session, the agent opens the
// stream towards the manager, and the two ends meet here by the stream's id. No node has to be reachable from a manager.
import type { Clock } from "#base/clock.ts";
import { TswarmError } from "#base/errors.ts";
import { createLatch, type Latch } from "#base/latch.ts";
import { createQueue } from "#base/queue.ts";
import type { AgentFrame, ClientFrame, StreamRequest } from "#proto/gen/dispatcher.ts";
import type { RpcContext } from "#proto/rpc/server.ts";
import { fromErrorDetail } from "#proto/rpc/status.ts";

const OPEN_TIMEOUT_MS = 10_000;
/** Messages that wait for the agent; more than that wait with their sender. */
const MOST_WAITING = 8;

export type AgentStream = {
  /** Ends when the agent is done; throws the error that the agent sent. */
  readonly frames: AsyncIterable<AgentFrame>;
  /** Resolves when the agent takes more, or nothing any more. */
  send(frame: ClientFrame): Promise<void>;
  /** Tells the agent, unless it is done, that nobody listens any more; `frames` ends. */
  close(): void;
};

type Waiting = {
  readonly nodeId: string;
  connect(stream: AgentStream): void;
  fail(error: TswarmError): void;
};

export type Broker = {
  open(nodeId: string, request: NonNullable<StreamRequest["request"]>): Promise<AgentStream>;
  /** The Dispatcher.Serve call. */
  serve(frames: AsyncIterable<AgentFrame>, context: RpcContext): AsyncIterable<ClientFrame>;
  /** The node's session is over: what it has not opened yet it never will. */
  abandon(nodeId: string): void;
};

/** What the agent sends, until it is done or `over`. */
async function* framesUntil(
  frames: AsyncIterator<AgentFrame>,
  over: Latch,
  onDone: () => void,
): AsyncGenerator<AgentFrame> {
  for (;;) {
    const step = await over.orOpen(frames.next());
    if (step === undefined) return;
    if (step.done || step.value.frame?.$case === "error") onDone();
    if (step.done) return;
    if (step.value.frame?.$case === "error") throw fromErrorDetail(step.value.frame.value);
    yield step.value;
  }
}

const disconnected = (nodeId: string): TswarmError =>
  new TswarmError("unavailable", `node ${nodeId} is not connected: see tsctl node ls`);

/** `send` puts a request into the node's session and answers false when it has none. */
export const createBroker = (
  send: (nodeId: string, request: StreamRequest) => boolean,
  newId: () => string,
  clock: Clock,
): Broker => {
  const waiting = new Map<string, Waiting>();
  return {
    open(nodeId, request) {
      const streamId = newId();
      return new Promise((resolve, reject) => {
        const done = (): void => {
          cancel();
          waiting.delete(streamId);
        };
        const fail = (error: TswarmError): void => {
          done();
          reject(error);
        };
        const cancel = clock.after(OPEN_TIMEOUT_MS, () =>
          fail(
            new TswarmError(
              "unavailable",
              `node ${nodeId} did not open the stream within ${OPEN_TIMEOUT_MS / 1000} s: see its agent's log`,
            ),
          ),
        );
        waiting.set(streamId, {
          nodeId,
          fail,
          connect(stream) {
            done();
            resolve(stream);
          },
        });
        if (!send(nodeId, { streamId, request })) fail(disconnected(nodeId));
      });
    },
    async *serve(frames, context) {
      const iterator = frames[Symbol.asyncIterator]();
      const first = await iterator.next();
      const id = !first.done && first.value.frame?.$case === "streamId" ? first.value.frame.value : "";
      const waiter = waiting.get(id);
      if (!waiter || waiter.nodeId !== context.peer?.nodeId)
        throw new TswarmError("not_found", `nobody waits for the stream ${id || "(none named)"}: its client has gone`);
      const out = createQueue<ClientFrame>();
      const over = createLatch();
      let done = false;
      const close = (): void => {
        if (over.isOpen()) return;
        out.end();
        over.open();
        // It may read nothing at the moment: what a program's input waits for would hide the end.
        if (!done) context.reset();
      };
      // The agent's end is lost.
      context.signal.addEventListener("abort", () => out.end(), { once: true });
      waiter.connect({
        frames: framesUntil(iterator, over, () => {
          done = true;
        }),
        send(frame) {
          out.push(frame);
          return out.room(MOST_WAITING);
        },
        close,
      });
      yield* out;
    },
    abandon(nodeId) {
      for (const waiter of [...waiting.values()]) if (waiter.nodeId === nodeId) waiter.fail(disconnected(nodeId));
    },
  };
};
