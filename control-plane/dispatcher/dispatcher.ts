// Agents' sessions on the leader: node views down, statuses and heartbeats up. Views are differences from NodeViews,
// gathered for a moment so that a burst of commits is one message; statuses of all nodes are gathered into one command.
import type { Clock } from "#base/clock.ts";
import { refuse, TswarmError } from "#base/errors.ts";
import type { Logger } from "#base/log.ts";
import { createQueue, type Queue } from "#base/queue.ts";
import { createHeartbeats, type Heartbeats } from "#control-plane/controllers/heartbeats.ts";
import { type Broker, createBroker } from "#control-plane/dispatcher/broker.ts";
import { type LeavingTasks, trackLeavingTasks } from "#control-plane/dispatcher/leaving-tasks.ts";
import type { ReplicatedState } from "#control-plane/manager/replicated-state.ts";
import { createNodeViews, type NodeViews, type ViewChanges } from "#control-plane/node-view/node-views.ts";
import { applyNodeSession, applyTaskStatuses, setNodeState } from "#control-plane/operations/nodes.ts";
import type { StateBatch } from "#control-plane/state/types.ts";
import {
  type AgentMessage,
  type Assignment,
  Assignments_Kind,
  type DispatcherDefinition,
  type ManagerAddr,
  type ManagerMessage,
  type SessionStart,
  type TaskStatusUpdate,
} from "#proto/gen/dispatcher.ts";
import { type NodeDescription, NodeState } from "#proto/gen/types.ts";
import type { Handlers, RpcContext } from "#proto/rpc/server.ts";

/** How long views and statuses gather: short against a container's start, long against a burst of commits. */
const GATHER_MS = 10;
const DEFAULT_HEARTBEAT_MS = 5_000;

type Session = {
  readonly id: string;
  readonly nodeId: string;
  readonly out: Queue<ManagerMessage>;
  sequence: number;
  /** What the agent has not been told yet: key to item, or null for gone. */
  readonly pending: Map<string, Assignment | null>;
  flushing: (() => void) | undefined;
  /** The agent is as the messages up to this one say. */
  applied: number;
  /** Who waits for that, and up to which message. */
  readonly waiting: Set<{ readonly sequence: number; readonly done: () => void }>;
};

type Report = { readonly session: Session; readonly sequence: number; readonly updates: readonly TaskStatusUpdate[] };

export type Dispatcher = {
  readonly handlers: Handlers<DispatcherDefinition>;
  readonly broker: Broker;
  /** Called when this manager leads and has applied everything before its term. `formerLeader` as for `LeaderDuty`. */
  start(formerLeader?: string): void;
  /** All sessions end; the agents look for the new leader. */
  stop(leaderAddr: string): void;
  /** Resolves when the node has done all that it has to do now; at once without a session, after `limitMs` at the latest. */
  caughtUp(nodeId: string, limitMs: number): Promise<void>;
  /** Sends every agent the managers' addresses. */
  announceManagers(): void;
};

export type DispatcherOptions = {
  readonly replicated: ReplicatedState;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly newId: () => string;
  readonly managers: () => ManagerAddr[];
  readonly leaderAddr: () => string;
};

export const createDispatcher = ({
  replicated,
  clock,
  logger,
  newId,
  managers,
  leaderAddr,
}: DispatcherOptions): Dispatcher => {
  const { state } = replicated;
  const sessions = new Map<string, Session>();
  const heartbeatMs = () => state.cluster()?.spec?.heartbeatMs || DEFAULT_HEARTBEAT_MS;
  type Active = {
    readonly views: NodeViews;
    readonly heartbeats: Heartbeats;
    readonly leaving: LeavingTasks;
    readonly unwatch: () => void;
  };
  let active: Active | undefined;

  // ---- down: views ----------------------------------------------------------------------------------------------
  const flush = (session: Session): void => {
    session.flushing = undefined;
    if (session.pending.size === 0) return;
    const put: Assignment[] = [];
    const remove: string[] = [];
    for (const [key, item] of session.pending) item ? put.push(item) : remove.push(key);
    session.pending.clear();
    const appliesTo = session.sequence++;
    const assignments = { kind: Assignments_Kind.INCREMENTAL, appliesTo, sequence: session.sequence, put, remove };
    session.out.push({ message: { $case: "assignments", value: assignments } });
  };

  const tell = (nodeId: string, { put, remove }: ViewChanges): void => {
    const session = sessions.get(nodeId);
    if (!session) return;
    for (const key of remove) session.pending.set(key, null);
    for (const item of put) session.pending.set(item.key, item);
    session.flushing ??= clock.after(GATHER_MS, () => flush(session));
  };

  const onBatch = (batch: StateBatch): void => {
    if (!active) return;
    const told = active.views.update(batch);
    for (const [nodeId, changes] of told) tell(nodeId, changes);
    active.leaving.update(batch.events, told);
    for (const event of batch.events) if (event.table === "node") onNode(event.object.id, event.action === "remove");
  };

  const onNode = (nodeId: string, removed: boolean): void => {
    if (removed) {
      active?.heartbeats.forget(nodeId);
      active?.leaving.giveUp(nodeId);
    }
    const session = sessions.get(nodeId);
    if (!session) return;
    if (!removed) keepReady(session);
    if (removed)
      end(session, refuse("forbidden", "node", "it was removed from the cluster", "Join it again with a token"));
    else
      session.out.push({
        message: { $case: "managers", value: { managers: managers(), node: state.get("node", nodeId)?.spec } },
      });
  };

  // ---- up: statuses ---------------------------------------------------------------------------------------------
  let reports: Report[] = [];
  let writing = false;
  const writeReports = async (): Promise<void> => {
    if (writing || reports.length === 0) return;
    writing = true;
    const batch = reports;
    reports = [];
    try {
      await replicated.write((tx, ctx) => {
        for (const { session, updates } of batch) applyTaskStatuses(tx, ctx, session.nodeId, updates);
      });
      for (const { session, sequence } of batch)
        session.out.push({ message: { $case: "statusAck", value: { sequence } } });
    } catch (error) {
      // Not acknowledged: the agent sends them again with its next session.
      logger.warn("statuses not written", { error, count: batch.length });
      for (const { session } of batch) end(session, error);
    } finally {
      writing = false;
      if (reports.length > 0) clock.after(GATHER_MS, () => void writeReports());
    }
  };
  const report = (entry: Report): void => {
    if (reports.push(entry) === 1 && !writing) clock.after(GATHER_MS, () => void writeReports());
  };

  // ---- sessions -------------------------------------------------------------------------------------------------
  const end = (session: Session, error: unknown): void => {
    session.flushing?.();
    for (const waiter of session.waiting) waiter.done();
    session.out.fail(error);
    if (sessions.get(session.nodeId) === session) {
      sessions.delete(session.nodeId);
      active?.views.unsubscribe(session.nodeId);
      active?.leaving.lost(session.nodeId);
      broker.abandon(session.nodeId);
    }
  };

  const writeNode = (what: string, nodeId: string, operation: Parameters<typeof replicated.write>[0]): void =>
    void replicated.write(operation).catch((error) => logger.warn(what, { nodeId, error }));

  const down = (nodeId: string, silentMs: number): void => {
    logger.warn("node is silent: down", { nodeId, silentMs });
    const session = sessions.get(nodeId);
    if (session) end(session, new TswarmError("unavailable", "no heartbeat for three periods: open a new session"));
    active?.leaving.giveUp(nodeId);
    const message = `no heartbeat for ${Math.round(silentMs / 100) / 10} s`;
    writeNode("node state not written", nodeId, (tx, ctx) =>
      setNodeState(tx, ctx, nodeId, NodeState.NODE_DOWN, message),
    );
  };

  /** It was taken for silent, and opened its session before that was committed. */
  const keepReady = ({ nodeId }: Session): void => {
    if (state.get("node", nodeId)?.status?.state !== NodeState.NODE_DOWN) return;
    writeNode("node state not written", nodeId, (tx, ctx) =>
      applyNodeSession(tx, ctx, nodeId, { description: undefined, addr: undefined }),
    );
  };

  const open = async (nodeId: string, start: SessionStart): Promise<Session> => {
    await replicated.write((tx, ctx) => {
      applyNodeSession(tx, ctx, nodeId, { description: start.description, addr: start.addr });
      applyTaskStatuses(tx, ctx, nodeId, start.statuses);
    });
    if (!active) throw notLeader();
    const old = sessions.get(nodeId);
    if (old) end(old, new TswarmError("unavailable", "the node opened a newer session"));
    const session: Session = {
      id: newId(),
      nodeId,
      out: createQueue(),
      sequence: 1,
      pending: new Map(),
      flushing: undefined,
      applied: 0,
      waiting: new Set(),
    };
    sessions.set(nodeId, session);
    active.heartbeats.beat(nodeId);
    keepReady(session);
    const cluster = state.cluster()!;
    const node = state.get("node", nodeId);
    const accepted = {
      sessionId: session.id,
      heartbeatMs: heartbeatMs(),
      clusterId: cluster.id,
      dataPathPort: cluster.spec?.dataPathPort ?? 0,
      node: node?.spec,
    };
    const put = [...active.views.subscribe(nodeId).values(), ...active.leaving.opened(nodeId)];
    session.out.push({ message: { $case: "accepted", value: accepted } });
    session.out.push({ message: { $case: "managers", value: { managers: managers(), node: node?.spec } } });
    const complete = { kind: Assignments_Kind.COMPLETE, appliesTo: 0, sequence: 1, put, remove: [] };
    session.out.push({ message: { $case: "assignments", value: complete } });
    return session;
  };

  const receive = (session: Session, { message }: AgentMessage): void => {
    active?.heartbeats.beat(session.nodeId);
    switch (message?.$case) {
      case "heartbeat":
        session.out.push({ message: { $case: "heartbeatAck", value: {} } });
        break;
      case "statuses":
        report({ session, sequence: message.value.sequence, updates: message.value.updates });
        break;
      case "applied":
        if (sessions.get(session.nodeId) !== session) break;
        active?.leaving.applied(session.nodeId, message.value.sequence);
        session.applied = message.value.sequence;
        for (const waiter of session.waiting) if (waiter.sequence <= session.applied) waiter.done();
        break;
      case "description": {
        const description: NodeDescription = message.value;
        writeNode("description not written", session.nodeId, (tx, ctx) =>
          applyNodeSession(tx, ctx, session.nodeId, { description, addr: undefined }),
        );
        break;
      }
    }
  };

  const notLeader = (): TswarmError =>
    new TswarmError(
      "not_leader",
      "this manager does not lead",
      leaderAddr() === "" ? {} : { leaderAddr: leaderAddr() },
    );

  const nodeOf = (context: RpcContext): string => {
    const nodeId = context.peer?.nodeId ?? "";
    if (!state.get("node", nodeId))
      throw refuse(
        "forbidden",
        "node",
        `${nodeId || "without certificate"} is not a node of this cluster`,
        "Join it with a token",
      );
    return nodeId;
  };

  const broker = createBroker(
    (nodeId, request) => {
      const session = sessions.get(nodeId);
      session?.out.push({ message: { $case: "stream", value: request } });
      return session !== undefined;
    },
    newId,
    clock,
  );

  return {
    broker,
    handlers: {
      async *session(messages, context) {
        if (!active) throw notLeader();
        // One that leads no more and has not heard of it has an old view, and does not know the newest nodes.
        await replicated.barrier();
        if (!active) throw notLeader();
        const nodeId = nodeOf(context);
        const iterator = messages[Symbol.asyncIterator]();
        const first = await iterator.next();
        if (first.done || first.value.message?.$case !== "start")
          throw new TswarmError("invalid", "a session begins with `start`");
        const session = await open(nodeId, first.value.message.value);
        logger.info("session opened", { nodeId, session: session.id });
        void (async () => {
          for (let m = await iterator.next(); !m.done; m = await iterator.next()) receive(session, m.value);
          session.out.end();
        })().catch((error) => session.out.fail(error));
        try {
          yield* session.out;
        } finally {
          end(session, new TswarmError("unavailable", "the session is over"));
          logger.info("session over", { nodeId, session: session.id });
        }
      },
      serve: (frames, context) => broker.serve(frames, context),
    },
    start(formerLeader) {
      const heartbeats = createHeartbeats({ clock, periodMs: heartbeatMs, onSilent: down });
      const leaving = trackLeavingTasks({ state, sequenceOf: (nodeId) => sessions.get(nodeId)?.sequence, tell });
      active = { views: createNodeViews(state), heartbeats, leaving, unwatch: state.watch(onBatch) };
      const expected = [...state.all("node")].filter((n) => n.status?.state !== NodeState.NODE_DOWN).map((n) => n.id);
      heartbeats.expect(expected, formerLeader);
    },
    stop(addr) {
      active?.unwatch();
      active?.heartbeats.stop();
      active = undefined;
      const error = new TswarmError(
        "not_leader",
        "this manager does not lead any more",
        addr === "" ? {} : { leaderAddr: addr },
      );
      for (const session of [...sessions.values()]) end(session, error);
    },
    caughtUp(nodeId, limitMs) {
      const session = sessions.get(nodeId);
      const sequence = session === undefined ? 0 : session.sequence + (session.pending.size > 0 ? 1 : 0);
      if (session === undefined || session.applied >= sequence) return Promise.resolve();
      return new Promise((resolve) => {
        const cancel = clock.after(limitMs, () => waiter.done());
        const waiter = {
          sequence,
          done: () => {
            cancel();
            session.waiting.delete(waiter);
            resolve();
          },
        };
        session.waiting.add(waiter);
      });
    },
    announceManagers() {
      for (const session of sessions.values()) onNode(session.nodeId, false);
    },
  };
};
