// Streams that a manager wants of an agent: logs and exec. The request goes down the agent's session, the agent opens the
// stream towards the manager, and the two ends meet here by the stream's id. No node has to be reachable from a manager.
import { TswarmError } from "#base/errors.ts";
import { createQueue, type Queue } from "#base/queue.ts";
import type { AgentFrame, ClientFrame, StreamRequest } from "#proto/gen/dispatcher.ts";
import type { RpcContext } from "#proto/rpc/server.ts";
import { fromErrorDetail } from "#proto/rpc/status.ts";

const OPEN_TIMEOUT_MS = 10_000;

export type AgentStream = {
  /** Ends when the agent is done; throws the error that the agent sent. */
  readonly frames: AsyncIterable<AgentFrame>;
  send(frame: ClientFrame): void;
  /** Tells the agent that nobody listens any more. */
  close(): void;
};

type Waiting = { readonly nodeId: string; connect(frames: AsyncIterable<AgentFrame>, out: Queue<ClientFrame>): void };

export type Broker = {
  open(nodeId: string, request: NonNullable<StreamRequest["request"]>): Promise<AgentStream>;
  /** The Dispatcher.Serve call. */
  serve(frames: AsyncIterable<AgentFrame>, context: RpcContext): AsyncIterable<ClientFrame>;
};

async function* failing(frames: AsyncIterable<AgentFrame>): AsyncGenerator<AgentFrame> {
  for await (const message of frames) {
    if (message.frame?.$case === "error") throw fromErrorDetail(message.frame.value);
    yield message;
  }
}

/** `send` puts a request into the node's session and answers false when it has none. */
export const createBroker = (
  send: (nodeId: string, request: StreamRequest) => boolean,
  newId: () => string,
): Broker => {
  const waiting = new Map<string, Waiting>();
  return {
    open(nodeId, request) {
      const streamId = newId();
      return new Promise((resolve, reject) => {
        const timer = setTimeout(() => {
          waiting.delete(streamId);
          reject(
            new TswarmError(
              "unavailable",
              `node ${nodeId} did not open the stream within ${OPEN_TIMEOUT_MS / 1000} s: see its agent's log`,
            ),
          );
        }, OPEN_TIMEOUT_MS);
        waiting.set(streamId, {
          nodeId,
          connect(frames, out) {
            clearTimeout(timer);
            resolve({ frames: failing(frames), send: (frame) => out.push(frame), close: () => out.end() });
          },
        });
        if (send(nodeId, { streamId, request })) return;
        clearTimeout(timer);
        waiting.delete(streamId);
        reject(new TswarmError("unavailable", `node ${nodeId} is not connected: see tsctl node ls`));
      });
    },
    async *serve(frames, context) {
      const iterator = frames[Symbol.asyncIterator]();
      const first = await iterator.next();
      const id = !first.done && first.value.frame?.$case === "streamId" ? first.value.frame.value : "";
      const waiter = waiting.get(id);
      if (!waiter || waiter.nodeId !== context.peer?.nodeId)
        throw new TswarmError("not_found", `nobody waits for the stream ${id || "(none named)"}: its client has gone`);
      waiting.delete(id);
      const out = createQueue<ClientFrame>();
      waiter.connect({ [Symbol.asyncIterator]: () => iterator }, out);
      yield* out;
    },
  };
};
