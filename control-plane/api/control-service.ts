// The Control API on the leader: reads after a linearizable barrier, writes through the log, streams.

import { refuse } from "#base/errors.ts";
import { newJoinToken } from "#base/join-token.ts";
import { certificateDigest } from "#base/node/pki.ts";
import type { Random } from "#base/random.ts";
import { newUnlockKey } from "#base/unlock-key.ts";
import { streamDoctor } from "#control-plane/api/doctor.ts";
import { streamExec, streamLogs } from "#control-plane/api/streams.ts";
import { watchState } from "#control-plane/api/watch.ts";
import { withoutSecrets } from "#control-plane/api/without-secrets.ts";
import type { Dispatcher } from "#control-plane/dispatcher/dispatcher.ts";
import type { ReplicatedLog } from "#control-plane/log/log.ts";
import type { ReplicatedState } from "#control-plane/manager/replicated-state.ts";
import * as ops from "#control-plane/operations/index.ts";
import type { ReadTx, TableName, Tables } from "#control-plane/state/types.ts";
import type { ClusterView, ControlDefinition, NodeView } from "#proto/gen/control.ts";
import { type Node, type Service, type Task, TaskState } from "#proto/gen/types.ts";
import type { Handlers } from "#proto/rpc/server.ts";

export type ControlOptions = {
  readonly random: Random;
  readonly replicated: ReplicatedState;
  readonly log: ReplicatedLog;
  readonly dispatcher: Pick<Dispatcher, "broker" | "caughtUp">;
};

/** Services and containers name networks that they don't write: none may begin to while its network goes. */
const ALONE = { alone: true };

/** So long a command waits for the interface that it asked for to be there, or gone. */
const WIRING_MS = 5_000;

export const createControlService = ({
  replicated,
  log,
  dispatcher,
  random,
}: ControlOptions): Handlers<ControlDefinition> => {
  const { state, write } = replicated;
  const { broker } = dispatcher;

  /** What was committed before this call is seen by it, whichever manager acknowledged it. */
  const read = async <T>(from: (state: ReadTx) => T): Promise<T> => {
    await log.readBarrier();
    return from(state);
  };

  /** A written object with the version that it has now. */
  const current = <T extends TableName>(table: T, object: Tables[T]): Tables[T] =>
    state.get(table, object.id) ?? object;

  const nodeView = (node: Node): NodeView => {
    const member = log.status().members.find((m) => m.nodeId === node.id);
    return {
      node: member ? { ...node, manager: { raftId: member.raftId, addr: member.addr } } : node,
      reachability: member === undefined ? "" : member.reachable ? "reachable" : "unreachable",
      leader: member?.leader ?? false,
    };
  };

  const serviceView = (tx: ReadTx, service: Service) => ({
    service,
    running: tx.tasksOfService(service.id).filter(isRunning).length,
    desired: service.pendingDelete ? 0 : (service.spec?.replicas ?? 0),
  });

  return {
    listNodes: ({ filters }) => read((tx) => ({ nodes: ops.selectNodes(tx, filters).map(nodeView) })),
    getNode: ({ ref }) => read((tx) => ({ node: nodeView(ops.resolveNode(tx, ref)) })),
    async updateNode(request) {
      const { value } = await write((tx, ctx) => ops.updateNode(tx, ctx, request));
      return { node: current("node", value) };
    },
    async removeNode({ ref, force }) {
      const members = log.status().members.map(({ nodeId }) => nodeId);
      await write((tx, ctx) => ops.removeNode(tx, ctx, { ref, force, members }));
      return {};
    },

    async createNetwork({ spec }) {
      const { value } = await write((tx, ctx) => ops.createNetwork(tx, ctx, { spec }));
      return { network: current("network", value) };
    },
    getNetwork: ({ ref }) => read((tx) => ({ view: ops.viewNetwork(tx, ops.resolveNetwork(tx, ref)) })),
    listNetworks: ({ filters }) => read((tx) => ({ networks: ops.selectNetworks(tx, filters) })),
    async removeNetwork({ ref }) {
      const { value } = await write((tx, ctx) => ops.removeNetwork(tx, ctx, { ref }), ALONE);
      return { id: value.id };
    },

    async updateNetwork(request) {
      const { value } = await write((tx, ctx) => ops.updateNetwork(tx, ctx, request));
      return { network: current("network", value) };
    },
    async pruneNetworks({ filters }) {
      const { value } = await write((tx, ctx) => ops.pruneNetworks(tx, ctx, { filters }), ALONE);
      return { removed: value };
    },
    async connectNetwork(request) {
      const { value } = await write((tx, ctx) => ops.connectNetwork(tx, ctx, request));
      await dispatcher.caughtUp(value.nodeId, WIRING_MS);
      return { task: current("task", value) };
    },
    async disconnectNetwork(request) {
      const { value } = await write((tx, ctx) => ops.disconnectNetwork(tx, ctx, request));
      await dispatcher.caughtUp(value.nodeId, WIRING_MS);
      return { task: current("task", value) };
    },

    async runContainer(request) {
      const { value } = await write((tx, ctx) => ops.runContainer(tx, ctx, request));
      return { task: current("task", value), warnings: [] };
    },
    async stopContainer({ ref }) {
      const { value } = await write((tx, ctx) => ops.stopContainer(tx, ctx, { ref }));
      return { task: current("task", value) };
    },
    async removeContainer({ ref, force }) {
      const { value } = await write((tx, ctx) => ops.removeContainer(tx, ctx, { ref, force }));
      return { id: value.id };
    },

    async createService({ spec }) {
      const { value } = await write((tx, ctx) => ops.createService(tx, ctx, { spec }));
      return { service: current("service", value), warnings: ops.serviceWarnings(state, value) };
    },
    getService: ({ ref }) => read((tx) => ({ service: ops.resolveService(tx, ref) })),
    listServices: ({ filters }) =>
      read((tx) => ({ services: ops.selectServices(tx, filters).map((s) => serviceView(tx, s)) })),
    async updateService(request) {
      const { value } = await write((tx, ctx) => ops.updateService(tx, ctx, request));
      return { service: current("service", value), warnings: ops.serviceWarnings(state, value) };
    },
    async removeService({ ref }) {
      const { value } = await write((tx, ctx) => ops.removeService(tx, ctx, { ref }));
      return { id: value.id };
    },

    listTasks: ({ filters }) => read((tx) => ({ tasks: ops.selectTasks(tx, filters) })),
    getTask: ({ ref }) => read((tx) => ({ task: ops.resolveTask(tx, ref) })),

    async deployStack(request) {
      const { value } = await write((tx, ctx) => ops.deployStack(tx, ctx, request));
      return { actions: [...value] };
    },
    async removeStack({ name }) {
      const { value } = await write((tx, ctx) => ops.removeStack(tx, ctx, { name }), ALONE);
      return { actions: [...value] };
    },

    getCluster: () =>
      read((tx) => {
        const { term, commit, applied, members } = log.status();
        const cluster = tx.cluster();
        const view: ClusterView = {
          cluster: cluster && withoutSecrets(cluster),
          members: [...members],
          term,
          commit,
          applied,
          leaderNodeId: members.find((m) => m.leader)?.nodeId ?? "",
        };
        return { view };
      }),
    async getJoinTokens({ rotateWorker, rotateManager }) {
      if (rotateWorker || rotateManager)
        await write((tx, ctx) => {
          const fresh = () => newJoinToken(certificateDigest(tx.cluster()!.caCertificatePem.toString()), random);
          ops.rotateTokens(tx, ctx, {
            ...(rotateWorker ? { worker: fresh() } : {}),
            ...(rotateManager ? { manager: fresh() } : {}),
          });
        });
      return read((tx) => {
        const cluster = tx.cluster()!;
        return {
          worker: cluster.joinTokenWorker,
          manager: cluster.joinTokenManager,
          managerAddrs: log.status().members.map((m) => m.addr),
        };
      });
    },

    async updateCluster({ version, spec }) {
      const freshKey = newUnlockKey(random);
      const { value } = await write((tx, ctx) => ops.updateCluster(tx, ctx, { version, spec, freshKey }));
      const unlockKey = value.unlockKey === freshKey ? freshKey : "";
      return { cluster: withoutSecrets(current("cluster", value)), unlockKey };
    },
    async getUnlockKey({ rotate }) {
      if (rotate) await write((tx, ctx) => ops.rotateUnlockKey(tx, ctx, newUnlockKey(random)));
      return read((tx) => ({ unlockKey: tx.cluster()?.unlockKey ?? "" }));
    },

    async moveManager({ addr }, { peer }) {
      const member = log.status().members.find((m) => m.nodeId === peer?.nodeId);
      if (member === undefined)
        throw refuse("not_found", "node", "the caller is none of the managers", "Only a manager moves itself");
      await log.addMember(member.nodeId, addr);
      return {};
    },

    watch: (request, context) => watchState(state, request, context),
    logs: (request, context) => streamLogs(state, broker, request, context),
    exec: (inputs, context) => streamExec(state, broker, inputs, context),
    doctor: (request, context) => streamDoctor(state, broker, request, context),
  };
};

const isRunning = (task: Task): boolean =>
  task.status?.state === TaskState.TASK_RUNNING && task.desiredState === TaskState.TASK_RUNNING;
