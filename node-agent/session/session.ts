// The agent's session with the leader: finds it among the managers, keeps one stream, and starts anew with backoff when it
// ends. What the agent must do comes down as assignments; what happens here goes up as statuses until it is acknowledged.
import type { Client } from "@grpc/grpc-js";
import type { Clock } from "#base/clock.ts";
import { TswarmError } from "#base/errors.ts";
import type { Logger } from "#base/log.ts";
import { createQueue, type Queue } from "#base/queue.ts";
import type { Random } from "#base/random.ts";
import {
  type AgentMessage,
  type Assignments,
  DispatcherDefinition,
  type ManagerMessage,
  type SessionAccepted,
  type StreamRequest,
  type TaskStatusUpdate,
} from "#proto/gen/dispatcher.ts";
import type { NodeDescription, NodeSpec } from "#proto/gen/types.ts";
import { createClient } from "#proto/rpc/client.ts";

const BACKOFF_MIN_MS = 100;
const BACKOFF_MAX_MS = 1_000;
/** A manager that has not accepted by then is passed over: connecting to a host that is cut off would take minutes. */
const ACCEPT_TIMEOUT_MS = 5_000;
/**
 * A manager that says nothing for so many periods is left: its host may be cut off without a reset. The next leader gives
 * nodes three periods to show up, and the heartbeat before the last one has almost a period to be answered.
 */
const SILENT_PERIODS = 2;
/** So long others are asked first: an election is over by then, and each attempt on a host that is cut off costs seconds. */
const AVOID_MS = 5_000;

export type SessionOptions = {
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /** The node's own address as the others reach it. */
  readonly addr: string;
  /** Known managers, "host:port"; the session keeps it up to date. */
  readonly managers: () => readonly string[];
  readonly dial: (address: string) => Client;
  readonly description: () => Promise<NodeDescription>;
  /** Statuses of all tasks, for a new session. */
  readonly statuses: () => TaskStatusUpdate[];
  readonly onAccepted: (accepted: SessionAccepted) => void;
  /** `applied` may be called once this node is as they say; an earlier message's need not be called any more then. */
  readonly onAssignments: (assignments: Assignments, applied: () => void) => void;
  readonly onManagers: (addresses: string[], leader: string, node: NodeSpec | undefined) => void;
  /** Open a stream to the manager at the other end of `channel`. */
  readonly onStream: (request: StreamRequest, channel: Client) => void;
  /** This node is no longer one of the cluster. */
  readonly onRemoved: (reason: string) => void;
};

export type Session = {
  report(update: TaskStatusUpdate): void;
  describe(): void;
  /** Whether a session is open now, and with whom. */
  readonly leader: () => string | undefined;
  stop(): void;
};

export const startSession = (options: SessionOptions): Session => {
  const { clock, random, logger } = options;
  // The newest status of each task that no manager has acknowledged.
  const unacknowledged = new Map<string, { sequence: number; update: TaskStatusUpdate }>();
  let sequence = 0;
  let out: Queue<AgentMessage> | undefined;
  let connectedTo: string | undefined;
  let stopped = false;
  let abort = new AbortController();
  let preferred = "";
  /** The manager that was silent last, and when it may be asked again: until then nobody is believed who says that it leads. */
  let silent = { address: "", until: 0 };
  const isSilent = (address: string): boolean => address === silent.address && clock.monotonic() < silent.until;
  let turn = 0;
  let gathering = false;

  const sendStatuses = (): void => {
    gathering = false;
    if (!out || unacknowledged.size === 0) return;
    const updates = [...unacknowledged.values()].filter((e) => e.sequence > sent).map((e) => e.update);
    if (updates.length === 0) return;
    sent = sequence;
    out.push({ message: { $case: "statuses", value: { sequence, updates } } });
  };
  let sent = 0;

  /** Sequences are those of one session: what a later one is told starts from 1 again. */
  const acknowledge = (applied: number) => {
    const session = out;
    return () => {
      if (out === session) session?.push({ message: { $case: "applied", value: { sequence: applied } } });
    };
  };

  const receive = ({ message }: ManagerMessage, channel: Client): void => {
    switch (message?.$case) {
      case "assignments":
        options.onAssignments(message.value, acknowledge(message.value.sequence));
        break;
      case "managers": {
        const { managers, node } = message.value;
        options.onManagers(
          managers.map((m) => m.addr),
          managers.find((m) => m.leader)?.addr ?? "",
          node,
        );
        break;
      }
      case "statusAck":
        for (const [id, entry] of unacknowledged)
          if (entry.sequence <= message.value.sequence) unacknowledged.delete(id);
        break;
      case "stream":
        options.onStream(message.value, channel);
        break;
    }
  };

  const once = async (address: string): Promise<void> => {
    const channel = options.dial(address);
    const queue = createQueue<AgentMessage>();
    const ending = new AbortController();
    abort = ending;
    const giveUp = () => {
      logger.warn("manager is silent", { manager: address });
      silent = { address, until: clock.monotonic() + AVOID_MS };
      ending.abort();
    };
    let cancelSilence = clock.after(ACCEPT_TIMEOUT_MS, giveUp);
    let cancelBeat = () => {};
    try {
      const description = await options.description();
      const statuses = options.statuses();
      sent = sequence;
      queue.push({ message: { $case: "start", value: { description, addr: options.addr, statuses } } });
      let answered = clock.monotonic();
      const messages = createClient(DispatcherDefinition, channel).session(queue, { signal: ending.signal });
      for await (const message of messages) {
        // What is on its way when the session is over is for nobody.
        if (ending.signal.aborted) break;
        answered = clock.monotonic();
        if (message.message?.$case === "accepted") {
          cancelSilence();
          const { heartbeatMs } = message.message.value;
          logger.info("session accepted", { manager: address, session: message.message.value.sessionId });
          connectedTo = address;
          preferred = address;
          out = queue;
          options.onAccepted(message.message.value);
          // The statuses in `start` are written before `accepted` is sent.
          for (const [id, entry] of unacknowledged) if (entry.sequence <= sent) unacknowledged.delete(id);
          sendStatuses();
          const listen = () => {
            const left = answered + SILENT_PERIODS * heartbeatMs - clock.monotonic();
            if (left > 0) cancelSilence = clock.after(left, listen);
            else giveUp();
          };
          listen();
          const beat = () => {
            queue.push({ message: { $case: "heartbeat", value: {} } });
            // Spread over time: all agents of a cluster start together after a fail-over.
            cancelBeat = clock.after(heartbeatMs * (0.9 + 0.2 * random.float()), beat);
          };
          cancelBeat = clock.after(heartbeatMs * random.float(), beat);
        } else receive(message, channel);
      }
    } finally {
      cancelSilence();
      cancelBeat();
      queue.end();
      out = undefined;
      connectedTo = undefined;
      channel.close();
    }
  };

  const next = (): string | undefined => {
    if (preferred !== "") return preferred;
    const known = options.managers();
    const others = known.filter((address) => !isSilent(address));
    const asked = others.length > 0 ? others : known;
    return asked[turn++ % Math.max(1, asked.length)];
  };

  const run = async (): Promise<void> => {
    let backoff = BACKOFF_MIN_MS;
    while (!stopped) {
      const address = next();
      let wait = backoff * (0.5 + random.float());
      if (address !== undefined) {
        const began = clock.monotonic();
        try {
          await once(address);
          preferred = "";
        } catch (thrown) {
          const error = TswarmError.from(thrown);
          preferred = error.leaderAddr === undefined || isSilent(error.leaderAddr) ? "" : error.leaderAddr;
          if (error.code === "forbidden" && !stopped) {
            options.onRemoved(error.message);
            return;
          }
          if (preferred !== "" && preferred !== address) wait = 0;
          if (!stopped) logger.warn("session ended", { manager: address, code: error.code, error: error.message });
        }
        backoff = clock.monotonic() - began > 5_000 ? BACKOFF_MIN_MS : Math.min(backoff * 2, BACKOFF_MAX_MS);
      }
      if (!stopped && wait > 0) await new Promise<void>((resolve) => clock.after(wait, resolve));
    }
  };
  void run();

  return {
    report(update) {
      unacknowledged.set(update.taskId, { sequence: ++sequence, update });
      if (gathering) return;
      gathering = true;
      queueMicrotask(sendStatuses);
    },
    describe() {
      const session = out;
      void options.description().then(
        (value) => session?.push({ message: { $case: "description", value } }),
        (error) => logger.warn("node not described", { error }),
      );
    },
    leader: () => connectedTo,
    stop() {
      stopped = true;
      abort.abort();
      out?.end();
    },
  };
};
